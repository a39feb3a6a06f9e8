//! Standard Webhooks (<https://www.standardwebhooks.com>): who signed this message, and when.
//!
//! The signature is `v1,` and the base64 form of HMAC-SHA256 over `id.timestamp.body`. The MAC
//! is judged first, over the very text that came; only a timestamp that somebody with the secret
//! wrote is worth parsing.
//!
//! The signed text joins its parts with dots and an id may contain dots, so a message could be
//! cut in other places and still carry a good MAC. Such a cut leaves a timestamp that is no
//! number, or a body that is no JSON object, so it is refused here or by the caller's parser.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// What the text form of a secret starts with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Shortest and longest key, in bytes (the specification's range for symmetric secrets).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Longest signature header read, in bytes. A signature takes 48 with its blank.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Most signatures read from one header.
pub const MAX_SIGNATURES: usize = 16;

/// Why a text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not base64.
    #[error("a webhook secret is `whsec_` followed by base64")]
    NotBase64,
    /// Too short or too long.
    #[error("a webhook secret holds 24 to 64 bytes (this one: {0})")]
    Length(usize),
}

/// A secret shared with one sender or receiver.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Parses `whsec_` and base64; the prefix may be missing, as in the public libraries.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let encoded = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
        let bytes =
            STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| SecretError::NotBase64)?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError::Length(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Whether both are the same bytes, however they were written.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(&other.0).into()
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §3)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any key length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The three headers, as text.
#[derive(Clone, Copy, Debug)]
pub struct SignedHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: signatures with their versions, separated by blanks.
    pub signature: &'a str,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No secret made any of the signatures.
    #[error("no signature fits")]
    SignatureInvalid,
    /// Well signed, but too long ago, in the future, or at no time at all.
    #[error("the timestamp is out of tolerance")]
    TimestampOutOfTolerance,
}

/// Signs a message sent at `timestamp` (seconds since 1970).
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(secret.mac(id, &timestamp.to_string(), body)))
}

/// Accepts a message that any of the secrets signed, at most `tolerance` from `now`.
///
/// Takes the same time whichever secret or signature fits. Signatures of other versions (`v1a`)
/// are passed over. A header longer than [`MAX_HEADER_BYTES`] or with more than
/// [`MAX_SIGNATURES`] entries is refused unread.
pub fn verify(
    secrets: &[Secret],
    headers: SignedHeaders<'_>,
    body: &[u8],
    now: OffsetDateTime,
    tolerance: Duration,
) -> Result<(), Refusal> {
    let signatures = signatures(headers.signature).ok_or(Refusal::SignatureInvalid)?;
    let mut fits = Choice::from(0);
    for secret in secrets {
        let expected = secret.mac(headers.id, headers.timestamp, body);
        for signature in &signatures {
            fits |= expected.ct_eq(signature);
        }
    }
    if !bool::from(fits) {
        return Err(Refusal::SignatureInvalid);
    }
    let sent = timestamp(headers.timestamp).ok_or(Refusal::TimestampOutOfTolerance)?;
    // In 128 bits, so that no timestamp can overflow.
    let distance = now.unix_timestamp_nanos() - i128::from(sent) * 1_000_000_000;
    if distance.abs() > tolerance.whole_nanoseconds() {
        return Err(Refusal::TimestampOutOfTolerance);
    }
    Ok(())
}

/// The `v1` signatures of a header; `None` where it exceeds its bounds.
fn signatures(header: &str) -> Option<Vec<[u8; 32]>> {
    if header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let entries: Vec<&str> = header.split(' ').filter(|entry| !entry.is_empty()).collect();
    (entries.len() <= MAX_SIGNATURES).then(|| entries.into_iter().filter_map(signature).collect())
}

fn signature(entry: &str) -> Option<[u8; 32]> {
    STANDARD.decode(entry.strip_prefix("v1,")?).ok()?.try_into().ok()
}

/// Decimal, in the one spelling that [`i64`] prints: no sign of plus, blanks or leading zeros.
fn timestamp(text: &str) -> Option<i64> {
    text.parse().ok().filter(|value: &i64| value.to_string() == text)
}

#[cfg(test)]
mod tests;
