//! Where computing happens that would keep other requests waiting: off the runtime's threads, and
//! what a policy makes expensive one piece at a time in a process.

use tokio::sync::{Semaphore, TryAcquireError};

/// One piece of work at a time, and how many requests may wait for their turn.
static POLICY_WORK: Semaphore = Semaphore::const_new(1);
static WAITING: Semaphore = Semaphore::const_new(MOST_WAITING);

/// With more, a caller is better told to try again: a check takes up to some tenths of a second.
const MOST_WAITING: usize = 8;

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Computes on a thread that may block. A panic in it is the caller's panic.
pub async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Work that a policy makes expensive: checks, comparisons, pages of a backtest. It goes on to its
/// end, and keeps others from beginning, even where its caller no longer waits.
pub async fn policy_work<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // Never closed.
    let turn = POLICY_WORK.acquire().await;
    off_runtime(move || {
        let done = work();
        drop(turn);
        done
    })
    .await
}

/// The same for a request: it is refused where many wait already.
pub async fn requested_policy_work<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Busy> {
    let _waiting = WAITING.try_acquire().map_err(|_: TryAcquireError| Busy)?;
    Ok(policy_work(work).await)
}

/// Digests of passwords at a time: each takes 20 MiB and a core.
static PASSWORDS: Semaphore = Semaphore::const_new(2);
/// Requests that may wait for theirs.
static WAITING_PASSWORDS: Semaphore = Semaphore::const_new(32);

/// Computes or compares the digest of a password; refused where many wait already.
pub async fn password_work<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Busy> {
    let _waiting = WAITING_PASSWORDS.try_acquire().map_err(|_: TryAcquireError| Busy)?;
    let turn = PASSWORDS.acquire().await;
    Ok(off_runtime(move || {
        let done = work();
        drop(turn);
        done
    })
    .await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn policy_work_is_serial_and_its_queue_bounded() {
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (go_ahead, waits) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn(requested_policy_work(move || waits.recv()));
        let others: Vec<_> = (0..3 * MOST_WAITING)
            .map(|_| {
                let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
                tokio::spawn(requested_policy_work(move || {
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    at_once.fetch_sub(1, Ordering::SeqCst);
                }))
            })
            .collect();
        while WAITING.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        go_ahead.send(()).unwrap();
        assert!(first.await.unwrap().is_ok());
        let (mut done, mut refused) = (0, 0);
        for other in others {
            match other.await.unwrap() {
                Ok(()) => done += 1,
                Err(Busy) => refused += 1,
            }
        }
        assert!(done + 1 >= MOST_WAITING && refused > 0, "{done} done, {refused} refused");
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
