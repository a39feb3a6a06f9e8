//! Delivers to one endpoint under its lease: sends the events that may go, and stores its progress.
//!
//! If the lease is lost, events that were sent but not yet recorded are sent again. They keep their
//! ids, so a receiver can recognise them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::{Received, Request, Sender};
use super::records::{Recorder, Sent, judge, report_dead_letters};
use super::schedule::commit_pause;
use super::setup::{Endpoint, Loaded, Test};
use super::state::Key;
use super::window::Window;
use crate::domain::event::{About, Event};
use crate::domain::webhook_endpoint::EndpointStatus;
use crate::store;
use crate::store::lease::LeaseKey;
use crate::store::webhook_deliveries::{ClaimedEndpoint, Standing};
use crate::webhooks::request::{ACKNOWLEDGED_THROUGH_HEADER, EPOCH_HEADER};
use crate::webhooks::signing::signature_headers;
use crate::worker::context::Worker;
use crate::worker::leases::Lease;

/// Maximum number of events that one read of the log examines, and that it returns.
const EXAMINED: i64 = 2_000;
const READ: i64 = 200;
/// A body older than this is read again before it is sent: the person may have been erased since.
const FRESH: Duration = Duration::from_secs(1);
/// After this much idle time the owner may have paused or changed the endpoint. Its row is queried
/// before more is sent. Commits return the same information.
const REST: Duration = Duration::from_millis(20);
const LONGEST_UNASKED: Duration = Duration::from_millis(100);
/// How long an endpoint is held while there is nothing to send.
const LINGER: Duration = Duration::from_millis(300);
/// An endpoint with a long backlog is released after this time, so that others get a turn.
const LONGEST_HOLD: Duration = Duration::from_mins(5);
/// Pause after a failed statement.
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
            // Released, the endpoint would be claimed again at once, as long as its log goes on.
            // Another process may have the key, and claims it when the lease has ended.
            None => Ok(()),
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

/// One leased endpoint.
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
    /// The times of the window are relative to this one.
    began: Instant,
    /// When the last commit ended, or the delivery began.
    committed: Instant,
    /// How long requests go on before the next one.
    commit_pause: Duration,
    /// When the database last returned the status of the endpoint.
    asked: Instant,
    /// When the last request ended, or the delivery began.
    active: Instant,
    /// No more requests are sent.
    closing: bool,
    /// There may be more redeliveries than were read.
    more_redeliveries: bool,
    /// The endpoint is due again as soon as it is released.
    due_again: bool,
}

impl<'a> Delivery<'a> {
    fn new(worker: &'a Worker, loaded: Loaded, lease: LeaseKey) -> Self {
        let Loaded { endpoint, window, test, more_redeliveries } = loaded;
        let now = Instant::now();
        Self {
            worker,
            recorder: Recorder::default(),
            closing: !endpoint.status.is_open(),
            endpoint,
            lease,
            window,
            test,
            bodies: HashMap::new(),
            requests: JoinSet::new(),
            began: now,
            committed: now,
            commit_pause: commit_pause(Duration::ZERO),
            asked: now,
            active: now,
            more_redeliveries,
            due_again: false,
        }
    }

    async fn run(mut self, stop: &CancellationToken) -> store::Result<()> {
        let mut grew = self.worker.signals.events();
        self.send_test();
        loop {
            self.closing |= self.began.elapsed() >= LONGEST_HOLD;
            if !self.closing {
                match self.go_on().await {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    // Requests in flight are still answered, and what was acknowledged is stored.
                    Err(error) if error.is_passing() => {
                        tracing::warn!(%error, cause = error.cause().code(), endpoint = %self.endpoint.id, "deliveries interrupted: no more requests are sent");
                        (self.closing, self.due_again) = (true, true);
                        // Released, it is claimed again at once.
                        sleep(DATABASE_REST).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.is_commit_due() && !self.commit().await? {
                return Ok(());
            }
            if self.is_done() {
                return self.release().await;
            }
            let wake = self.next_wake();
            tokio::select! {
                // A log that grows all the time starves none of the others: finished requests are taken
                // below, and every turn of the loop starts those that are due.
                biased;
                () = stop.cancelled(), if !self.closing => {
                    (self.closing, self.due_again) = (true, true);
                }
                () = grown(&mut grew), if !self.closing => self.window.log_grew(),
                Some(finished) = self.requests.join_next() => self.finish(finished),
                () = sleep_until(wake) => {}
            }
            while let Some(finished) = self.requests.try_join_next() {
                self.finish(finished);
            }
        }
    }

    /// Reads what is next and sends it; `false`: the lease was lost.
    async fn go_on(&mut self) -> store::Result<bool> {
        self.read_ahead().await?;
        if self.must_ask() && !self.ask().await? {
            return Ok(false);
        }
        if !self.closing {
            self.start_requests().await?;
        }
        Ok(true)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Reads more of the log, if the window has capacity for it.
    async fn read_ahead(&mut self) -> store::Result<()> {
        if !self.window.wants_more() {
            return Ok(());
        }
        let (from, filter) = (self.window.examined(), &self.endpoint.filter);
        let page = self.worker.store.events().after(from, EXAMINED, READ, filter).await?;
        let (read, own) = (Instant::now(), self.endpoint.id.0);
        // An endpoint gets no events about itself.
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

    /// Sends a requested test once. A test is never retried.
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
        headers.push((ACKNOWLEDGED_THROUGH_HEADER, through.to_string()));
        headers.push((EPOCH_HEADER, epoch.to_string()));
        let request = Request { url: self.endpoint.url.clone(), headers, body };
        let sender: Arc<Sender> = Arc::clone(&self.worker.deliveries.sender);
        self.requests.spawn(async move { (sent, sender.send(request).await) });
    }

    fn finish(&mut self, finished: Result<(Sent, Received), tokio::task::JoinError>) {
        self.active = Instant::now();
        // The client panicked. The event counts as in flight until the endpoint is loaded again.
        let Ok((sent, received)) = finished else {
            (self.closing, self.due_again) = (true, true);
            return;
        };
        let (now, at) = (self.now(), self.worker.clock.now());
        let retry_in = sent.key.and_then(|key| {
            let jitter = self.worker.ids.fraction();
            self.window.answered(now, key, judge(&received, at), jitter)
        });
        self.recorder.note(&self.endpoint, sent, &received, retry_in);
        self.closing |= self.window.disabled().is_some();
    }

    fn is_commit_due(&self) -> bool {
        self.requests.is_empty() || self.committed.elapsed() >= self.commit_pause
    }

    /// Stores the progress; `false`: the lease was lost.
    async fn commit(&mut self) -> store::Result<bool> {
        let (now, at) = (self.now(), self.worker.clock.now());
        let began = Instant::now();
        self.committed = began;
        let progress = self.window.take_progress(now);
        // Redeliveries that were not read may come next.
        self.due_again |= self.more_redeliveries && progress.passes_redeliveries();
        let dead_letters: Vec<i64> = progress.dead_letters().collect();
        let Some(progress) = self.recorder.take(progress, self.endpoint.revision, at) else {
            return Ok(true);
        };
        let deliveries = self.worker.store.webhook_deliveries();
        let standing = loop {
            match deliveries.commit(self.lease, &progress).await {
                Ok(standing) => break standing,
                // The window relies on this: either the progress is stored, or the lease is lost.
                Err(error) if error.is_passing() => sleep(DATABASE_REST).await,
                Err(error) => return Err(error),
            }
        };
        self.committed = Instant::now();
        self.commit_pause = commit_pause(began.elapsed());
        if standing.is_some() {
            report_dead_letters(self.endpoint.id, &dead_letters);
        }
        self.take_note(standing)
    }

    /// There is something to send after an idle time, so the endpoint must be queried first.
    fn must_ask(&self) -> bool {
        let rested = self.active.elapsed() > REST || self.asked.elapsed() > LONGEST_UNASKED;
        let now = self.now();
        rested && self.requests.is_empty() && self.window.wake_at(now).is_some_and(|at| at <= now)
    }

    /// Queries whether the endpoint has changed; `false`: the lease was lost.
    async fn ask(&mut self) -> store::Result<bool> {
        let deliveries = self.worker.store.webhook_deliveries();
        let standing = deliveries.standing(self.lease).await?;
        self.take_note(standing)
    }

    /// Applies the status that the database returned; `false`: the lease was lost.
    fn take_note(&mut self, standing: Option<Standing>) -> store::Result<bool> {
        let id = self.endpoint.id;
        let Some(standing) = standing else {
            tracing::warn!(endpoint = %id, "endpoint lease lost: dropped");
            return Ok(false);
        };
        self.asked = Instant::now();
        let status = standing.status()?;
        if std::mem::replace(&mut self.endpoint.status, status) != status {
            match status {
                EndpointStatus::Failing => {
                    tracing::warn!(endpoint = %id, "webhook endpoint is failing");
                }
                EndpointStatus::Disabled => {
                    tracing::error!(endpoint = %id, "webhook endpoint is disabled");
                }
                EndpointStatus::Active => {
                    tracing::info!(endpoint = %id, "webhook endpoint has recovered");
                }
                EndpointStatus::Paused => {}
            }
        }
        self.due_again |= standing.has_news;
        // The owner has changed the endpoint: the next holder reads it again.
        let is_changed = standing.has_news || standing.revision != self.endpoint.revision;
        self.closing |= is_changed || !status.is_open();
        Ok(true)
    }

    /// Nothing is in flight, everything is stored, and nothing is due soon.
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
            wake = wake.min(self.committed + self.commit_pause);
        }
        if !self.closing
            && let Some(at) = self.window.wake_at(self.now())
        {
            wake = wake.min(self.began + at);
        }
        // Timers have a resolution of one millisecond.
        wake.max(now + Duration::from_millis(1))
    }

    /// Releases the endpoint. The window determines when it is due again.
    async fn release(mut self) -> store::Result<()> {
        if !self.commit().await? {
            return Ok(());
        }
        let now = self.now();
        let later = self.window.wake_at(now).map(|at| at.saturating_sub(now));
        let due_in = if self.due_again { Some(Duration::ZERO) } else { later };
        // A paused or disabled endpoint is not due until its owner acts.
        let due_in = due_in.filter(|_| self.endpoint.status.is_open());
        let deliveries = self.worker.store.webhook_deliveries();
        deliveries.release(self.lease, due_in).await.map(drop)
    }
}

async fn grown(grew: &mut watch::Receiver<u64>) {
    // An error means that the sender was dropped, so no more signals arrive.
    if grew.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
