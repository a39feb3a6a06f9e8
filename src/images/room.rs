//! How many bytes of images are in memory at once: many small ones, or few large ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What room is counted in.
const UNIT: usize = 1024;

/// Memory that is shared. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    units: Arc<Semaphore>,
    whole: u32,
}

/// A part of it, until it is dropped.
#[derive(Debug)]
pub struct Share(OwnedSemaphorePermit);

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.max(1).div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Room {
    /// For so many bytes.
    pub fn new(bytes: usize) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let whole = units(bytes).min(most);
        let permits = usize::try_from(whole).unwrap_or(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(permits)), whole }
    }

    /// Waits for room for so many bytes, first come first served; who wants more than there is gets
    /// all of it.
    pub async fn take(&self, bytes: usize) -> Option<Share> {
        let wanted = units(bytes).min(self.whole);
        Arc::clone(&self.units).acquire_many_owned(wanted).await.ok().map(Share)
    }
}

impl Share {
    /// Gives back what is beyond so many bytes.
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
    async fn no_more_is_taken_than_there_is_and_what_is_given_back_can_be_taken() {
        let room = Room::new(10 * UNIT);
        let mut first = room.take(6 * UNIT).await.unwrap();
        let mut second = Box::pin(room.take(5 * UNIT));
        assert!(second.as_mut().now_or_never().is_none());
        first.shrink_to(5 * UNIT + 1);
        assert!(second.as_mut().now_or_never().is_none());
        first.shrink_to(5 * UNIT);
        let second = second.await.unwrap();
        drop((first, second));
        // Larger than all of it: alone.
        let mut all = room.take(usize::MAX).await.unwrap();
        assert!(room.take(1).now_or_never().is_none());
        all.shrink_to(3);
        assert!(room.take(9 * UNIT).now_or_never().is_some());
    }
}
