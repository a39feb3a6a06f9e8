//! Waiting for a database that is not there yet, while a service starts.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::store::{self, Store};

/// For Postgres to answer when the service starts before it.
const WAIT_FOR_DATABASE: Duration = Duration::from_secs(30);
/// Between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A database that goes away in the middle of the start is waited for as well: a process that
/// ends for it would only be started again, perhaps later each time.
pub(super) async fn outlasting<T, F>(ask: impl Fn() -> F) -> store::Result<T>
where
    F: Future<Output = store::Result<T>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.is_passing() && started.elapsed() < WAIT_FOR_DATABASE => {
                tracing::warn!(%error, "waiting for the database");
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
        match store.connect_once().await {
            Ok(()) => return Ok(()),
            // The configuration is right, and the server has to change.
            Err(store::Error::Unavailable(why))
                if why.contains("SQLSTATE") && started.elapsed() > WAIT_FOR_DATABASE =>
            {
                return Err(store::Error::Unavailable(why).into());
            }
            // Waiting does not help: a certificate or an `sslmode` has to change.
            Err(error) if untrusted(&error) || started.elapsed() > WAIT_FOR_DATABASE => {
                return Err(error).context("configuration: database.url");
            }
            Err(store::Error::Refused { code, .. })
                if code.starts_with("28") || code == "3D000" =>
            {
                bail!(
                    "configuration: database.url: Postgres refuses user, password or database (SQLSTATE {code})"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

fn untrusted(error: &store::Error) -> bool {
    matches!(error, store::Error::Untrusted(_))
}
