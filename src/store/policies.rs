//! Policy texts by digest, and which one is active.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::{Result, Store};

/// One policy text.
#[derive(Clone, Debug, FromRow)]
pub struct PolicyText {
    /// `sha256:…` of the text.
    pub digest: String,
    /// TOML.
    pub body: String,
}

impl Store {
    /// Adds a policy and makes it active, if none is yet; a database that has one keeps its own.
    pub async fn seed_policy(
        &self,
        digest: &str,
        name: &str,
        body: &str,
        now: OffsetDateTime,
    ) -> Result<bool> {
        // policies::seed: the lock makes the second of two replicas that start together see the
        // first one's activation.
        self.run(|| async {
            sqlx::query_scalar(
                "with lock as materialized (
                    select pg_advisory_xact_lock(hashtext('verdict.policies'))
                 ), empty as (
                    select from lock where not exists (select from policy_activations)
                 ), added as (
                    insert into policies (digest, name, body, added_at)
                    select $1, $2, $3, $4 from empty on conflict (digest) do nothing
                 ), activated as (
                    insert into policy_activations (digest, activated_at, activated_by)
                    select $1, $4, 'seed' from empty returning 1
                 )
                 select exists (select from activated)",
            )
            .bind(digest)
            .bind(name)
            .bind(body)
            .bind(now)
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// The active policy.
    pub async fn active_policy(&self) -> Result<Option<PolicyText>> {
        self.run(|| async {
            sqlx::query_as(
                "select p.digest, p.body from policy_activations a join policies p using (digest)
                 order by a.id desc limit 1",
            )
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }
}
