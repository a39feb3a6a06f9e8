//! Group commit: one statement, one `fsync`, many callers, each with its own outcome.
//!
//! A flush starts at once when none is running; what arrives while one runs forms the next batch.
//! So a lone caller waits for nobody, and under load the cost of a commit is shared. The flush runs
//! in a task of its own: a caller that goes away cancels nothing.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Error, Result};

/// How many batches may be in flight: while one waits for its `fsync`, the next is prepared.
const FLUSHERS: usize = 2;

type Waiting<I, O> = (I, oneshot::Sender<Result<O>>);

/// The callers' end. Clones feed the same batches.
#[derive(Debug)]
pub struct GroupCommit<I, O> {
    queue: mpsc::Sender<Waiting<I, O>>,
}

impl<I, O> Clone for GroupCommit<I, O> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<I: Clone + Send + 'static, O: Send + 'static> GroupCommit<I, O> {
    /// Starts the flushers. `write` must return one outcome per item, in order. At most `capacity`
    /// items wait; more are refused as unavailable rather than piled up in memory.
    ///
    /// The flushers end, after the last item, when every clone is dropped.
    pub fn start<W, F>(max_batch: usize, capacity: usize, write: W) -> (Self, Vec<JoinHandle<()>>)
    where
        W: Fn(Vec<I>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel::<Waiting<I, O>>(capacity);
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        let write = Arc::new(write);
        let flushers = (0..FLUSHERS)
            .map(|_| {
                let (waiting, write) = (Arc::clone(&waiting), Arc::clone(&write));
                tokio::spawn(async move {
                    loop {
                        let mut batch = Vec::new();
                        if waiting.lock().await.recv_many(&mut batch, max_batch).await == 0 {
                            return;
                        }
                        // In a task of its own: a panic costs its batch, never the flusher.
                        let _ = tokio::spawn(flush(batch, Arc::clone(&write))).await;
                    }
                })
            })
            .collect();
        (Self { queue }, flushers)
    }

    /// Hands one item over and waits until it is durable.
    pub async fn submit(&self, item: I) -> Result<O> {
        let (done, outcome) = oneshot::channel();
        self.queue.try_send((item, done)).map_err(|_| overloaded())?;
        outcome.await.unwrap_or_else(|_| Err(overloaded()))
    }
}

async fn flush<I, O, W, F>(batch: Vec<Waiting<I, O>>, write: Arc<W>)
where
    I: Clone,
    W: Fn(Vec<I>) -> F,
    F: Future<Output = Result<Vec<O>>>,
{
    let (items, waiters): (Vec<I>, Vec<_>) = batch.into_iter().unzip();
    // Kept only to write one by one if the batch is refused, so that one item cannot sink the rest.
    let spare = if items.len() > 1 { items.clone() } else { Vec::new() };
    match write(items).await {
        Ok(outcomes) => {
            for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
                let _ = waiter.send(Ok(outcome));
            }
        }
        Err(Error::Refused { .. }) if !spare.is_empty() => {
            for (item, waiter) in spare.into_iter().zip(waiters) {
                let outcome = write(vec![item]).await.and_then(|outcomes| {
                    outcomes.into_iter().next().ok_or(Error::Inconsistent("an outcome is missing"))
                });
                let _ = waiter.send(outcome);
            }
        }
        Err(error) => {
            for waiter in waiters {
                let _ = waiter.send(Err(error.clone()));
            }
        }
    }
}

fn overloaded() -> Error {
    Error::Unavailable("more writes are waiting than may wait".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_arrives_during_a_flush_forms_the_next_batch() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        let (seen, held) = (Arc::clone(&sizes), Arc::clone(&gate));
        let (group, _flushers) = GroupCommit::start(100, 100, move |batch: Vec<u32>| {
            let (seen, held) = (Arc::clone(&seen), Arc::clone(&held));
            async move {
                seen.lock().unwrap().push(batch.len());
                held.acquire().await.unwrap().forget();
                Ok(batch.into_iter().map(|n| n * 2).collect())
            }
        });
        let submit = |n| {
            let group = group.clone();
            tokio::spawn(async move { group.submit(n).await.unwrap() })
        };
        let mut firsts = Vec::new();
        for n in 0..FLUSHERS {
            firsts.push(submit(u32::try_from(n).unwrap()));
            while sizes.lock().unwrap().len() <= n {
                tokio::task::yield_now().await;
            }
        }
        let rest: Vec<_> = (10..40).map(submit).collect();
        while group.queue.capacity() > 70 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(100);
        for (n, task) in firsts.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), u32::try_from(n).unwrap() * 2);
        }
        for (n, task) in (10..40).zip(rest) {
            assert_eq!(task.await.unwrap(), n * 2);
        }
        assert_eq!(*sizes.lock().unwrap(), [1, 1, 30]);
    }

    #[tokio::test]
    async fn a_panic_costs_its_batch_and_nothing_after_it() {
        let (group, _flushers) = GroupCommit::start(100, 100, |batch: Vec<u32>| async move {
            assert!(!batch.contains(&13), "a poison item");
            Ok(batch)
        });
        for _ in 0..5 {
            assert!(group.submit(13).await.is_err());
        }
        assert_eq!(group.submit(14).await.unwrap(), 14);
    }

    #[tokio::test]
    async fn one_refused_item_does_not_sink_the_others() {
        let (group, _flushers) = GroupCommit::start(100, 100, |batch: Vec<u32>| async move {
            if batch.contains(&13) {
                return Err(Error::Refused { code: "22000".to_owned(), constraint: None });
            }
            Ok(batch)
        });
        let tasks: Vec<_> = (10..16)
            .map(|n| {
                let group = group.clone();
                tokio::spawn(async move { group.submit(n).await })
            })
            .collect();
        for (n, task) in (10..16).zip(tasks) {
            assert_eq!(task.await.unwrap().is_ok(), n != 13);
        }
    }
}
