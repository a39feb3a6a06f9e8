//! Passwords of users: Argon2id, and the same work for a name that nobody has.
//!
//! One verification takes some 20 MiB and tens of milliseconds: callers bound how many run at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::seal::SealError;

/// Shortest and longest password, in characters.
const MIN_CHARS: usize = 12;
const MAX_CHARS: usize = 128;
/// Recommended by OWASP: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// The digest that is compared with where a name has none: of random bytes that were thrown away.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$Nn0zs5p4cNd2uVKkYbEJZw$2H7u+gFVjdNJJYb0Xk9PaXqpfZC0TnGbTmRKzbg1Gs0";

/// A password that may be chosen: long enough, and not made of one character.
pub fn chosen(text: &str) -> Result<(), Weak> {
    let chars = text.nfkc().count();
    let mut letters = text.nfkc();
    let first = letters.next();
    if chars < MIN_CHARS || letters.all(|letter| Some(letter) == first) {
        return Err(Weak::Short);
    }
    if chars > MAX_CHARS { Err(Weak::Long) } else { Ok(()) }
}

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// Under 12 characters, or one character repeated.
    Short,
    /// Over 128 characters.
    Long,
}

/// The digest to keep of a password, in PHC form. Takes tens of milliseconds.
pub fn digest(password: &str) -> Result<String, SealError> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| SealError)?;
    let digest = argon2()?.hash_password_with_salt(&bytes(password), &salt);
    digest.map(|digest| digest.to_string()).map_err(|_| SealError)
}

/// Whether this is the password of the digest. Without a digest the same work is done, for nothing:
/// the time tells nobody which names there are.
pub fn fits(password: &str, digest: Option<&str>) -> bool {
    let Ok(argon2) = argon2() else { return false };
    let kept = PasswordHash::new(digest.unwrap_or(NOBODYS));
    let fits = kept.is_ok_and(|kept| {
        let too_long = password.len() > 4 * MAX_CHARS;
        let password = if too_long { Zeroizing::new(Vec::new()) } else { bytes(password) };
        argon2.verify_password(&password, &kept).is_ok() && !too_long
    });
    fits && digest.is_some()
}

fn argon2() -> Result<Argon2<'static>, SealError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| SealError)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The same bytes from every keyboard.
fn bytes(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.nfkc().collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_fits_its_digest() {
        let kept = digest("correct horse battery").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, digest("correct horse battery").unwrap());
        assert!(fits("correct horse battery", Some(&kept)));
        // Wide letters are the same letters.
        assert!(fits("ｃorrect horse battery", Some(&kept)));
        assert!(!fits("correct horse batterY", Some(&kept)));
        assert!(!fits("", Some(&kept)) && !fits("correct horse battery", None));
        assert!(!fits("x", Some("nonsense")) && !fits(&"x".repeat(100_000), Some(&kept)));
        // It is a digest: a malformed one would make unknown names fast.
        assert!(PasswordHash::new(NOBODYS).is_ok());
    }

    #[test]
    fn short_and_monotonous_passwords_are_refused() {
        assert_eq!(chosen("eleven char"), Err(Weak::Short));
        assert_eq!(chosen(&"a".repeat(20)), Err(Weak::Short));
        assert_eq!(chosen(""), Err(Weak::Short));
        assert_eq!(chosen("十二个汉字的密码也可以用吗"), Ok(()));
        assert_eq!(chosen("twelve chars"), Ok(()));
        assert_eq!(chosen(&"ab".repeat(65)), Err(Weak::Long));
    }
}
