//! WebP: chunks that fill a RIFF file (RFC 9649).

use super::notes::{Notes, Unusual, length_at, note_active_content, note_size};

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
        note_size(size(name, content), notes);
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

/// Of the canvas, or of the picture in one chunk.
fn size(name: &[u8], content: &[u8]) -> Option<(u32, u32)> {
    match name {
        b"VP8X" => {
            let side = |at: usize| {
                let [one, two, three] = *content.get(at..)?.first_chunk()?;
                Some(u32::from_le_bytes([one, two, three, 0]) + 1)
            };
            Some((side(4)?, side(7)?))
        }
        b"VP8L" => {
            let bits = u32::from_le_bytes(*content.strip_prefix(b"\x2f")?.first_chunk()?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => {
            let rest = content.get(3..)?.strip_prefix(b"\x9d\x01\x2a")?;
            let [width, more_width, height, more_height] = *rest.first_chunk()?;
            let side = |side: [u8; 2]| u32::from(u16::from_le_bytes(side) & 0x3fff);
            Some((side([width, more_width]), side([height, more_height])))
        }
        _ => None,
    }
}
