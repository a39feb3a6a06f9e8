//! WebP: chunks that fill a RIFF file (RFC 9649).

use super::notes::{Notes, Unusual, length_at, note_active_content};

/// The bytes after the RIFF file; `None`: there is no picture.
pub(super) fn walk<'a>(bytes: &'a [u8], notes: &mut Notes) -> Option<&'a [u8]> {
    let told = length_at(bytes, 4, u32::from_le_bytes)?.checked_add(8)?;
    if told > bytes.len() {
        notes.insert(Unusual::EndMissing);
    }
    let (inside, rest) = bytes.split_at(told.clamp(12, bytes.len()));
    if pictures(&inside[12..], notes) > 0 {
        return Some(rest);
    }
    // A writer that did not know the length yet.
    notes.insert(Unusual::Damaged);
    (pictures(&bytes[12..], notes) > 0).then_some(&[])
}

/// How many pictures these chunks hold.
fn pictures(mut rest: &[u8], notes: &mut Notes) -> usize {
    let mut pictures = 0;
    let mut first = true;
    while !rest.is_empty() {
        let Some(length) = length_at(rest, 4, u32::from_le_bytes) else {
            notes.insert(Unusual::Damaged);
            note_active_content(rest, notes);
            break;
        };
        let name = &rest[..4];
        let end = length.saturating_add(8);
        if end > rest.len() {
            notes.insert(Unusual::EndMissing);
        }
        let content = &rest[8..end.min(rest.len())];
        let fits = match name {
            b"VP8 " | b"VP8L" => pictures == 0,
            b"VP8X" => first,
            b"ANMF" | b"ALPH" | b"ANIM" | b"ICCP" | b"EXIF" | b"XMP " => !first,
            _ => {
                notes.insert(Unusual::UnknownParts);
                true
            }
        };
        // To an even length, with a zero.
        let pad = rest.get(end).filter(|_| length % 2 == 1);
        if !fits || pad.is_some_and(|byte| *byte != 0) {
            notes.insert(Unusual::Damaged);
        }
        if matches!(name, b"VP8 " | b"VP8L" | b"ANMF") {
            pictures += usize::from(!content.is_empty());
        } else {
            note_active_content(content, notes);
        }
        first = false;
        rest = rest.get(end.saturating_add(length % 2)..).unwrap_or_default();
    }
    pictures
}
