//! Notes of anything unusual in the bytes of an image.

use std::collections::BTreeSet;

/// Why an image may be more, or less, than an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusual {
    /// A part that no decoder shows begins like a page, a script or a document.
    ActiveContent,
    /// The bytes hold the end of a ZIP archive, or the beginning of a RAR or 7z archive.
    ArchiveInside,
    /// A checksum, a length or the order of the parts is wrong.
    Damaged,
    /// Bytes follow the image's end: a phone's trailer, a second image, a recording.
    DataAfterEnd,
    /// Blanks or zeros come before its first byte.
    DataBeforeStart,
    /// It stops before its end.
    EndMissing,
    /// Its header says more than 64 million pixels.
    ManyPixels,
    /// A format that is not checked further than its first bytes.
    RareFormat,
    /// It has parts that its format does not describe.
    UnknownParts,
}

impl Unusual {
    /// As it is stored and shown.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ActiveContent => "active-content",
            Self::ArchiveInside => "archive-inside",
            Self::Damaged => "damaged",
            Self::DataAfterEnd => "data-after-end",
            Self::DataBeforeStart => "data-before-start",
            Self::EndMissing => "end-missing",
            Self::ManyPixels => "many-pixels",
            Self::RareFormat => "rare-format",
            Self::UnknownParts => "unknown-parts",
        }
    }
}

pub(super) type Notes = BTreeSet<Unusual>;

/// Looked for in what no decoder shows, in any case: beginnings of pages, scripts, documents.
const ACTIVE: [&[u8]; 8] =
    [b"<html", b"<script", b"<!doctype", b"<body", b"<iframe", b"<svg", b"<?php", b"%pdf-"];

pub(super) fn note_active_content(content: &[u8], notes: &mut Notes) {
    let active = memchr::memchr2_iter(b'<', b'%', content).any(|at| {
        ACTIVE.iter().any(|start| {
            content.get(at..at + start.len()).is_some_and(|part| part.eq_ignore_ascii_case(start))
        })
    });
    if active {
        notes.insert(Unusual::ActiveContent);
    }
}

/// Most pixels of an image that a browser is to show. It takes four bytes for each, however few the
/// file has: a picture of one colour is compressed to almost nothing.
const MAX_PIXELS: u64 = 64_000_000;

/// Width and height by a header, where it has them.
pub(super) fn note_size(size: Option<(u32, u32)>, notes: &mut Notes) {
    if size.is_some_and(|(width, height)| u64::from(width) * u64::from(height) > MAX_PIXELS) {
        notes.insert(Unusual::ManyPixels);
    }
}

/// A length at that place, of four bytes.
pub(super) fn length_at(bytes: &[u8], at: usize, read: fn([u8; 4]) -> u32) -> Option<usize> {
    usize::try_from(read(*bytes.get(at..)?.first_chunk()?)).ok()
}
