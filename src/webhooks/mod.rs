//! Webhooks: where events may be delivered to, how deliveries are signed, operations on endpoints.
//!
//! The HTTP API and the command line share the operations; the worker delivers.
//!
//! | File | Contents |
//! |---|---|
//! | [`targets`] | which URLs an endpoint may have |
//! | [`request`] | the headers and the timeout of every request |
//! | [`signing`] | Standard Webhooks: keys, and the headers that sign a delivery |
//! | [`endpoints`] | add, change, rotate, redeliver …: what the API and the command line offer |

pub mod targets;
pub mod request;
pub mod signing;
pub mod endpoints;

use std::time::Duration;

/// The section `[webhooks]` of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub targets: targets::Targets,
    /// An endpoint that failed for this long is disabled; `None`: never.
    pub disable_after: Option<Duration>,
    /// How long attempts are kept; `None`: indefinitely.
    pub keep_deliveries: Option<Duration>,
    /// Endpoints that there may be.
    pub max_endpoints: u32,
}
