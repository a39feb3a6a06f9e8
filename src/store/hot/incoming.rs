//! Verified callbacks, what became of them, and the arrays that statements take.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::body_digest::{BodyDigest, Salt};
use crate::domain::callback::{BizId, BizType, Callback};
use crate::domain::ids::VerificationId;
use crate::domain::source::SourceAccess;
use crate::domain::trace::TraceParent;
use crate::domain::verification::Verification;

/// One verified message, ready to be kept.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The configured source.
    pub source: SourceAccess,
    /// The `webhook-id` header.
    pub message_id: String,
    /// Of the exact body.
    pub body: BodyDigest,
    /// The key of its stored digest, if it is new.
    pub salt: Salt,
    pub callback: Callback,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// The id the verification gets if it is new.
    pub verification_id: VerificationId,
    /// The request that brought it, where requests are traced: the work it causes joins its trace.
    pub trace: Option<TraceParent>,
}

/// The outcome of accepting a message.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// Kept, and its work is due.
    New(Verification),
    /// The same id and bytes as before: the same answer as before.
    Repeated(Verification),
    /// The same id with other bytes.
    Mismatch,
    /// The person was forgotten: nothing was kept.
    Erased,
    /// The verification belongs to a source out of reach: nothing was kept or changed.
    OtherSource,
    /// The verification is of another product, or has another `certify_id`: nothing was kept or
    /// changed.
    OtherProduct,
    /// The `certify_id` belongs to another verification, to this one if it is in reach: nothing was
    /// kept or changed.
    CertifyIdTaken(Option<(BizType, BizId)>),
}

impl Accepted {
    /// The outcome for a copy of the message.
    pub(super) fn again(self) -> Self {
        match self {
            Self::New(same) | Self::Repeated(same) => Self::Repeated(same),
            Self::Mismatch => Self::Mismatch,
            Self::Erased => Self::Erased,
            Self::OtherSource => Self::OtherSource,
            Self::OtherProduct => Self::OtherProduct,
            Self::CertifyIdTaken(by) => Self::CertifyIdTaken(by),
        }
    }
}

/// Callbacks as the arrays that a statement takes.
pub(super) struct Columns<'a> {
    pub(super) sources: Vec<&'a str>,
    pub(super) message_ids: Vec<&'a str>,
    pub(super) digests: Vec<[u8; 32]>,
    pub(super) salts: Vec<&'a [u8]>,
    pub(super) biz_types: Vec<&'a str>,
    pub(super) biz_ids: Vec<&'a str>,
    pub(super) received: Vec<OffsetDateTime>,
    pub(super) occurred: Vec<Option<OffsetDateTime>>,
    pub(super) references: Vec<Option<&'a str>>,
    pub(super) audits: Vec<Option<&'a str>>,
    pub(super) codes: Vec<Option<i32>>,
    pub(super) platforms: Vec<Option<&'a str>>,
    pub(super) ids: Vec<Uuid>,
    pub(super) products: Vec<&'a str>,
    pub(super) certify_ids: Vec<Option<&'a str>>,
    pub(super) traces: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(rows: impl Iterator<Item = &'a Incoming> + Clone) -> Self {
        fn column<T, R>(rows: impl Iterator<Item = R>, value: impl Fn(R) -> T) -> Vec<T> {
            rows.map(value).collect()
        }
        let callbacks = rows.clone().map(|row| &row.callback);
        Self {
            sources: column(rows.clone(), |row| row.source.name.as_str()),
            message_ids: column(rows.clone(), |row| row.message_id.as_str()),
            digests: column(rows.clone(), |row| row.body.salted(&row.salt)),
            salts: column(rows.clone(), |row| &row.salt[..]),
            received: column(rows.clone(), |row| row.received_at),
            ids: column(rows.clone(), |row| row.verification_id.0),
            traces: column(rows, |row| row.trace.map(|trace| trace.to_string())),
            biz_types: column(callbacks.clone(), |of| of.biz_type.as_str()),
            biz_ids: column(callbacks.clone(), |of| of.biz_id.as_str()),
            occurred: column(callbacks.clone(), |of| of.occurred_at),
            references: column(callbacks.clone(), |of| of.reference.as_deref()),
            audits: column(callbacks.clone(), |of| of.hint.audit),
            codes: column(callbacks.clone(), |of| of.hint.code),
            platforms: column(callbacks.clone(), |of| of.hint.platform),
            products: column(callbacks.clone(), |of| of.product.as_str()),
            certify_ids: column(callbacks, |of| of.certify_id_if_new()),
        }
    }
}
