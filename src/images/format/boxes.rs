//! HEIF, AVIF, MP4 and `QuickTime`: boxes to the last byte (ISO 14496-12, 4.2), told apart by brand.

use super::kind::Format;
use super::notes::{Notes, Unusual, note_active_content, note_size};

/// Boxes of the outermost level, and atoms of `QuickTime`.
const KNOWN: [&[u8]; 17] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"meta", b"free", b"skip", b"wide", b"uuid",
    b"udta", b"mfra", b"sidx", b"ssix", b"prft", b"emsg", b"pnot",
];

/// The format, and what follows the last box; `None`: nothing of the kind.
pub(super) fn walk<'a>(bytes: &'a [u8], notes: &mut Notes) -> Option<(Format, &'a [u8])> {
    let first = Header::read(bytes)?;
    let format = match first.name {
        b"ftyp" => by_brand(bytes.get(first.content..first.end(bytes))?, notes)?,
        // QuickTime files of before there were brands.
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot" => {
            notes.insert(Unusual::RareFormat);
            Format::QuickTime
        }
        _ => return None,
    };
    let branded = first.name == b"ftyp";
    let mut rest = bytes;
    let (mut has_content, mut has_index) = (false, false);
    while let Some(header) = Header::read(rest) {
        let known = KNOWN.contains(&header.name);
        let cut = header.length.is_some_and(|length| length > rest.len());
        if cut && !known {
            break;
        }
        if cut {
            notes.insert(Unusual::EndMissing);
        }
        if !known {
            notes.insert(Unusual::UnknownParts);
        }
        // Only a recording is written before its length is known.
        if header.length.is_none() && header.name != b"mdat" {
            notes.insert(Unusual::Damaged);
        }
        let end = header.end(rest);
        let content = &rest[header.content.min(end)..end];
        if header.name != b"mdat" {
            note_active_content(content, notes);
        }
        if header.name == b"meta" {
            note_sizes(content, notes);
        }
        has_index |= header.name == b"moov";
        has_content |= matches!(header.name, b"moov" | b"moof" | b"mdat" | b"meta");
        rest = &rest[end..];
    }
    (has_content && (branded || has_index)).then_some((format, rest))
}

/// Sizes of the images that a `meta` box describes (`ispe`; ISO 23008-12, 6.5.3).
fn note_sizes(meta: &[u8], notes: &mut Notes) {
    const NAME_AND_VERSION: usize = 8;
    for at in memchr::memmem::find_iter(meta, b"ispe") {
        let sides = meta.get(at + NAME_AND_VERSION..).and_then(|sides| {
            let (width, rest) = sides.split_first_chunk()?;
            Some((u32::from_be_bytes(*width), u32::from_be_bytes(*rest.first_chunk()?)))
        });
        note_size(sides, notes);
    }
}

struct Header<'a> {
    name: &'a [u8],
    /// `None`: to the end.
    length: Option<usize>,
    /// Where its content begins.
    content: usize,
}

impl<'a> Header<'a> {
    /// `None`: no box begins here.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let name = bytes.get(4..8).filter(|name| name.iter().all(printable))?;
        let (length, content) = match u32::from_be_bytes(*bytes.first_chunk()?) {
            0 if KNOWN.contains(&name) => (None, 8),
            // Longer than 32 bits can say.
            1 => (Some(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)), 16),
            length => (Some(u64::from(length)), 8),
        };
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        length.is_none_or(|length| length >= content).then_some(Self { name, length, content })
    }

    fn end(&self, bytes: &[u8]) -> usize {
        self.length.map_or(bytes.len(), |length| length.min(bytes.len()))
    }
}

/// By the major brand; where that one is general, by those it is compatible with.
fn by_brand(content: &[u8], notes: &mut Notes) -> Option<Format> {
    let major = content.get(..4)?;
    let mut others = content.get(8..).unwrap_or_default().chunks_exact(4);
    let found = of_brand(major).or_else(|| others.find_map(of_brand));
    let general = matches!(major, b"mif1" | b"mif2" | b"msf1" | b"miaf");
    let known = found.or_else(|| general.then_some(Format::Heif));
    if known.is_none() {
        notes.insert(Unusual::RareFormat);
    }
    Some(known.unwrap_or(Format::Mp4))
}

fn of_brand(brand: &[u8]) -> Option<Format> {
    match brand {
        b"heic" | b"heix" | b"heim" | b"heis" => Some(Format::Heic),
        b"hevc" | b"hevx" | b"hevm" | b"hevs" => Some(Format::HeicSequence),
        b"avif" | b"avis" => Some(Format::Avif),
        b"qt  " => Some(Format::QuickTime),
        b"isom"
        | b"avc1"
        | b"mp41"
        | b"mp42"
        | b"dash"
        | b"msnv"
        | b"MSNV"
        | b"mmp4"
        | [b'i', b's', b'o', b'2'..=b'9']
        | [b'M' | b'm', b'4', b'v' | b'V', _]
        | [b'3', b'g', _, _] => Some(Format::Mp4),
        _ => None,
    }
}
