//! The kind and owner of a sealed value. Both are authenticated with the value: a value that was
//! moved elsewhere does not open.

use uuid::Uuid;

use super::label::label;
use crate::domain::ids::{EndpointId, GoldenId, ResultId, UserId, VerificationId};
use crate::domain::image::ImageKind;

/// Everything that is sealed with a data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedAt {
    /// A result's body, as the provider sent it.
    ResultBody(ResultId),
    /// The person's data, read from a result.
    Material(ResultId),
    /// The links to a result's images.
    ImageLinks(ResultId),
    /// An image, in the object store.
    Image(ResultId, ImageKind),
    /// The note of a review.
    ReviewNote(Uuid),
    /// The secret that signs deliveries to a webhook endpoint, current or previous.
    WebhookSecret(EndpointId),
    /// The beginning of an answer of a webhook endpoint.
    WebhookAnswer(EndpointId),
    /// The digest of the parameters that a verification was started with.
    StartParameters(VerificationId),
    /// The provider's answer to the start of a verification.
    StartAnswer(VerificationId),
    /// The secret of a user's one-time codes.
    TotpSecret(UserId),
    /// The live face of a golden pair.
    GoldenLive(GoldenId),
    /// The reference picture of a golden pair.
    GoldenReference(GoldenId),
}

impl SealedAt {
    /// The associated data. Stored values depend on these bytes: they never change.
    pub(super) fn label(&self) -> Vec<u8> {
        let image_kind;
        let (table, row, column) = match self {
            Self::ResultBody(result) => ("results", result.0, "sealed_body"),
            Self::Material(result) => ("material", result.0, "sealed"),
            Self::ImageLinks(result) => ("tasks", result.0, "links"),
            Self::Image(result, kind) => {
                image_kind = kind.to_string();
                ("images", result.0, image_kind.as_str())
            }
            Self::ReviewNote(review) => ("reviews", *review, "note"),
            Self::WebhookSecret(endpoint) => ("webhook_endpoints", endpoint.0, "secret"),
            Self::WebhookAnswer(endpoint) => ("webhook_attempts", endpoint.0, "answer"),
            Self::StartParameters(id) => ("starts", id.0, "parameters"),
            Self::StartAnswer(id) => ("starts", id.0, "answer"),
            Self::TotpSecret(user) => ("users", user.0, "totp_secret"),
            Self::GoldenLive(id) => ("golden_pairs", id.0, "live"),
            Self::GoldenReference(id) => ("golden_pairs", id.0, "reference"),
        };
        label(&[b"value", table.as_bytes(), row.as_bytes(), column.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_values_already_stored() {
        let id = Uuid::from_bytes([b'r'; 16]);
        let labels = [
            (SealedAt::ResultBody(ResultId(id)), "results", "sealed_body"),
            (SealedAt::Material(ResultId(id)), "material", "sealed"),
            (SealedAt::ImageLinks(ResultId(id)), "tasks", "links"),
            (SealedAt::Image(ResultId(id), ImageKind::Face), "images", "face"),
            (SealedAt::ReviewNote(id), "reviews", "note"),
            (SealedAt::WebhookSecret(EndpointId(id)), "webhook_endpoints", "secret"),
            (SealedAt::WebhookAnswer(EndpointId(id)), "webhook_attempts", "answer"),
            (SealedAt::StartParameters(VerificationId(id)), "starts", "parameters"),
            (SealedAt::StartAnswer(VerificationId(id)), "starts", "answer"),
            (SealedAt::TotpSecret(UserId(id)), "users", "totp_secret"),
            (SealedAt::GoldenLive(GoldenId(id)), "golden_pairs", "live"),
            (SealedAt::GoldenReference(GoldenId(id)), "golden_pairs", "reference"),
        ];
        for (sealed_at, table, column) in labels {
            let mut expected = vec![1];
            for part in ["value", table, "rrrrrrrrrrrrrrrr", column] {
                expected.extend((part.len() as u64).to_be_bytes());
                expected.extend(part.as_bytes());
            }
            assert_eq!(sealed_at.label(), expected, "{sealed_at:?}");
        }
    }
}
