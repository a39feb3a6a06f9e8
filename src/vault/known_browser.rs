//! The mark of a browser in which a person has signed in: random bytes, and a keyed digest of them and
//! the person's name. Nobody can make one without the key, and none is stored.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::seal::{DataKey, SealError};

const RANDOM_BYTES: usize = 16;

/// A new mark for the name with this digest.
pub fn generate(key: &DataKey, name: &[u8; 32]) -> Result<String, SealError> {
    let mut bytes = vec![0; RANDOM_BYTES];
    rand::fill(&mut bytes).map_err(|_| SealError)?;
    let digest = digest(key, name, &bytes);
    bytes.extend_from_slice(&digest);
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether this is a mark for the name with this digest.
pub fn fits(key: &DataKey, name: &[u8; 32], mark: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(mark) else { return false };
    let Some((random, presented)) = bytes.split_at_checked(RANDOM_BYTES) else { return false };
    digest(key, name, random)[..].ct_eq(presented).into()
}

fn digest(key: &DataKey, name: &[u8; 32], random: &[u8]) -> [u8; 32] {
    key.mac(&[b"known-browser", name, random])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_fits_its_own_name_and_key_only() {
        let [key, other_key] = [(); 2].map(|()| DataKey::generate().unwrap());
        let (anna, bert) = ([1; 32], [2; 32]);
        let mark = generate(&key, &anna).unwrap();
        assert_ne!(mark, generate(&key, &anna).unwrap());
        assert!(fits(&key, &anna, &mark));
        assert!(!fits(&key, &bert, &mark) && !fits(&other_key, &anna, &mark));
        let changed = format!("{}{}", if mark.starts_with('A') { 'B' } else { 'A' }, &mark[1..]);
        for forged in ["", "A", "!", &mark[..63], &format!("{mark}AA"), &changed, &"A".repeat(64)] {
            assert!(!fits(&key, &anna, forged), "{forged}");
        }
    }
}
