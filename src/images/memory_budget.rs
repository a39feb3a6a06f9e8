//! How many bytes of images may be in memory at once: many small ones, or few large ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit of the semaphore.
const UNIT: usize = 1024;

/// A number of bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    whole: u32,
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub struct MemoryPermit(OwnedSemaphorePermit);

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.max(1).div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl MemoryBudget {
    pub fn new(bytes: usize) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let whole = units(bytes).min(most);
        let permits = usize::try_from(whole).unwrap_or(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(permits)), whole }
    }

    /// Waits until so many bytes are free, first come first served. A caller that wants more than
    /// the whole budget waits for the whole budget.
    pub async fn acquire(&self, bytes: usize) -> Option<MemoryPermit> {
        let wanted = units(bytes).min(self.whole);
        Arc::clone(&self.units).acquire_many_owned(wanted).await.ok().map(MemoryPermit)
    }
}

impl MemoryPermit {
    /// Releases what is beyond so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let needed = usize::try_from(units(bytes)).unwrap_or(usize::MAX);
        drop(self.0.split(self.0.num_permits().saturating_sub(needed)));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn budget_is_never_exceeded_and_released_bytes_return() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut first = budget.acquire(6 * UNIT).await.unwrap();
        let mut second = Box::pin(budget.acquire(5 * UNIT));
        assert!(second.as_mut().now_or_never().is_none());
        first.shrink_to(5 * UNIT + 1);
        assert!(second.as_mut().now_or_never().is_none());
        first.shrink_to(5 * UNIT);
        let second = second.await.unwrap();
        drop((first, second));
        // Larger than all of it: alone.
        let mut all = budget.acquire(usize::MAX).await.unwrap();
        assert!(budget.acquire(1).now_or_never().is_none());
        all.shrink_to(3);
        assert!(budget.acquire(9 * UNIT).now_or_never().is_some());
    }
}
