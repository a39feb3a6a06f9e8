//! Memory that requests share. Permits are granted at once or not at all; nothing queues.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: usize = 1024;

/// Clones share the budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Semaphore>);

/// Returns its bytes to the budget when dropped.
#[derive(Debug)]
pub struct MemoryPermit(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl MemoryBudget {
    /// Rounded down to whole KiB.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// `None` if less is left.
    pub fn try_acquire(&self, bytes: usize) -> Option<MemoryPermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(units).ok().map(MemoryPermit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_refused_beyond_the_budget_and_come_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let first = budget.try_acquire(9 * UNIT + 1).unwrap();
        assert!(budget.try_acquire(1).is_none());
        drop(first);
        assert!(budget.try_acquire(1).is_some());
        assert!(budget.try_acquire(11 * UNIT).is_none());
    }
}
