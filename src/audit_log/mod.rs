//! The audit as a whole: whether it is complete and unchanged, and its export.

mod checkpoints;
mod export;
mod rows;
mod verify;

pub use export::Export;
pub use rows::{SealError, is_signed, link, seal};
pub use verify::{Fault, Whole, verify};
