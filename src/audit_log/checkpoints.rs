//! The checkpoints still ahead, in order.

use std::collections::VecDeque;

use super::rows::PAGE;
use crate::store::audit::AuditCheckpoint;
use crate::store::{self, Store};

pub(super) struct Ahead {
    page: VecDeque<AuditCheckpoint>,
    after: i64,
}

impl Ahead {
    /// Those after a position.
    pub(super) async fn open(store: &Store, after: i64) -> store::Result<Self> {
        let mut ahead = Self { page: VecDeque::new(), after };
        ahead.fill(store).await?;
        Ok(ahead)
    }

    async fn fill(&mut self, store: &Store) -> store::Result<()> {
        if self.page.is_empty() {
            self.page = store.audit().audit_checkpoints_after(self.after, PAGE).await?.into();
            self.after = self.page.back().map_or(self.after, |last| last.position);
        }
        Ok(())
    }

    /// The next one, if it is about this row.
    pub(super) async fn at(
        &mut self,
        store: &Store,
        position: i64,
    ) -> store::Result<Option<AuditCheckpoint>> {
        if self.page.front().is_none_or(|next| next.position != position) {
            return Ok(None);
        }
        let next = self.page.pop_front();
        self.fill(store).await?;
        Ok(next)
    }

    pub(super) fn next(&self) -> Option<&AuditCheckpoint> {
        self.page.front()
    }
}
