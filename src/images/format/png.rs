//! PNG: chunks up to the end, each with its checksum (PNG, 5).

use super::notes::{Notes, Unusual, length_at, note_active_content, note_size};

pub(super) const START: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The bytes after the last chunk; `None`: there is no picture.
pub(super) fn walk<'a>(bytes: &'a [u8], notes: &mut Notes) -> Option<&'a [u8]> {
    let mut rest = &bytes[START.len()..];
    let mut before: Option<&[u8]> = None;
    let mut has_data = false;
    loop {
        let Some((name, length)) = header(rest) else {
            notes.insert(Unusual::EndMissing);
            break;
        };
        let whole = length.checked_add(12).filter(|whole| *whole <= rest.len());
        let content = &rest[8..whole.map_or(rest.len(), |whole| whole - 4)];
        if !fits(name, content.len(), before, has_data) {
            notes.insert(Unusual::Damaged);
        }
        match name {
            b"IHDR" => note_size(size(content), notes),
            b"PLTE" | b"IEND" => {}
            b"IDAT" => has_data |= !content.is_empty(),
            _ => {
                // The first letter of what every reader has to know is a capital.
                if name[0].is_ascii_uppercase() {
                    notes.insert(Unusual::UnknownParts);
                }
                note_active_content(content, notes);
            }
        }
        let Some(whole) = whole else {
            notes.insert(Unusual::EndMissing);
            rest = &[];
            break;
        };
        if crc32fast::hash(&rest[4..whole - 4]).to_be_bytes() != rest[whole - 4..whole] {
            notes.insert(Unusual::Damaged);
        }
        rest = &rest[whole..];
        if name == b"IEND" {
            break;
        }
        before = Some(name);
    }
    has_data.then_some(rest)
}

/// A chunk's name and length, if one begins here.
fn header(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = length_at(bytes, 0, u32::from_be_bytes)?;
    let name = bytes.get(4..8).filter(|name| name.iter().all(u8::is_ascii_alphabetic))?;
    Some((name, length))
}

fn size(header: &[u8]) -> Option<(u32, u32)> {
    let (width, rest) = header.split_first_chunk()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*rest.first_chunk()?)))
}

/// Whether a chunk may come here: the header first, the data together.
fn fits(name: &[u8], length: usize, before: Option<&[u8]>, has_data: bool) -> bool {
    match name {
        b"IHDR" => before.is_none() && length == 13,
        b"PLTE" => before.is_some() && !has_data && length <= 768,
        b"IDAT" => before == Some(b"IDAT") || before.is_some() && !has_data,
        b"IEND" => length == 0 && has_data,
        _ => before.is_some(),
    }
}
