//! Reads the answer of `InitFaceVerify`.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use super::codes;
use super::envelope::Envelope;
use super::nested::{members, token};
use super::result::Reading;
use crate::decoding::fields::{self, agreed};
use crate::decoding::tree::Node;
use crate::wire::{AnswerError, ErrorClass};

/// The content of an answer of `InitFaceVerify`.
#[derive(Debug)]
pub enum Start {
    /// The verification was started.
    Started(Started),
    /// Body code 405, 414 to 423 or 427: the provider refuses this person, this device or the
    /// picture that was handed in. The same request will be refused again.
    Refused {
        /// The body code.
        code: String,
    },
}

/// A verification that was started. Its `Debug` does not show the URL: it opens the verification.
pub struct Started {
    /// `CertifyId`: the key of the verification, good for one submission within 30 minutes.
    pub certify_id: String,
    /// `CertifyUrl`: the page to open in a browser. It is missing for apps, and where
    /// `CertifyUrlType` is missing or `MetaInfo` cannot be used.
    pub certify_url: Option<SecretString>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("certify_id", &self.certify_id).finish_non_exhaustive()
    }
}

/// Reads an answer of `InitFaceVerify`. A started verification is never lost to a detail of its
/// form: it is billed.
pub fn read_started(http_status: u16, body: &[u8]) -> Reading<Start> {
    let Some(envelope) = Envelope::parse(http_status, body) else {
        return Reading { request_id: None, outcome: Err(codes::error(None, http_status)) };
    };
    Reading { request_id: envelope.request_id(), outcome: outcome(&envelope) }
}

fn outcome(envelope: &Envelope) -> Result<Start, AnswerError> {
    let code = envelope.code()?;
    match code {
        Some(code) if codes::is_refused_start(&code) => Ok(Start::Refused { code }),
        // 403, 406 and 424 are about results.
        Some(code) if matches!(code.as_str(), "403" | "406" | "424") => {
            Err(AnswerError { class: ErrorClass::Unreadable, code: Some(code) })
        }
        Some(code) if code != codes::WORKED => Err(codes::error(Some(&code), envelope.http_status)),
        code => match started(envelope) {
            Some(started) => Ok(Start::Started(started)),
            None => Err(codes::error(code.as_deref(), envelope.http_status)),
        },
    }
}

fn started(envelope: &Envelope) -> Option<Started> {
    let holders = envelope.holders()?;
    let holders: Vec<&Node> = holders.iter().map(|holder| &**holder).collect();
    let certify_id = agreed(members(&holders, "CertifyId"), token).readable()?;
    let certify_url = agreed(members(&holders, "CertifyUrl"), page).readable();
    let certify_url = certify_url.map(SecretString::from);
    Some(Started { certify_id, certify_url })
}

/// The address of a page. Older ones are plain http.
fn page(node: &Node) -> Option<String> {
    let text = fields::text(node)?;
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| text.to_owned())
}
