//! Delivers events to webhook endpoints.
//!
//! An endpoint is leased like other work. Its holder sends the due events and stores its progress.
//! From the bottom up: `schedule` (when to retry), `state`, `lines` and `window` (which event is
//! next, and how the cursor moves), `attempt` (one request), `setup` and `records` (reading and
//! writing rows), `deliver` (one endpoint under its lease), `claim`.

mod attempt;
mod claim;
pub(super) mod context;
mod deliver;
pub mod lines;
pub mod records;
mod schedule;
pub mod setup;
pub mod state;
pub mod window;

pub use attempt::Sender;
pub(super) use claim::ClaimEndpoints;
pub use context::Deliveries;
