//! Says every 15 s that this process serves, for the page of operators.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::role::Role;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::periodic::{self, Periodic};
use crate::store::Store;
use crate::store::processes::Introduction;

const EVERY: Duration = Duration::from_secs(15);
/// For the last word, while the process stops.
const PATIENCE: Duration = Duration::from_secs(1);

struct Presence {
    store: Store,
    of: Introduction,
}

impl Periodic for Presence {
    async fn round(&mut self) -> Duration {
        // The page of operations shows the time of the last success. Faults of the database are
        // logged elsewhere.
        if let Err(error) = self.store.processes().seen(&self.of).await {
            tracing::debug!(%error, "presence not stored");
        }
        EVERY
    }
}

/// Runs until the process stops, and then takes its row away.
pub(super) async fn keep(
    store: Store,
    role: Role,
    (ids, clock): (Ids, Clock),
    stop: CancellationToken,
) {
    let of = Introduction {
        id: Ids::random().next(clock.now()),
        role: role.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("VERDICT_BUILT_FROM"),
        host: host(),
    };
    let id = of.id;
    tokio::select! {
        () = stop.cancelled() => {}
        () = periodic::repeat(&ids, Presence { store: store.clone(), of }) => {}
    }
    let _ = tokio::time::timeout(PATIENCE, store.processes().stopped(id)).await;
}

fn host() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "unknown".to_owned())
}
