//! Where a list goes on: opaque to callers, and good for the list it came from only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::ids::VerificationId;
use crate::store::listing::Filter;

/// So that another form can be told apart later.
const VERSION: u8 = 1;
/// Bytes of the filter's digest.
const FILTER_BYTES: usize = 8;

/// After this one.
pub fn after(id: VerificationId, filter: &Filter) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(id.0.as_bytes());
    bytes.extend(digest(filter));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What it stands for; `None` if it is none, or one of another list.
pub fn read(cursor: &str, filter: &Filter) -> Option<VerificationId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (id, of) = rest.split_at_checked(16)?;
    let good = *version == VERSION && of == digest(filter);
    good.then(|| Uuid::from_slice(id).ok().map(VerificationId)).flatten()
}

/// A slip of the caller's is caught by it, not an attack: a cursor opens nothing.
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
    fn a_cursor_is_good_for_its_own_list_only() {
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
