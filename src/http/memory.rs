//! Memory that requests share: a permit is taken at once or not at all, and nobody queues.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the budget.
const UNIT: usize = 1024;

/// So many bytes at once. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Semaphore>);

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub struct MemoryPermit(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl MemoryBudget {
    /// Rounded down to whole KiB.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// A part of so many bytes; `None` if less is left.
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
