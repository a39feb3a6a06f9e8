//! Delivers events to webhook endpoints.
//!
//! An endpoint is leased like other work. Its holder sends what is due and writes how far it has
//! come. From the bottom up: `schedule` (when to try again), `state`, `lines` and `window` (what goes
//! next, and what becomes of the cursor), `attempt` (one request), `setup` and `records` (rows read
//! and written), `deliver` (one endpoint under its lease), `claim`.

mod attempt;
mod claim;
pub(super) mod context;
mod deliver;
mod lines;
mod records;
mod schedule;
mod setup;
mod state;
mod window;

pub use attempt::Sender;
pub(super) use claim::ClaimEndpoints;
pub use context::Deliveries;
