//! Memory for keys that live as long as the process: kept from being swapped to a disk.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once the system refused to lock a page.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Whether every key so far is in locked memory. Where the limit of locked memory forbids it, keys
/// work all the same, and may be written to swap.
pub fn all_keys_are_locked() -> bool {
    !REFUSED.load(Ordering::Relaxed)
}

/// A key in one place of the heap, which never moves. Clones share it.
pub(super) struct Locked<T>(Arc<T>);

impl<T: AsRef<[u8]>> Locked<T> {
    /// Locks the pages that the bytes are on. They stay locked for the life of the process: a page
    /// may hold several keys, and the system does not count how often it was locked.
    pub(super) fn new(value: T) -> Self {
        let value = Arc::new(value);
        let bytes = (*value).as_ref();
        match region::lock(bytes.as_ptr(), bytes.len()) {
            Ok(guard) => std::mem::forget(guard),
            Err(_) => REFUSED.store(true, Ordering::Relaxed),
        }
        Self(value)
    }

    /// Lets `fill` write into the place where the key stays: one that is moved there leaves a copy on
    /// the stack.
    pub(super) fn filled(empty: T, fill: impl FnOnce(&mut T)) -> Self {
        let mut locked = Self::new(empty);
        if let Some(value) = Arc::get_mut(&mut locked.0) {
            fill(value);
        }
        locked
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Locked<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(..)")
    }
}
