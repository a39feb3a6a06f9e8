//! Cursors of lists: opaque to callers, and valid only with the same filters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::ids::VerificationId;
use crate::store::listing::Filter;

/// Distinguishes future formats.
const VERSION: u8 = 1;
const FILTER_BYTES: usize = 8;

pub fn after(id: VerificationId, filter: &Filter) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(id.0.as_bytes());
    bytes.extend(digest(filter));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` if it is not a cursor, or one of a list with other filters.
pub fn read(cursor: &str, filter: &Filter) -> Option<VerificationId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (id, of) = rest.split_at_checked(16)?;
    let valid = *version == VERSION && of == digest(filter);
    valid.then(|| Uuid::from_slice(id).ok().map(VerificationId)).flatten()
}

/// Catches mistakes, not attacks: a cursor grants no access.
fn digest(filter: &Filter) -> [u8; FILTER_BYTES] {
    let mut bytes = [0; FILTER_BYTES];
    bytes.copy_from_slice(&Sha256::digest(format!("{filter:?}"))[..FILTER_BYTES]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verification::State;

    #[test]
    fn cursor_is_valid_only_with_its_own_filters() {
        let id = VerificationId(Uuid::from_u128(7));
        let (all, failed) =
            (Filter::default(), Filter { state: Some(State::Failed), ..Filter::default() });
        let cursor = after(id, &all);
        assert_eq!(read(&cursor, &all), Some(id));
        assert_eq!(read(&cursor, &failed), None);
        for bad in ["", "AQ", "!", &cursor[1..], &format!("{cursor}AA")] {
            assert_eq!(read(bad, &all), None, "{bad}");
        }
    }
}
