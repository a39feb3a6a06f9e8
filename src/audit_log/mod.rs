//! The audit as a whole: whether it is complete and unchanged, its export, its heads and
//! proofs, and dropping its oldest rows.

mod checkpoints;
mod cut;
mod export;
pub mod heads;
mod rows;
pub mod tree;
mod verify;

pub use cut::{Kept, drop_checkpoints, drop_oldest};
pub use export::{Export, ExportError};
pub use rows::{SealError, is_cut_signed, is_signed, link, seal};
pub use verify::{Fault, Known, Whole, verify, verify_with};
