//! Text as phones, gateways and card readers really write it: damaged JSON, full-width letters,
//! byte order marks.
//!
//! The readers in [`crate::wire`] use these modules. They are public because whoever receives
//! callbacks from a phone, or compares names and identity numbers, meets the same text.

pub mod byte_order_mark;
pub mod folding;
pub mod lenient_json;
