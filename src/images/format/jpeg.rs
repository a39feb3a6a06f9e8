//! JPEG: segments up to the end marker (ITU T.81, B.1).

use super::notes::{Notes, Unusual, note_active_content, note_size};

pub(super) const START: &[u8] = b"\xff\xd8\xff";

/// The bytes after the end marker; `None`: there is no picture.
pub(super) fn walk<'a>(bytes: &'a [u8], notes: &mut Notes) -> Option<&'a [u8]> {
    let mut rest = &bytes[2..];
    let (mut frames, mut scans) = (0, 0);
    let after = loop {
        let Some((skipped, marker, after)) = next_marker(rest) else {
            notes.insert(Unusual::EndMissing);
            break &[][..];
        };
        if skipped > 0 {
            notes.insert(Unusual::Damaged);
        }
        if marker == 0xd9 {
            break after;
        }
        let Some((content, behind)) = segment(marker, after) else {
            // Decoders also continue at the next marker.
            notes.insert(Unusual::Damaged);
            rest = after;
            continue;
        };
        match marker {
            0xc4 | 0xc8 | 0xcc | 0xdb..=0xdf => {}
            0xc0..=0xcf => {
                frames += 1;
                note_size(size(content), notes);
            }
            0xda => scans += usize::from(!behind.is_empty()),
            0xe0..=0xef | 0xfe => note_active_content(content, notes),
            _ => {
                notes.insert(Unusual::UnknownParts);
                note_active_content(content, notes);
            }
        }
        rest = if marker == 0xda { after_scan(behind) } else { behind };
    };
    if frames == 0 {
        notes.insert(Unusual::Damaged);
    }
    (scans > 0).then_some(after)
}

/// How many bytes come before the next marker, the marker, and what follows it. Any number of `FF`
/// may stand before one.
fn next_marker(bytes: &[u8]) -> Option<(usize, u8, &[u8])> {
    let at = bytes.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
    let fill = bytes[..at].iter().rev().take_while(|byte| **byte == 0xff).count();
    Some((at - fill, bytes[at + 1], &bytes[at + 2..]))
}

/// A segment's content, and what follows it. `None`: it has none, or not as much as it says.
fn segment(marker: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if matches!(marker, 0x01 | 0xd0..=0xd8) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    Some((bytes.get(2..length)?, &bytes[length..]))
}

/// Of a frame: its header begins with the bits of a sample, the height and the width (B.2.2).
fn size(frame: &[u8]) -> Option<(u32, u32)> {
    let (height, rest) = frame.get(1..)?.split_first_chunk()?;
    let width = u16::from_be_bytes(*rest.first_chunk()?);
    Some((width.into(), u16::from_be_bytes(*height).into()))
}

/// From the first marker after coded data that is neither a restart nor a stuffed `FF`.
fn after_scan(bytes: &[u8]) -> &[u8] {
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
    bytes.windows(2).position(is_marker).map_or(&[], |at| &bytes[at..])
}
