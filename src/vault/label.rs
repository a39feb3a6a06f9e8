//! The associated data of a sealed value, and the text under a MAC.

/// The only sealed form there is so far.
pub(super) const VERSION: u8 = 1;

/// Associated data: the version, then each part behind its length, so that ("ab", "c") and
/// ("a", "bc") differ. The first part names the purpose.
pub(super) fn label(parts: &[&[u8]]) -> Vec<u8> {
    let mut label = vec![VERSION];
    for part in parts {
        label.extend_from_slice(&(part.len() as u64).to_be_bytes());
        label.extend_from_slice(part);
    }
    label
}
