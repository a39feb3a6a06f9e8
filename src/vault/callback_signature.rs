//! Standard Webhooks (<https://www.standardwebhooks.com>): who signed this message, and when.
//!
//! The signature is `v1,` and the base64 form of HMAC-SHA256 over `id.timestamp.body`. The headers
//! and the timestamp are judged first ([`SignedHeaders::check`]), because a stranger's body is not
//! worth reading; then the MAC, over the very text that came ([`CheckedHeaders::verify`]).
//!
//! The signed text joins its parts with dots and an id may contain dots, so a message could be
//! cut in other places and still carry a good MAC. Such a cut leaves a timestamp that is no
//! number, or a body that is no JSON object, so it is refused here or by the caller's parser.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::locked::Locked;
use super::seal::SealError;

/// The prefix of the text form of a secret.
pub const SECRET_PREFIX: &str = "whsec_";
/// Shortest and longest key, in bytes (the specification's range for symmetric secrets).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Longest signature header read, in bytes. A signature takes 48 with its blank.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Most signatures read from one header.
pub const MAX_SIGNATURES: usize = 16;

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;
/// Milli-, micro- and nanoseconds: what senders write who overlook that seconds are meant.
const OTHER_UNITS: [i128; 3] = [1_000_000, 1_000, 1];

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
pub struct Secret(Locked<Zeroizing<Vec<u8>>>);

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
        Ok(Self(Locked::new(bytes)))
    }

    /// A secret that nobody else has: nothing that comes from outside verifies under it.
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        rand::fill(&mut bytes).map_err(|_| SealError)?;
        Ok(Self(Locked::new(bytes)))
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
    /// No secret made any of the signatures, or the header holds none.
    #[error("no signature fits")]
    SignatureInvalid,
    /// Too long ago, in the future, or at no time at all.
    #[error("the timestamp is out of tolerance")]
    TimestampOutOfTolerance,
    /// Well signed and recent, but not in seconds. Only the holder of a secret gets this answer.
    #[error("the timestamp is not in seconds")]
    TimestampNotSeconds,
}

/// Signs a message sent at `timestamp` (seconds since 1970).
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(secret.mac(id, &timestamp.to_string(), body)))
}

/// Headers that are well formed and recent. They prove nothing before [`Self::verify`].
#[derive(Debug)]
pub struct CheckedHeaders<'a> {
    id: &'a str,
    timestamp: &'a str,
    in_seconds: bool,
    signatures: Vec<[u8; 32]>,
}

impl<'a> SignedHeaders<'a> {
    /// Judges what can be judged without the body: at least one readable signature, sent at most
    /// `tolerance` from `now`. A timestamp that is recent in another unit than seconds passes
    /// here, so that [`CheckedHeaders::verify`] can tell the holder of a secret, and nobody else.
    ///
    /// Signatures of other versions (`v1a`) are ignored. A header longer than [`MAX_HEADER_BYTES`]
    /// or with more than [`MAX_SIGNATURES`] entries is refused unread.
    pub fn check(
        self,
        now: OffsetDateTime,
        tolerance: Duration,
    ) -> Result<CheckedHeaders<'a>, Refusal> {
        let signatures = signatures(self.signature).filter(|found| !found.is_empty());
        let signatures = signatures.ok_or(Refusal::SignatureInvalid)?;
        let sent = timestamp(self.timestamp).ok_or(Refusal::TimestampOutOfTolerance)?;
        // In 128 bits, so that no timestamp can overflow.
        let is_recent = |nanoseconds_per_unit: i128| {
            let distance = now.unix_timestamp_nanos() - i128::from(sent) * nanoseconds_per_unit;
            distance.abs() <= tolerance.whole_nanoseconds()
        };
        let in_seconds = is_recent(NANOSECONDS_PER_SECOND);
        if !in_seconds && !OTHER_UNITS.into_iter().any(is_recent) {
            return Err(Refusal::TimestampOutOfTolerance);
        }
        Ok(CheckedHeaders { id: self.id, timestamp: self.timestamp, in_seconds, signatures })
    }
}

impl CheckedHeaders<'_> {
    /// Whether any of the secrets made any of the signatures over this body, in seconds. The time it takes
    /// depends on the number of secrets and the length of the body, not on which of them fits.
    pub fn verify(&self, secrets: &[Secret], body: &[u8]) -> Result<(), Refusal> {
        let mut fits = Choice::from(0);
        for secret in secrets {
            let expected = secret.mac(self.id, self.timestamp, body);
            for signature in &self.signatures {
                fits |= expected.ct_eq(signature);
            }
        }
        match (bool::from(fits), self.in_seconds) {
            (true, true) => Ok(()),
            (true, false) => Err(Refusal::TimestampNotSeconds),
            (false, true) => Err(Refusal::SignatureInvalid),
            (false, false) => Err(Refusal::TimestampOutOfTolerance),
        }
    }
}

/// Accepts a message that any of the secrets signed, at most `tolerance` from `now`.
pub fn verify(
    secrets: &[Secret],
    headers: SignedHeaders<'_>,
    body: &[u8],
    now: OffsetDateTime,
    tolerance: Duration,
) -> Result<(), Refusal> {
    headers.check(now, tolerance)?.verify(secrets, body)
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
