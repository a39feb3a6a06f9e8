//! One-time codes of an authenticator app (RFC 6238): SHA-1, six digits, 30 seconds.

use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::seal::SealError;

/// Bytes of a secret (RFC 4226 §4).
const SECRET_BYTES: usize = 20;
const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;
/// Steps before and after the present one whose codes are taken: clocks differ, and typing takes time.
const SLACK: i64 = 1;

/// The secret that an app and we share.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
        rand::fill(&mut bytes).map_err(|_| SealError)?;
        Ok(Self(bytes))
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// As it is typed into an app.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD.decode(text.trim().to_ascii_uppercase().as_bytes()).ok()?;
        (bytes.len() == SECRET_BYTES).then(|| Self(Zeroizing::new(bytes)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// For typing into an app.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// The step of a code that counts now; later codes must be of a later step.
    pub fn step_of(&self, code: &str, now: OffsetDateTime) -> Option<i64> {
        let code: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
        let present = now.unix_timestamp().div_euclid(STEP_SECONDS);
        let mut found = None;
        // Every step is tried: the time does not tell which one it was.
        for step in present - SLACK..=present + SLACK {
            if bool::from(self.code(step).as_bytes().ct_eq(code.as_bytes())) {
                found = Some(step);
            }
        }
        found
    }

    /// RFC 4226 §5.3.
    fn code(&self, step: i64) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §3)")]
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("any key length");
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        let offset = usize::from(digest[digest.len() - 1] & 0x0f);
        let word =
            digest[offset..offset + 4].iter().fold(0_u32, |word, b| word << 8 | u32::from(*b));
        format!("{:0DIGITS$}", (word & 0x7fff_ffff) % 10_u32.pow(6))
    }

    /// The code of this moment, for whoever has the secret.
    pub fn code_at(&self, now: OffsetDateTime) -> String {
        self.code(now.unix_timestamp().div_euclid(STEP_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B: eight digits there, the last six here.
        let secret = TotpSecret::from_bytes(b"12345678901234567890");
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            let at = |s| OffsetDateTime::from_unix_timestamp(s).unwrap();
            assert_eq!(secret.code_at(at(seconds)), code);
            assert_eq!(secret.step_of(code, at(seconds)), Some(seconds / 30));
            assert_eq!(
                secret.step_of(&format!(" {} {}", &code[..3], &code[3..]), at(seconds + 30)),
                Some(seconds / 30)
            );
            assert_eq!(secret.step_of(code, at(seconds + 90)), None);
        }
        assert_eq!(secret.step_of("", OffsetDateTime::UNIX_EPOCH), None);
        assert_eq!(TotpSecret::parse(&secret.text()).unwrap().bytes(), secret.bytes());
        assert!(TotpSecret::parse("short").is_none());
        assert_eq!(format!("{secret:?}"), "TotpSecret(..)");
    }
}
