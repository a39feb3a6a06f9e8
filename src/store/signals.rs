//! Wake-ups: at once within a process, through a coalesced `NOTIFY` between processes.
//!
//! A `NOTIFY` takes a database-wide lock when it commits, so under load there is never one per
//! callback: it stands for all signals of up to 20 ms. Notifications are only hints: a process that
//! misses one polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pool::Store;
use super::statements::statements;

/// Shortest pause between two `NOTIFY`s, while signals are rare.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// Longest pause, while signals are frequent. No signal is delayed longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// After the listening connection broke.
const RECONNECT: Duration = Duration::from_millis(500);
/// A listening connection says nothing for hours, so one that a NAT has forgotten looks like one that
/// has nothing to say: it is asked this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest wait for its answer.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(2);
/// It is replaced after this, as the others are.
const MAX_AGE: Duration = Duration::from_mins(30);
const DUE: &str = "verdict_due";
const SETTLED: &str = "verdict_settled";
const EVENTS: &str = "verdict_events";

/// The pause after a `NOTIFY`. It grows while signals come in every pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SHORTEST_PAUSE)
    }
}

impl Pause {
    fn next(self, signals_came: bool) -> Self {
        if signals_came { Self((self.0 * 2).min(LONGEST_PAUSE)) } else { Self::default() }
    }
}

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    due: Notify,
    task: Notify,
    backtest: Notify,
    settled: watch::Sender<u64>,
    events: watch::Sender<u64>,
    tell: Notify,
    tell_due: AtomicBool,
    tell_settled: AtomicBool,
    tell_events: AtomicBool,
}

impl Default for Signals {
    fn default() -> Self {
        Self(Arc::new(Inner {
            due: Notify::new(),
            task: Notify::new(),
            backtest: Notify::new(),
            settled: watch::Sender::new(0),
            events: watch::Sender::new(0),
            tell: Notify::new(),
            tell_due: AtomicBool::new(false),
            tell_settled: AtomicBool::new(false),
            tell_events: AtomicBool::new(false),
        }))
    }
}

impl Signals {
    /// Work has been committed that is due now.
    pub fn work_is_due(&self) {
        self.0.due.notify_one();
        self.0.tell_due.store(true, Ordering::Release);
        self.0.tell.notify_one();
    }

    /// Follow-up work has been committed that is due now. Other processes poll for it.
    pub fn task_is_due(&self) {
        self.0.task.notify_one();
    }

    /// Waits for follow-up work, as [`Self::due`] does for verifications.
    pub async fn task(&self) {
        self.0.task.notified().await;
    }

    /// A backtest was started. Other processes poll for it.
    pub fn backtest_is_due(&self) {
        self.0.backtest.notify_one();
    }

    /// Waits for a backtest.
    pub async fn backtest(&self) {
        self.0.backtest.notified().await;
    }

    /// A verification has changed its state, committed.
    pub fn something_settled(&self) {
        advance(&self.0.settled);
        self.0.tell_settled.store(true, Ordering::Release);
        self.0.tell.notify_one();
    }

    /// The event log has grown, committed.
    pub fn events_logged(&self) {
        advance(&self.0.events);
        self.0.tell_events.store(true, Ordering::Release);
        self.0.tell.notify_one();
    }

    /// An endpoint has work that is due now, committed. Wakes the workers that deliver. It also
    /// wakes readers of the log, which then find nothing new.
    pub fn endpoint_is_due(&self) {
        self.events_logged();
    }

    /// Changes whenever the event log has grown, or an endpoint has work that is due.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.0.events.subscribe()
    }

    /// Waits for due work. A signal sent while nobody waits is not lost.
    pub async fn due(&self) {
        self.0.due.notified().await;
    }

    /// Changes whenever anything settles.
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.0.settled.subscribe()
    }

    /// Passes signals on to and from the other processes until stopped.
    pub async fn relay(&self, store: &Store, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.tell(store) => {}
            () = self.listen(store) => {}
        }
    }

    async fn tell(&self, store: &Store) {
        let mut pause = Pause::default();
        loop {
            self.0.tell.notified().await;
            let due = self.0.tell_due.swap(false, Ordering::AcqRel);
            let settled = self.0.tell_settled.swap(false, Ordering::AcqRel);
            let events = self.0.tell_events.swap(false, Ordering::AcqRel);
            let channels = [(due, DUE), (settled, SETTLED), (events, EVENTS)];
            let channels: Vec<&str> =
                channels.into_iter().filter_map(|(told, name)| told.then_some(name)).collect();
            if channels.is_empty() {
                continue;
            }
            // A hint needs no fsync. Not sent again if it fails: others poll.
            let sent = store.once(async { tell(&channels).execute(&store.pool).await });
            if let Err(error) = sent.await {
                tracing::debug!(%error, "notify not sent");
            }
            tokio::time::sleep(pause.0).await;
            pause = pause.next(self.any_to_tell());
        }
    }

    fn any_to_tell(&self) -> bool {
        let told = [&self.0.tell_due, &self.0.tell_settled, &self.0.tell_events];
        told.into_iter().any(|flag| flag.load(Ordering::Acquire))
    }

    async fn listen(&self, store: &Store) {
        loop {
            if let Err(error) = self.listen_once(store).await {
                tracing::debug!(%error, "listening connection broken");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn listen_once(&self, store: &Store) -> super::error::Result<()> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(PgConnectOptions::clone(&store.connect_options()));
        let began = Instant::now();
        let suffix: String = store.run(|| suffix().fetch_one(&store.pool)).await?;
        let [due, settled, events] = [DUE, SETTLED, EVENTS].map(|name| format!("{name}{suffix}"));
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all([&*due, &*settled, &*events]).await?;
        self.something_may_have_been_missed();
        let mut next = began + HEARTBEAT;
        loop {
            let received = tokio::time::timeout_at(next, listener.try_recv()).await;
            match received {
                Ok(Ok(Some(notice))) if notice.channel() == due => self.0.due.notify_one(),
                Ok(Ok(Some(notice))) if notice.channel() == events => advance(&self.0.events),
                Ok(Ok(Some(_))) => advance(&self.0.settled),
                // `None`: the connection broke.
                Ok(Ok(None)) => self.something_may_have_been_missed(),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if store.distrusts(began) || began.elapsed() > MAX_AGE => return Ok(()),
                Err(_) => {
                    let asked = ping().execute(&mut listener);
                    tokio::time::timeout(HEARTBEAT_LIMIT, asked)
                        .await
                        .map_err(|_| super::error::Error::Timeout(HEARTBEAT_LIMIT))??;
                    next = Instant::now() + HEARTBEAT;
                }
            }
        }
    }

    fn something_may_have_been_missed(&self) {
        self.0.due.notify_one();
        advance(&self.0.settled);
        advance(&self.0.events);
    }
}

fn advance(count: &watch::Sender<u64>) {
    count.send_modify(|n| *n = n.wrapping_add(1));
}

statements! {
    execute ping() = "select 1";

    execute tell(channels: &[&str]) =
        "select set_config('synchronous_commit', 'off', true), pg_notify(
                 channel || case current_schema() when 'public' then '' else '_' || md5(current_schema()) end,
                 '')
         from unnest($1::text[]) as channel";

    /// The end of each channel's name: deployments in schemas of one database do not wake each other.
    scalar suffix() -> String =
        "select case current_schema() when 'public' then '' else '_' || md5(current_schema()) end";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_short_for_rare_signals_and_bounded_for_frequent_ones() {
        let mut pause = Pause::default();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pauses.push(pause.0.as_millis());
            pause = pause.next(true);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(pause.next(false), Pause(SHORTEST_PAUSE));
    }
}
