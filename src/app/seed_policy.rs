//! The policies that a starting worker decides by.

use anyhow::bail;
use policy::Policy;

use super::database::retry_until_ready;
use crate::domain::clock::Clock;
use crate::policies::active::PolicySnapshot;
use crate::policies::cache::PolicyCache;
use crate::store::Store;

/// The database's policies; the configured one seeds an empty database.
pub(super) async fn policies_in_use(
    store: &Store,
    cache: &PolicyCache,
    seed: &Policy,
    clock: &Clock,
) -> anyhow::Result<PolicySnapshot> {
    let now = clock.now();
    let seed_database =
        || store.policies().seed_policy(seed.digest(), seed.name(), seed.text(), now);
    if retry_until_ready(seed_database).await? {
        tracing::info!(policy = seed.digest(), "policy seeded and activated");
    }
    let Some(policies) = retry_until_ready(|| PolicySnapshot::load(store, cache)).await? else {
        bail!("no policy is active that this version can compile")
    };
    let active = policies.general().digest();
    if active != seed.digest() {
        tracing::info!(policy = active, "using the database's active policy");
    }
    Ok(policies)
}
