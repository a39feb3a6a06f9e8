//! Cursors of lists: opaque to callers, and valid only with the same filters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
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

/// The error for a text that is no cursor of this list.
pub const MUST_BE_OF_THIS_LIST: &str = "must be the next_cursor of a list with the same filters";

/// A cursor that a caller sent.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    after: VerificationId,
    filter: [u8; FILTER_BYTES],
}

impl Cursor {
    /// Reads its form. Whether it is one of this list, only [`Self::with`] tells.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text).ok_or(MUST_BE_OF_THIS_LIST)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (id, filter) = rest.split_at_checked(16)?;
        let after = Uuid::from_slice(id).ok().map(VerificationId)?;
        let filter = filter.try_into().ok()?;
        (*version == VERSION).then_some(Self { after, filter })
    }

    /// The last item of the page before; `None` if it is the cursor of a list with other filters.
    pub fn with(&self, filter: &Filter) -> Option<VerificationId> {
        (self.filter == digest(filter)).then_some(self.after)
    }
}

impl PartialSchema for Cursor {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for Cursor {}

/// Catches mistakes, not attacks: a cursor grants no access.
fn digest(filter: &Filter) -> [u8; FILTER_BYTES] {
    // Filters that the version before did not know do not count while they are absent: pages of one
    // list may come from processes of both versions.
    let text = format!("{filter:?}").replace(", product: None, certify_id: None", "");
    let mut bytes = [0; FILTER_BYTES];
    bytes.copy_from_slice(&Sha256::digest(text)[..FILTER_BYTES]);
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
        let read = Cursor::parse(&cursor).unwrap();
        assert_eq!((read.with(&all), read.with(&failed)), (Some(id), None));
        // As the version before two more filters made it.
        let of_before = "Filter { biz_type: None, biz_id: None, reference: None, state: None, \
            outcome: None, created_after: None, created_before: None, error_code: None, scenes: None }";
        assert_eq!(digest(&all), Sha256::digest(of_before)[..FILTER_BYTES]);
        for bad in ["", "AQ", "!", &cursor[1..], &format!("{cursor}AA")] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }
}
