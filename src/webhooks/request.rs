//! Every request to an endpoint, apart from its signature. `verdict listen` sends the same ones.

use std::time::Duration;

/// The endpoint has acknowledged every event up to this sequence.
pub const ACKNOWLEDGED_THROUGH_HEADER: &str = "verdict-acknowledged-through";
/// The epoch of that sequence and of the event.
pub const EPOCH_HEADER: &str = "verdict-epoch";
pub const USER_AGENT: &str = concat!("Verdict/", env!("CARGO_PKG_VERSION"));
/// Timeout of one attempt, from the lookup of the name to the end of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(20);
