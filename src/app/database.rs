//! Waiting for a database that is not there yet, while a service starts.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::config::FromKey;
use crate::store::{self, NoServer, Store};

/// For Postgres to answer when the service starts before it.
const WAIT_FOR_DATABASE: Duration = Duration::from_secs(30);
/// Between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A database that goes away in the middle of the start is waited for as well: a process that
/// ends for it would only be started again, perhaps later each time.
pub(super) async fn retry_until_ready<T, F>(ask: impl Fn() -> F) -> store::Result<T>
where
    F: Future<Output = store::Result<T>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.is_passing() && started.elapsed() < WAIT_FOR_DATABASE => {
                tracing::warn!(%error, cause = error.cause().code(), "waiting for the database");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

pub(super) async fn wait_for_database(store: &Store) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        // Past the pool, which keeps the reason for itself.
        match store.inspection().connect_at_start().await {
            Ok(()) => return Ok(()),
            Err(NoServer { error, is_of_the_url: true }) => {
                return Err(error).context(FromKey("database.url"));
            }
            Err(NoServer { error, .. }) if started.elapsed() > WAIT_FOR_DATABASE => {
                // A refusal with a code is no fault of the configuration.
                let said =
                    matches!(&error, store::Error::Unavailable(outage) if outage.code.is_some());
                let error = anyhow::Error::from(error);
                return Err(if said { error } else { error.context(FromKey("database.url")) });
            }
            Err(NoServer { error, .. }) => {
                tracing::warn!(%error, cause = error.cause().code(), "waiting for the database");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}
