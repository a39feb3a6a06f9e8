//! Everything that the worker needs to deliver events.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Sender;

#[derive(Clone, Debug)]
pub struct Deliveries {
    pub sender: Arc<Sender>,
    /// An endpoint that fails for this long is disabled; `None`: never.
    pub disable_after: Option<Duration>,
    /// How long attempts are listed; `None`: indefinitely.
    pub keep: Option<Duration>,
}
