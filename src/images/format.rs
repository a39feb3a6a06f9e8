//! The format of an image, by its bytes alone and without decoding: a decoder is a large attack
//! surface.
//!
//! An image cannot be fetched again, so it is kept however a phone wrote it, and only what is no
//! image at all is refused. Each format's parts are walked to its end; everything that is not
//! plainly one image and nothing else is noted as [`Unusual`]. An image with a note is served as a
//! file to be saved, never shown by a browser.
//!
//! An image whose header says so many pixels that they would fill a browser's memory is noted as well.
//!
//! The walk cannot know whether the picture's data decodes, what it shows, or whether a reader of
//! some other format would accept it. Every image goes out with its own
//! type, `nosniff`, and a policy that runs nothing.

mod boxes;
mod jpeg;
mod kind;
mod notes;
mod png;
mod webp;

pub use kind::Format;
pub use notes::Unusual;

use notes::{Notes, note_active_content};

/// An image by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// Its format.
    pub format: Format,
    /// Empty if the file is one image and nothing else.
    pub unusual: Vec<Unusual>,
}

impl Recognised {
    /// `None`: no image at all.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if let Some(recognised) = recognise(bytes, Notes::new()) {
            return Some(recognised);
        }
        let start = blanks_before(bytes);
        if start == 0 {
            return None;
        }
        recognise(&bytes[start..], Notes::from([Unusual::DataBeforeStart]))
    }

    /// The codes, in alphabetical order.
    pub fn codes(&self) -> Vec<&'static str> {
        self.unusual.iter().map(|unusual| unusual.code()).collect()
    }
}

fn recognise(bytes: &[u8], mut notes: Notes) -> Option<Recognised> {
    let (format, rest) = if bytes.starts_with(jpeg::START) {
        (Format::Jpeg, jpeg::walk(bytes, &mut notes)?)
    } else if bytes.starts_with(png::START) {
        (Format::Png, png::walk(bytes, &mut notes)?)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        (Format::Webp, webp::walk(bytes, &mut notes)?)
    } else if let Some(found) = boxes::walk(bytes, &mut notes) {
        found
    } else {
        notes.retain(|note| *note == Unusual::DataBeforeStart);
        notes.insert(Unusual::RareFormat);
        (rare(bytes)?, &[][..])
    };
    // Some cameras fill a JPEG up with zeros.
    let padding = format == Format::Jpeg && rest.iter().all(|byte| *byte == 0);
    if !rest.is_empty() && !padding {
        notes.insert(Unusual::DataAfterEnd);
        note_active_content(rest, &mut notes);
    }
    if holds_an_archive(bytes) {
        notes.insert(Unusual::ArchiveInside);
    }
    Some(Recognised { format, unusual: notes.into_iter().collect() })
}

/// How many bytes of blanks, zeros and byte order marks come first; more than a few are something
/// else.
fn blanks_before(bytes: &[u8]) -> usize {
    const MOST: usize = 64;
    let blank = |byte: &u8| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf);
    let count = bytes.iter().take_while(|byte| blank(byte)).count();
    if count > MOST { 0 } else { count }
}

/// Formats that phones hardly write, by their signatures.
fn rare(bytes: &[u8]) -> Option<Format> {
    const SIGNATURES: [(&[u8], usize, Format); 7] = [
        (b"GIF87a", 13, Format::Gif),
        (b"GIF89a", 13, Format::Gif),
        (b"II*\0", 16, Format::Tiff),
        (b"MM\0*", 16, Format::Tiff),
        (b"\0\0\0\x0cJXL \r\n\x87\n", 16, Format::Jxl),
        (b"\0\0\0\x0cjP  \r\n\x87\n", 16, Format::Jp2),
        (b"\x1a\x45\xdf\xa3", 32, Format::Webm),
    ];
    // The size of the header that follows tells a bitmap from two letters.
    let bitmap = bytes.starts_with(b"BM")
        && bytes.get(14..18).is_some_and(|size| {
            size[1..] == [0; 3] && matches!(size[0], 12 | 40 | 52 | 56 | 64 | 108 | 124)
        });
    if bitmap {
        return Some(Format::Bmp);
    }
    SIGNATURES.iter().find_map(|(signature, least, format)| {
        (bytes.starts_with(signature) && bytes.len() >= *least).then_some(*format)
    })
}

/// Long enough not to come up by chance: the end of a ZIP archive (all on one disk), and what RAR
/// and 7z begin with, even behind other bytes.
const ARCHIVES: [&[u8]; 3] = [b"PK\x05\x06\0\0\0\0", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"];

fn holds_an_archive(bytes: &[u8]) -> bool {
    ARCHIVES.iter().any(|archive| memchr::memmem::find(bytes, archive).is_some())
}

#[cfg(test)]
mod tests;
