//! What has to be done now and then, by any worker: erasures that were begun and not finished,
//! persons whose time is over, checkpoints of the audit.

use std::time::Duration;

use super::Worker;
use super::retention::Retention;
use crate::store;
use crate::store::audit::AuditCheckpoint;

/// Distance of two rounds.
const EVERY: Duration = Duration::from_secs(10);

impl Worker {
    /// For ever. Several workers may do it at once: each step is done once, or twice with the same
    /// result.
    pub(super) async fn keep_up(&self) {
        let mut retention = Retention::default();
        loop {
            if let Err(error) = self.upkeep(&mut retention).await {
                tracing::warn!(%error, "upkeep put off");
            }
            tokio::time::sleep(EVERY.mul_f64(1.0 + self.ids.fraction())).await;
        }
    }

    async fn upkeep(&self, retention: &mut Retention) -> store::Result<()> {
        let finished = self.store.finish_erasures(self.clock.now()).await?;
        if finished > 0 {
            tracing::info!(finished, "erasures finished");
        }
        let forgotten = self.retain(retention).await?;
        if forgotten > 0 {
            tracing::info!(forgotten, "persons forgotten: their time is over");
        }
        self.checkpoint_audit().await
    }

    /// The chain's end, under a key that the database does not hold in the clear. It is logged
    /// too: what has left the machine with the log cannot be changed with the database.
    async fn checkpoint_audit(&self) -> store::Result<()> {
        let (position, digest) = self.store.audit_head().await?;
        if position <= self.store.audit_checkpointed_to().await? {
            return Ok(());
        }
        let at = self.clock.now();
        let micros = i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
        let mac = self.audit_seal.sign(position, micros, &digest).to_vec();
        let checkpoint = AuditCheckpoint { position, at, digest, mac };
        self.store.add_audit_checkpoint(&checkpoint).await?;
        tracing::info!(position, digest = hex::encode(&checkpoint.digest), "audit checkpoint");
        Ok(())
    }
}
