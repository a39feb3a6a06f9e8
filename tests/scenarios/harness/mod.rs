//! The harness of the scenarios.

mod app;
pub mod browser;
pub mod buckets;
mod caller;
mod cluster;
mod collector;
mod privacy;
mod process;
pub mod protocol;
mod proxy;
mod receiver;
mod recorder;
mod standby;
mod witness;

pub use app::{
    Options, TestApp, configuration, make_key, make_key_of, make_key_with, provider, vault_secret,
};
pub use buckets::Buckets;
pub use caller::{Callback, Reply, SECRET, callback};
pub use cluster::{Database, empty_database, new_database, programs};
pub use collector::{Collector, attribute};
pub use privacy::{assert_no_person, dump, mark_in_bytes, person_in, spellings};
pub use process::{Process, Setting, run_verdict};
pub use proxy::{COMPLETION, Proxy, READY_FOR_QUERY};
pub use receiver::{Delivery, Receiver, Reply as ReceiverReply};
pub use recorder::{Recorder, Statement};
pub use standby::Pair;
pub use witness::{WitnessFiles, WitnessProcess};

use std::future::Future;
use std::time::Duration;

/// For anything to happen that must happen: only a failing test waits this long.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Polls `look` every few milliseconds until it returns something: for changes without an event,
/// such as another process's log or a row in the database.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let watch = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let Ok(found) = tokio::time::timeout(PATIENCE, watch).await else {
        panic!("did not happen within {PATIENCE:?}: {what}")
    };
    found
}

/// The time of day, for scenarios that start processes.
pub fn now() -> time::OffsetDateTime {
    verdict::domain::clock::Clock::system().now()
}
