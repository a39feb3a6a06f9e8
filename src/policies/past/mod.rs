//! The time machine: trying another policy on the past, deciding it once more to see that nothing
//! differs, deciding it anew, and its scores.

mod range;
mod backtest;
mod replay;
mod redecide;
mod scores;

pub use backtest::{Backtest, Flip, FlipPage, flips};
pub use range::{Pace, Range};
pub use redecide::{Redecided, Stopped, redecide};
pub use replay::{Replayed, replay};
pub use scores::{calibrate, sample};
