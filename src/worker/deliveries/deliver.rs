//! Delivers to one endpoint under its lease: sends what may go, and writes how far it has come.
//!
//! What is sent and not yet written is sent again if the lease is lost: by id the same event, so
//! that a receiver can tell.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::{Received, Request, Sender};
use super::records::{Recorder, Sent, judge};
use super::setup::{Endpoint, Loaded, Test, is_open};
use super::state::Key;
use super::window::Window;
use crate::domain::event::{About, Event};
use crate::store;
use crate::store::lease::LeaseKey;
use crate::store::webhook_deliveries::{ClaimedEndpoint, Standing};
use crate::webhooks::signing::signature_headers;
use crate::worker::context::Worker;
use crate::worker::leases::Lease;

/// Least time between two commits while requests are under way.
const COMMIT_EVERY: Duration = Duration::from_millis(50);
/// Events of the log that one read examines, and that it brings at most.
const EXAMINED: i64 = 2_000;
const READ: i64 = 200;
/// A body that was read earlier is read again before it is sent: its person may be erased by now.
const FRESH: Duration = Duration::from_secs(1);
/// After a rest like this its owner may have paused or changed the endpoint: it is asked before more
/// is sent. Commits tell it too.
const REST: Duration = Duration::from_millis(20);
const LONGEST_UNASKED: Duration = Duration::from_millis(100);
/// An endpoint is held for so long without anything to send.
const LINGER: Duration = Duration::from_millis(300);
/// An endpoint with much to send makes place for others after this time.
const LONGEST_HOLD: Duration = Duration::from_mins(5);
/// After a statement that failed.
const DATABASE_REST: Duration = Duration::from_millis(250);

/// Delivers until there is nothing more to send for now, the lease is lost, or the process stops.
pub async fn deliver(
    worker: &Worker,
    claimed: ClaimedEndpoint,
    lease: &Lease,
    stop: &CancellationToken,
) {
    let (id, key) = (claimed.id, claimed.lease());
    let done = async {
        let loaded = Loaded::read(worker, claimed).await?;
        match loaded {
            Some(loaded) => Delivery::new(worker, loaded, key).run(stop).await,
            // Its key may come with the next configuration.
            None => worker
                .store
                .webhook_deliveries()
                .release(key, Some(Duration::from_mins(1)))
                .await
                .map(drop),
        }
    };
    match lease.while_held(done).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::warn!(%error, cause = error.cause().code(), endpoint = %id, "deliveries interrupted; the lease ends");
        }
        None => tracing::warn!(endpoint = %id, "endpoint lease lost: dropped"),
    }
}

/// One held endpoint.
struct Delivery<'a> {
    worker: &'a Worker,
    endpoint: Endpoint,
    lease: LeaseKey,
    window: Window,
    test: Option<Test>,
    recorder: Recorder,
    /// Bodies that were read ahead.
    bodies: HashMap<i64, (Instant, Event)>,
    requests: JoinSet<(Sent, Received)>,
    /// What the window's moments count from.
    began: Instant,
    committed: Instant,
    /// When it was last known how the endpoint stands.
    asked: Instant,
    /// When something was last under way.
    active: Instant,
    /// Events are delivered to it; otherwise only tests.
    is_open: bool,
    /// Nothing more is sent.
    closing: bool,
    /// It is due again as soon as it is given back.
    due_again: bool,
}

impl<'a> Delivery<'a> {
    fn new(worker: &'a Worker, loaded: Loaded, lease: LeaseKey) -> Self {
        let Loaded { endpoint, window, test, is_open, due_again } = loaded;
        let now = Instant::now();
        Self {
            worker,
            recorder: Recorder::new(window.stored()),
            endpoint,
            lease,
            window,
            test,
            bodies: HashMap::new(),
            requests: JoinSet::new(),
            began: now,
            committed: now,
            asked: now,
            active: now,
            is_open,
            closing: !is_open,
            due_again,
        }
    }

    async fn run(mut self, stop: &CancellationToken) -> store::Result<()> {
        let mut grew = self.worker.signals.events();
        self.send_test();
        loop {
            self.closing |= self.began.elapsed() >= LONGEST_HOLD;
            if !self.closing {
                self.read_ahead().await?;
                if self.must_ask() && !self.ask().await? {
                    return Ok(());
                }
            }
            if !self.closing {
                self.start_requests().await?;
            }
            if self.is_commit_due() && !self.commit().await? {
                return Ok(());
            }
            if self.is_done() {
                return self.release().await;
            }
            let wake = self.next_wake();
            tokio::select! {
                Some(finished) = self.requests.join_next() => self.finish(finished),
                () = sleep_until(wake) => {}
                () = stop.cancelled(), if !self.closing => {
                    (self.closing, self.due_again) = (true, true);
                }
                () = grown(&mut grew), if !self.closing => self.window.log_grew(),
            }
            while let Some(finished) = self.requests.try_join_next() {
                self.finish(finished);
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Reads more of the log, if the window has place for it.
    async fn read_ahead(&mut self) -> store::Result<()> {
        if !self.window.wants_more() {
            return Ok(());
        }
        let (from, filter) = (self.window.examined(), &self.endpoint.filter);
        let page = self.worker.store.events().after(from, EXAMINED, READ, filter).await?;
        let (read, own) = (Instant::now(), self.endpoint.id.0);
        // An endpoint is not told of itself.
        let is_own =
            |about: &About| matches!(about, About::Endpoint { endpoint, .. } if *endpoint == own);
        let events: Vec<Event> =
            page.events.into_iter().filter(|event| !is_own(&event.about)).collect();
        let taken = events.iter().map(|event| (event.number, event.verification()));
        self.window.add(taken, page.examined, page.head);
        self.bodies.retain(|_, (at, _)| read.duration_since(*at) < FRESH);
        self.bodies.extend(events.into_iter().map(|event| (event.number, (read, event))));
        Ok(())
    }

    async fn start_requests(&mut self) -> store::Result<()> {
        let mut keys = Vec::new();
        while let Some(key) = self.window.next(self.now()) {
            keys.push(key);
        }
        if keys.is_empty() {
            return Ok(());
        }
        let read = Instant::now();
        let is_fresh = |at: Instant| read.duration_since(at) < FRESH;
        let missing = |key: &&Key| !self.bodies.get(&key.number).is_some_and(|b| is_fresh(b.0));
        let missing: Vec<i64> = keys.iter().filter(missing).map(|key| key.number).collect();
        if !missing.is_empty() {
            for event in self.worker.store.events().by_numbers(&missing).await? {
                self.bodies.insert(event.number, (read, event));
            }
        }
        for key in keys {
            match self.bodies.remove(&key.number) {
                Some((at, event)) if is_fresh(at) => self.send(key, &event),
                _ => {
                    tracing::warn!(endpoint = %self.endpoint.id, number = key.number, "event is no longer kept: not delivered");
                    self.window.forget(key);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, key: Key, event: &Event) {
        let attempt = self.window.attempt(key);
        let after = event.number - event.sequence;
        let through = (self.window.acknowledged_through() - after).max(0);
        let sent =
            Sent { key: Some(key), event_id: event.id, at: self.worker.clock.now(), attempt };
        self.post(sent, event.body(), through, event.epoch);
    }

    /// One attempt, whatever comes of it.
    fn send_test(&mut self) {
        let Some(test) = self.test.take() else { return };
        let sent = Sent { key: None, event_id: test.id, at: self.worker.clock.now(), attempt: 1 };
        let through = (self.window.acknowledged_through() - test.epoch.after).max(0);
        self.post(sent, test.body, through, test.epoch.epoch);
    }

    fn post(&mut self, sent: Sent, body: String, through: i64, epoch: Uuid) {
        let id = sent.event_id.to_string();
        let signed = signature_headers(&self.endpoint.keys, &id, sent.at, body.as_bytes());
        let mut headers = signed.to_vec();
        headers.push(("verdict-acknowledged-through", through.to_string()));
        headers.push(("verdict-epoch", epoch.to_string()));
        let request = Request { url: self.endpoint.url.clone(), headers, body };
        let sender: Arc<Sender> = Arc::clone(&self.worker.deliveries.sender);
        self.requests.spawn(async move { (sent, sender.send(request).await) });
    }

    fn finish(&mut self, finished: Result<(Sent, Received), tokio::task::JoinError>) {
        self.active = Instant::now();
        // The client panicked. What it sent counts as in flight until the endpoint is read again.
        let Ok((sent, received)) = finished else {
            (self.closing, self.due_again) = (true, true);
            return;
        };
        let (now, at) = (self.now(), self.worker.clock.now());
        let next = sent.key.map(|key| {
            let jitter = self.worker.ids.fraction();
            self.window.answered(now, key, judge(&received, at), jitter)
        });
        self.recorder.note(&self.endpoint, sent, &received, next);
        self.closing |= self.window.disabled().is_some();
    }

    fn is_commit_due(&self) -> bool {
        self.requests.is_empty() || self.committed.elapsed() >= COMMIT_EVERY
    }

    /// Writes what has happened; `false`: the lease was lost.
    async fn commit(&mut self) -> store::Result<bool> {
        let (now, at) = (self.now(), self.worker.clock.now());
        self.committed = Instant::now();
        let progress = self.window.take_progress(now);
        let Some(progress) = self.recorder.take(progress, self.endpoint.revision, at) else {
            return Ok(true);
        };
        let deliveries = self.worker.store.webhook_deliveries();
        let standing = loop {
            match deliveries.commit(self.lease, &progress).await {
                Ok(standing) => break standing,
                // The window counts on it: either it is written, or the lease is lost.
                Err(error) if error.is_passing() => sleep(DATABASE_REST).await,
                Err(error) => return Err(error),
            }
        };
        Ok(self.take_note(standing))
    }

    /// Something is to be sent after a rest.
    fn must_ask(&self) -> bool {
        let rested = self.active.elapsed() > REST || self.asked.elapsed() > LONGEST_UNASKED;
        let now = self.now();
        rested && self.requests.is_empty() && self.window.wake_at(now).is_some_and(|at| at <= now)
    }

    /// Asks whether the endpoint is as it was; `false`: the lease was lost.
    async fn ask(&mut self) -> store::Result<bool> {
        let deliveries = self.worker.store.webhook_deliveries();
        let standing = deliveries.standing(self.lease).await?;
        Ok(self.take_note(standing))
    }

    /// `false`: the lease was lost.
    fn take_note(&mut self, standing: Option<Standing>) -> bool {
        let id = self.endpoint.id;
        let Some(standing) = standing else {
            tracing::warn!(endpoint = %id, "endpoint lease lost: dropped");
            return false;
        };
        self.asked = Instant::now();
        if standing.status != self.endpoint.status {
            match standing.status.as_str() {
                "failing" => tracing::warn!(endpoint = %id, "webhook endpoint is failing"),
                "disabled" => tracing::error!(endpoint = %id, "webhook endpoint is disabled"),
                "active" => tracing::info!(endpoint = %id, "webhook endpoint is well again"),
                _ => {}
            }
            self.endpoint.status.clone_from(&standing.status);
        }
        self.is_open = is_open(&standing.status);
        self.due_again |= standing.has_news;
        // Its owner has changed it: the next holder reads it again.
        let is_changed = standing.has_news || standing.revision != self.endpoint.revision;
        self.closing |= is_changed || !self.is_open;
        true
    }

    /// Nothing is under way, everything is written, and nothing comes soon.
    fn is_done(&self) -> bool {
        if !self.requests.is_empty() {
            return false;
        }
        let now = self.now();
        let is_soon = |at: Duration| at <= now + LINGER;
        let comes = self.window.wants_more() || self.window.wake_at(now).is_some_and(is_soon);
        self.closing || !comes && self.active.elapsed() >= LINGER
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        if !self.closing && self.window.wants_more() {
            return now;
        }
        let linger = if self.requests.is_empty() { self.active + LINGER } else { now + LINGER };
        let mut wake = linger.max(now);
        if !self.recorder.is_empty() {
            wake = wake.min(self.committed + COMMIT_EVERY);
        }
        if !self.closing
            && let Some(at) = self.window.wake_at(self.now())
        {
            wake = wake.min(self.began + at);
        }
        // Timers are as fine as a millisecond.
        wake.max(now + Duration::from_millis(1))
    }

    /// Gives the endpoint back. It is due when the window says so.
    async fn release(mut self) -> store::Result<()> {
        if !self.commit().await? {
            return Ok(());
        }
        let now = self.now();
        let later = self.window.wake_at(now).map(|at| at.saturating_sub(now));
        let due_in = if self.due_again { Some(Duration::ZERO) } else { later };
        // Nothing is due of one that is paused or disabled, until its owner says so.
        let due_in = due_in.filter(|_| self.is_open);
        let deliveries = self.worker.store.webhook_deliveries();
        deliveries.release(self.lease, due_in).await.map(drop)
    }
}

async fn grown(grew: &mut watch::Receiver<u64>) {
    // An error means that the sender is gone, and nothing grows any more.
    if grew.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
