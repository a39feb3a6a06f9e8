//! Group commit: one statement, one `fsync`, many callers, each with its own outcome.
//!
//! A flush starts at once when none is running; what arrives while one runs forms the next batch,
//! which starts beside it once it is worth it. So a lone caller waits for nobody, and under load the
//! cost of a commit is shared. The flush runs in a task of its own: a caller that goes away cancels
//! nothing. Reads use it too: what is shared then is the connection and the query.
//!
//! While the database keeps everybody waiting (it is frozen, or no connection can be made) one batch
//! at a time finds out whether it still does. Where callers may be refused, those that come meanwhile
//! are, at once: nothing of theirs is begun, and nobody waits for a timeout that is already known.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::store::error::{Error, Result};

/// How many batches may be in flight: while one is executed and waits for its `fsync`, the next is
/// prepared.
const FLIGHTS: usize = 2;
/// What a batch must hold to start beside another. Smaller ones wait for its end: each batch costs
/// Postgres a hundred microseconds before its first row, ten times what one more row costs.
const WORTH_A_FLIGHT: usize = 16;

/// A batch that fails for want of the database after so long has kept its callers waiting. One that
/// fails sooner does no harm: each caller may try for itself.
const SLOW: Duration = Duration::from_secs(1);

type Waiting<I, O> = (I, oneshot::Sender<Result<O>>);
type Write<I, O> = dyn Fn(Arc<Vec<I>>) -> BoxFuture<'static, Result<Vec<O>>> + Send + Sync;

/// The callers' end. Clones feed the same batches.
pub struct GroupCommit<I, O> {
    group: Arc<Group<I, O>>,
    /// Held by callers and flights: the group has ended when the last one is gone.
    alive: mpsc::Sender<Infallible>,
}

impl<I, O> Clone for GroupCommit<I, O> {
    fn clone(&self) -> Self {
        Self { group: Arc::clone(&self.group), alive: self.alive.clone() }
    }
}

impl<I, O> fmt::Debug for GroupCommit<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").finish_non_exhaustive()
    }
}

struct Group<I, O> {
    queue: Mutex<Queue<I, O>>,
    write: Box<Write<I, O>>,
    max_batch: usize,
    capacity: usize,
    /// Where callers may be refused: a batch that failed after so long had kept them waiting.
    slow: Option<Duration>,
}

struct Queue<I, O> {
    waiting: Vec<Waiting<I, O>>,
    flights: usize,
    away: Away,
}

impl<I: Clone + Send + Sync + 'static, O: Send + 'static> GroupCommit<I, O> {
    /// Starts it. `write` must return one outcome per item, in order. At most `capacity`
    /// items wait; more are refused as unavailable rather than piled up in memory.
    ///
    /// The task ends, after the last item, when every clone is dropped.
    pub fn start<W, F>(max_batch: usize, capacity: usize, write: W) -> (Self, JoinHandle<()>)
    where
        W: Fn(Arc<Vec<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>>> + Send + 'static,
    {
        Self::launch(max_batch, capacity, None, write)
    }

    /// The same for callers who should be refused at once, as unavailable, rather than wait for a
    /// database that kept the batch before waiting in vain.
    pub fn start_refusing<W, F>(
        max_batch: usize,
        capacity: usize,
        write: W,
    ) -> (Self, JoinHandle<()>)
    where
        W: Fn(Arc<Vec<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>>> + Send + 'static,
    {
        Self::launch(max_batch, capacity, Some(SLOW), write)
    }

    fn launch<W, F>(
        max_batch: usize,
        capacity: usize,
        slow: Option<Duration>,
        write: W,
    ) -> (Self, JoinHandle<()>)
    where
        W: Fn(Arc<Vec<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>>> + Send + 'static,
    {
        let queue = Queue { waiting: Vec::new(), flights: 0, away: Away::default() };
        let write: Box<Write<I, O>> = Box::new(move |items| Box::pin(write(items)));
        let group = Group { queue: Mutex::new(queue), write, max_batch, capacity, slow };
        let (alive, mut ended) = mpsc::channel(1);
        let end = tokio::spawn(async move {
            ended.recv().await;
        });
        (Self { group: Arc::new(group), alive }, end)
    }

    /// Hands one item over and waits until it is durable.
    pub async fn submit(&self, item: I) -> Result<O> {
        let outcome = self.enqueue(item)?;
        outcome.await.unwrap_or_else(|_| Err(overloaded()))
    }

    /// Queues the item, and starts a flight if one is free. The caller starts it: another task in
    /// between would delay a lone item.
    fn enqueue(&self, item: I) -> Result<oneshot::Receiver<Result<O>>> {
        let (done, outcome) = oneshot::channel();
        let mut queue = self.group.lock();
        if queue.away.now && queue.flights > 0 {
            return Err(refused());
        }
        if queue.waiting.len() >= self.group.capacity {
            return Err(overloaded());
        }
        queue.waiting.push((item, done));
        if let Some(batch) = queue.next_batch(self.group.max_batch) {
            drop(queue);
            tokio::spawn(fly(Arc::clone(&self.group), self.alive.clone(), batch));
        }
        Ok(outcome)
    }
}

/// Writes batches one after the other while there are any. Callers that go away do not cancel it.
async fn fly<I: Clone, O>(
    group: Arc<Group<I, O>>,
    alive: mpsc::Sender<Infallible>,
    batch: Vec<Waiting<I, O>>,
) {
    let mut next = Some(batch);
    while let Some(batch) = next {
        // A panic costs its batch, nothing after it.
        let flight = AssertUnwindSafe(flush(batch, &*group.write)).catch_unwind().await;
        next = group.landed(flight.ok().as_ref());
    }
    drop(alive);
}

impl<I, O> Group<I, O> {
    fn lock(&self) -> MutexGuard<'_, Queue<I, O>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flight has ended, without a report if it panicked: nothing is known of the database then.
    /// Answers the batch that it takes next.
    fn landed(&self, flight: Option<&Flight>) -> Option<Vec<Waiting<I, O>>> {
        let mut queue = self.lock();
        if let (Some(slow), Some(flight)) = (self.slow, flight)
            && queue.away.learn(flight, slow)
        {
            refuse(&mut queue.waiting);
        }
        queue.flights -= 1;
        queue.next_batch(self.max_batch)
    }
}

impl<I, O> Queue<I, O> {
    /// The next batch, if a flight is free and the batch is large enough.
    fn next_batch(&mut self, max_batch: usize) -> Option<Vec<Waiting<I, O>>> {
        let enough = if self.flights == 0 { 1 } else { WORTH_A_FLIGHT.min(max_batch) };
        if self.waiting.len() < enough || self.flights >= FLIGHTS {
            return None;
        }
        self.flights += 1;
        let rest = self.waiting.split_off(self.waiting.len().min(max_batch));
        Some(std::mem::replace(&mut self.waiting, rest))
    }
}

/// What a flight tells of the database.
struct Flight {
    began: Instant,
    /// It did not answer, or not in time, or there was no connection.
    in_vain: bool,
}

/// Whether the database keeps everybody waiting, as far as the last flights tell.
#[derive(Default)]
struct Away {
    now: bool,
    answered: Option<Instant>,
}

impl Away {
    /// True: from now on it does.
    fn learn(&mut self, flight: &Flight, slow: Duration) -> bool {
        let slowly = flight.in_vain && flight.began.elapsed() >= slow;
        if !slowly {
            *self = Self { now: false, answered: Some(Instant::now()) };
        } else if self.answered.is_none_or(|at| at < flight.began) {
            // Nobody was answered meanwhile: it is not about what this one wrote.
            self.now = true;
        }
        slowly && self.now
    }
}

/// Nothing of these is begun.
fn refuse<I, O>(batch: &mut Vec<Waiting<I, O>>) {
    for (_, waiter) in batch.drain(..) {
        let _ = waiter.send(Err(refused()));
    }
}

async fn flush<I: Clone, O>(batch: Vec<Waiting<I, O>>, write: &Write<I, O>) -> Flight {
    let began = Instant::now();
    let (items, waiters): (Vec<I>, Vec<_>) = batch.into_iter().unzip();
    let items = Arc::new(items);
    let written = write(Arc::clone(&items)).await;
    let in_vain = matches!(
        written,
        Err(Error::Unavailable(_) | Error::Busy(_) | Error::Untrusted(_) | Error::Timeout(_))
    );
    match written {
        Ok(outcomes) => {
            for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
                let _ = waiter.send(Ok(outcome));
            }
        }
        // One by one, so that one item cannot sink the rest.
        Err(Error::Refused { .. } | Error::Internal { .. }) if items.len() > 1 => {
            for (item, waiter) in items.iter().zip(waiters) {
                let outcome = write(Arc::new(vec![item.clone()])).await.and_then(|outcomes| {
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
    Flight { began, in_vain }
}

fn overloaded() -> Error {
    Error::Busy("more writes are waiting than may wait")
}

fn refused() -> Error {
    Error::Busy("the last batch had no answer, and another one is trying")
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::Place;

    /// The sizes of the batches that began.
    type Sizes = Arc<Mutex<Vec<usize>>>;

    /// A group whose batches wait for permits.
    fn gated() -> (GroupCommit<u32, u32>, Sizes, Arc<Semaphore>) {
        let (sizes, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (seen, held) = (Arc::clone(&sizes), Arc::clone(&gate));
        let (group, _) = GroupCommit::start(100, 100, move |batch: Arc<Vec<u32>>| {
            let (seen, held) = (Arc::clone(&seen), Arc::clone(&held));
            async move {
                seen.lock().unwrap().push(batch.len());
                held.acquire().await.unwrap().forget();
                Ok(batch.iter().map(|n| n * 2).collect())
            }
        });
        (group, sizes, gate)
    }

    fn submit(group: &GroupCommit<u32, u32>, n: u32) -> JoinHandle<u32> {
        let group = group.clone();
        tokio::spawn(async move { group.submit(n).await.unwrap() })
    }

    async fn until(happened: impl Fn() -> bool) {
        while !happened() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_arrives_during_a_flush_forms_the_next_batch() {
        let (group, sizes, gate) = gated();
        let first = submit(&group, 1);
        until(|| sizes.lock().unwrap().len() == 1).await;
        let few = u32::try_from(WORTH_A_FLIGHT).unwrap() - 1;
        let rest: Vec<_> = (0..few).map(|n| submit(&group, n)).collect();
        // For all of them to reach the queue, and for a flight to start if one were to.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*sizes.lock().unwrap(), [1]);
        gate.add_permits(1);
        assert_eq!(first.await.unwrap(), 2);
        gate.add_permits(1);
        for (n, task) in (0..few).zip(rest) {
            assert_eq!(task.await.unwrap(), n * 2);
        }
        assert_eq!(*sizes.lock().unwrap(), [1, WORTH_A_FLIGHT - 1]);
    }

    #[tokio::test]
    async fn enough_of_them_do_not_wait_for_the_flush_before() {
        let (group, sizes, gate) = gated();
        let first = submit(&group, 1);
        until(|| sizes.lock().unwrap().len() == 1).await;
        let many = u32::try_from(WORTH_A_FLIGHT).unwrap();
        let rest: Vec<_> = (0..many).map(|n| submit(&group, n)).collect();
        until(|| sizes.lock().unwrap().len() == 2).await;
        assert!(!first.is_finished());
        gate.add_permits(100);
        for task in rest {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn group_ends_after_its_callers_and_its_last_item() {
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let (group, end) = GroupCommit::start(100, 100, move |batch: Arc<Vec<u32>>| {
            let held = Arc::clone(&held);
            async move {
                held.acquire().await.unwrap().forget();
                Ok(batch.to_vec())
            }
        });
        let items: Vec<_> = (0..3).map(|n| submit(&group, n)).collect();
        until(|| group.group.lock().waiting.len() == 2).await;
        // Its callers go away before they are answered.
        items.iter().for_each(JoinHandle::abort);
        drop(group);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!end.is_finished());
        gate.add_permits(2);
        end.await.unwrap();
        assert_eq!(gate.available_permits(), 0, "two batches were written");
    }

    #[tokio::test]
    async fn a_panic_costs_its_batch_and_nothing_after_it() {
        let (group, _) = GroupCommit::start(100, 100, |batch: Arc<Vec<u32>>| async move {
            assert!(!batch.contains(&13), "a poison item");
            Ok(batch.to_vec())
        });
        for _ in 0..5 {
            assert!(group.submit(13).await.is_err());
        }
        assert_eq!(group.submit(14).await.unwrap(), 14);
    }

    #[tokio::test]
    async fn one_refused_item_does_not_sink_the_others() {
        let (group, _) = GroupCommit::start(100, 100, |batch: Arc<Vec<u32>>| async move {
            if batch.contains(&13) {
                return Err(Error::Refused {
                    code: "22000".to_owned(),
                    constraint: None,
                    at: Place::here(),
                });
            }
            Ok(batch.to_vec())
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

    /// A group of which each batch waits for what becomes of it; any failure counts as a slow one.
    fn told() -> (GroupCommit<u32, u32>, Sizes, mpsc::UnboundedSender<bool>) {
        let written = Sizes::default();
        let (tell, told) = mpsc::unbounded_channel();
        let (seen, told) = (Arc::clone(&written), Arc::new(tokio::sync::Mutex::new(told)));
        let slow = Some(Duration::ZERO);
        let (group, _) = GroupCommit::launch(100, 100, slow, move |batch: Arc<Vec<u32>>| {
            let (seen, told) = (Arc::clone(&seen), Arc::clone(&told));
            async move {
                seen.lock().unwrap().extend(batch.iter().map(|n| *n as usize));
                match told.lock().await.recv().await {
                    Some(true) => Ok(batch.to_vec()),
                    _ => Err(Error::Timeout(Duration::ZERO)),
                }
            }
        });
        (group, written, tell)
    }

    #[tokio::test]
    async fn after_a_batch_that_waited_in_vain_one_finds_out_and_others_are_refused_at_once() {
        let (group, begun, tell) = told();
        let submit = |n| {
            let group = group.clone();
            tokio::spawn(async move { group.submit(n).await })
        };
        let first = submit(1);
        until(|| begun.lock().unwrap().len() == 1).await;
        // Nothing is known yet: this one waits, and is refused when it is.
        let second = submit(2);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        tell.send(false).unwrap();
        assert!(matches!(first.await.unwrap(), Err(Error::Timeout(_))));
        assert!(matches!(second.await.unwrap(), Err(Error::Busy(_))));

        let third = submit(3);
        until(|| begun.lock().unwrap().len() == 2).await;
        // Nobody tells the third anything, and yet these have their answer.
        assert!(matches!(group.submit(4).await, Err(Error::Busy(_))));
        assert!(matches!(group.submit(5).await, Err(Error::Busy(_))));
        assert_eq!(*begun.lock().unwrap(), [1, 3], "nothing of them was begun");

        tell.send(true).unwrap();
        assert_eq!(third.await.unwrap().unwrap(), 3);
        tell.send(true).unwrap();
        assert_eq!(group.submit(6).await.unwrap(), 6);
    }

    #[tokio::test]
    async fn one_that_waits_in_vain_while_others_are_answered_closes_nothing() {
        let began = Instant::now();
        let mut away = Away::default();
        assert!(!away.learn(&Flight { began: Instant::now(), in_vain: false }, Duration::ZERO));
        assert!(!away.learn(&Flight { began, in_vain: true }, Duration::ZERO));
        assert!(!away.now);
        assert!(away.learn(&Flight { began: Instant::now(), in_vain: true }, Duration::ZERO));
        // What fails at once keeps nobody waiting.
        assert!(!away.learn(&Flight { began: Instant::now(), in_vain: true }, SLOW));
        assert!(!away.now);
    }
}
