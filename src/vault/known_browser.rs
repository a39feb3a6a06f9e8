//! The mark of a browser in which a person has signed in: when that was, random bytes, and a keyed
//! digest of both and the person's name. Nobody can make one without the key, and none is stored.

use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::seal::{DataKey, SealError};

/// How long a browser is known. A mark that was copied from it works no longer either.
pub const LIFETIME: Duration = Duration::from_hours(90 * 24);

const TIME_BYTES: usize = 8;
const RANDOM_BYTES: usize = 16;

/// A new mark for the name with this digest.
pub fn generate(key: &DataKey, name: &[u8; 32], now: OffsetDateTime) -> Result<String, SealError> {
    let mut bytes = [0; TIME_BYTES + RANDOM_BYTES];
    bytes[..TIME_BYTES].copy_from_slice(&now.unix_timestamp().to_be_bytes());
    rand::fill(&mut bytes[TIME_BYTES..]).map_err(|_| SealError)?;
    let digest = digest(key, name, &bytes);
    Ok(URL_SAFE_NO_PAD.encode([&bytes[..], &digest].concat()))
}

/// Whether this is a mark for the name with this digest, and not too old.
pub fn fits(key: &DataKey, name: &[u8; 32], mark: &str, now: OffsetDateTime) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(mark) else { return false };
    let Some((made, presented)) = bytes.split_at_checked(TIME_BYTES + RANDOM_BYTES) else {
        return false;
    };
    let is_ours: bool = digest(key, name, made)[..].ct_eq(presented).into();
    is_ours && made.first_chunk().is_some_and(|at| is_recent(i64::from_be_bytes(*at), now))
}

/// The clock of the process that made it may be ahead.
fn is_recent(at: i64, now: OffsetDateTime) -> bool {
    OffsetDateTime::from_unix_timestamp(at).is_ok_and(|at| now - at < LIFETIME)
}

fn digest(key: &DataKey, name: &[u8; 32], made: &[u8]) -> [u8; 32] {
    key.mac(&[b"known-browser", name, made])
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-28 12:00 UTC);

    #[test]
    fn a_mark_fits_its_own_name_and_key_only() {
        let [key, other_key] = [(); 2].map(|()| DataKey::generate().unwrap());
        let (anna, bert) = ([1; 32], [2; 32]);
        let mark = generate(&key, &anna, NOW).unwrap();
        assert_ne!(mark, generate(&key, &anna, NOW).unwrap());
        assert!(fits(&key, &anna, &mark, NOW));
        assert!(!fits(&key, &bert, &mark, NOW) && !fits(&other_key, &anna, &mark, NOW));
        let changed = format!("{}{}", if mark.starts_with('A') { 'B' } else { 'A' }, &mark[1..]);
        let shortened = &mark[..mark.len() - 1];
        let longer = format!("{mark}AA");
        for forged in ["", "A", "!", shortened, &longer, &changed, &"A".repeat(75)] {
            assert!(!fits(&key, &anna, forged, NOW), "{forged}");
        }
    }

    #[test]
    fn a_mark_has_one_spelling() {
        // Tries are counted by its text: another spelling would have separate tries.
        let (key, anna) = (DataKey::generate().unwrap(), [1; 32]);
        let mark = generate(&key, &anna, NOW).unwrap();
        let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_', '=']);
        let (start, last) = mark.split_at(mark.len() - 1);
        let fitting = alphabet.filter(|end| fits(&key, &anna, &format!("{start}{end}"), NOW));
        assert_eq!(fitting.map(String::from).collect::<Vec<_>>(), [last]);
        for spelling in [format!("{mark}="), format!(" {mark}"), format!("{mark}\n")] {
            assert!(!fits(&key, &anna, &spelling, NOW));
        }
    }

    #[test]
    fn a_mark_is_forgotten_after_its_lifetime() {
        let (key, anna) = (DataKey::generate().unwrap(), [1; 32]);
        let mark = generate(&key, &anna, NOW).unwrap();
        let second = Duration::from_secs(1);
        assert!(fits(&key, &anna, &mark, NOW + LIFETIME - second));
        assert!(!fits(&key, &anna, &mark, NOW + LIFETIME));
        // Made by a process whose clock is ahead.
        assert!(fits(&key, &anna, &mark, NOW - second));
    }
}
