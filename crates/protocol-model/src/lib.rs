//! The protocol between processes and Postgres as a pure model: accept, claim, complete, number,
//! deliver. Each step is one committed statement, one message, or one fault.
//!
//! Two users: `tests/exhaustive.rs` explores every state of small sizes, and the service's test
//! `protocol_walks` takes random walks through the model and does each step on real Postgres too.
//! The README of this crate says what that proves.
//!
//! | File | Contents |
//! |---|---|
//! | [`state`] | rows, messages, processes, the log, one endpoint |
//! | [`defect`] | the ways in which the model can be made wrong |
//! | `model` | sizes, and what is wrong with the model |
//! | [`step`] | the steps there are, and which of them can happen |
//! | `work` | what accept, claim, complete, renew and release change |
//! | `numbering` | what a numberer changes |
//! | `delivery` | what a deliverer changes |
//! | [`property`] | the invariants, by their numbers |
//! | [`explore`] | every state, breadth first |
//! | [`walk`] | random walks by seed |

pub mod defect;
mod delivery;
pub mod explore;
mod model;
mod numbering;
pub mod property;
pub mod state;
pub mod step;
pub mod walk;
mod work;

pub use defect::Defect;
pub use model::Model;
pub use state::{Sizes, State};
pub use step::Step;
