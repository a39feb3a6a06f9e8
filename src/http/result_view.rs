//! JSON of one result of the provider.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::answer::{AnswerError, StoredResult};
use crate::domain::ids::ResultId;
use policy::decision::Datum;
use policy::evidence::{Evidence, Scores};
use policy::field::by_name;
use policy::product::{Family, Product};

/// One result of the provider, without personal data.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResultView {
    id: ResultId,
    attempt: i32,
    #[serde(with = "time::serde::rfc3339")]
    fetched_at: OffsetDateTime,
    request_id: Option<String>,
    product: Product,
    /// `VerifyStatus` of verify-result; `null` for face-verify.
    verify_status: Option<i32>,
    /// The status of verify-result as text, or the code of face-verify as sent: `SubCode`, else the
    /// body's `Code`.
    code: Option<String>,
    /// Whether the provider says that the person passed; `null` as long as it does not say.
    passed: Option<bool>,
    /// What the code is about: the same word for the codes of all products.
    family: Option<Family>,
    scores: ScoresView,
    /// `null`: an error, or the person was erased.
    evidence: Option<Evidence>,
    /// The same evidence by the names that policies use, without what is absent: what an example of
    /// a policy and `verdict policy try` take.
    fields: Option<BTreeMap<&'static str, Datum>>,
    /// The person was erased: of the result only its status and its time are left.
    coarsened: bool,
    http_status: u16,
    error: Option<AnswerError>,
    /// A simulated provider answered: nobody was really verified.
    simulated: bool,
}

impl ResultView {
    /// Of a verification of this product.
    pub(super) fn new(of: StoredResult, product: Product) -> Self {
        let evidence = of.evidence.as_ref().filter(|_| !of.coarsened).cloned();
        let evidence = evidence.map(Evidence::with_card_days_at_edge);
        let said = of.evidence.as_ref();
        let product = said.map_or(product, |said| said.product);
        let is_finished = said.is_some_and(|said| !said.is_unfinished());
        Self {
            id: of.id,
            attempt: of.attempt,
            fetched_at: of.fetched_at,
            request_id: of.request_id,
            product,
            verify_status: said.and_then(|said| said.verify_status),
            code: said.and_then(Evidence::code_as_text),
            passed: said.and_then(Evidence::has_passed),
            family: said.map(Evidence::family).filter(|_| is_finished),
            scores: ScoresView::of(product, said.map(|said| said.scores).unwrap_or_default()),
            fields: evidence.as_ref().map(by_name),
            evidence,
            coarsened: of.coarsened,
            http_status: of.http_status,
            error: of.error,
            simulated: of.simulated,
        }
    }
}

/// The scores that the product has. They inform; the status decides.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ScoresView {
    /// Of verify-result, each 0 to 100.
    #[schema(title = "VerifyResultScores")]
    VerifyResult {
        /// Live face against the government photo.
        authority: Option<f64>,
        /// Live face against the retained photo.
        face: Option<f64>,
        /// Live face against the portrait on the card.
        id_card_face: Option<f64>,
    },
    /// Of face-verify.
    #[schema(title = "FaceVerifyScores")]
    FaceVerify {
        /// Live face against the photo that the scene compares with, 0 to 100.
        verify: Option<f64>,
        /// Live face against the portrait on the card, 0 to 100.
        id_card: Option<f64>,
        /// Quality of the picture, 0 to 100.
        quality: Option<f64>,
        /// How likely an attack is, 0 to 1.
        attack: Option<f64>,
    },
}

impl ScoresView {
    fn of(product: Product, scores: Scores) -> Self {
        let Scores { authority, face, id_card_face, verify, id_card, quality, attack } = scores;
        match product {
            Product::VerifyResult => Self::VerifyResult { authority, face, id_card_face },
            Product::FaceVerify => Self::FaceVerify { verify, id_card, quality, attack },
        }
    }
}
