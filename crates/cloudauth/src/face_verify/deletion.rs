//! Reads the answer of `DeleteFaceVerifyResult`.

use super::codes;
use super::envelope::Envelope;
use super::nested::members;
use super::result::Reading;
use crate::decoding::envelope::is_token;
use crate::decoding::fields::{self, Value, agreed};
use crate::decoding::tree::Node;
use crate::wire::{AnswerError, ErrorClass, shown_code};

/// Whether the provider has erased its copy of the personal data. Objects in the customer's own
/// bucket stay in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Erased now, or earlier (`NOT_DELETE_REPEATEDLY`).
    Gone,
    /// `NEED_QUERY_VERIFY_RESULT`: the result was never fetched, and the call asked to erase only
    /// one that was.
    NeedQuery,
    /// Not erased.
    Failed {
        /// `FailReason`, as [`shown_code`] lets it through.
        reason: Option<String>,
    },
}

/// Reads an answer of `DeleteFaceVerifyResult`. `Code` says that the call worked; the outcome is
/// `DeleteResult`.
pub fn read_deleted(http_status: u16, body: &[u8]) -> Reading<Deletion> {
    let Some(envelope) = Envelope::parse(http_status, body) else {
        return Reading { request_id: None, outcome: Err(codes::error(None, http_status)) };
    };
    Reading { request_id: envelope.request_id(), outcome: outcome(&envelope) }
}

fn outcome(envelope: &Envelope) -> Result<Deletion, AnswerError> {
    let code = envelope.code()?;
    let http_status = envelope.http_status;
    match code.as_deref() {
        Some(codes::WORKED) if !envelope.says_failed() => {
            deletion(envelope).ok_or_else(|| codes::error(code.as_deref(), http_status))
        }
        // A receipt must not claim more than the provider said.
        Some(codes::WORKED) => Err(AnswerError { class: ErrorClass::Unreadable, code }),
        code => Err(codes::error(code, http_status)),
    }
}

fn deletion(envelope: &Envelope) -> Option<Deletion> {
    let holders = envelope.holders()?;
    let holders: Vec<&Node> = holders.iter().map(|holder| &**holder).collect();
    let deleted = agreed(members(&holders, "DeleteResult"), |node| match fields::text(node)? {
        "Y" | "y" => Some(true),
        "N" | "n" => Some(false),
        _ => None,
    });
    let reason = agreed(members(&holders, "FailReason"), |node| {
        fields::text(node).map(str::to_ascii_uppercase)
    });
    let reason = match reason {
        Value::Is(reason) => Some(reason),
        Value::Absent => None,
        Value::Unreadable => return None,
    };
    match (deleted, reason.as_deref()) {
        (Value::Is(true), None)
        | (Value::Is(true | false) | Value::Absent, Some("NOT_DELETE_REPEATEDLY")) => {
            Some(Deletion::Gone)
        }
        (Value::Is(false) | Value::Absent, Some("NEED_QUERY_VERIFY_RESULT")) => {
            Some(Deletion::NeedQuery)
        }
        (Value::Is(_), reason) => {
            let reason = reason.filter(|reason| is_token(reason)).map(shown_code);
            Some(Deletion::Failed { reason })
        }
        _ => None,
    }
}
