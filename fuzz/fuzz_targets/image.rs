//! Arbitrary bytes as an image.
//!
//! `cargo +nightly fuzz run image fuzz/corpus/image crates/cloudauth-sandbox/src/pictures`
#![no_main]

use libfuzzer_sys::fuzz_target;
use verdict::images::format::{Format, Recognised};

// Invariants for any input: no panic, the codes in order and each once, and nothing behind an image
// that a browser shows goes without a note.
fuzz_target!(|bytes: &[u8]| {
    let Some(recognised) = Recognised::of(bytes) else { return };
    assert!(recognised.codes().is_sorted_by(|one, other| one < other));
    let is_shown = matches!(recognised.format, Format::Jpeg | Format::Png | Format::Webp);
    if is_shown && recognised.unusual.is_empty() {
        let two_in_one = [bytes, b"<html><script>"].concat();
        let noted = Recognised::of(&two_in_one).is_none_or(|other| !other.unusual.is_empty());
        assert!(noted, "a page behind a picture is shown inline");
    }
});
