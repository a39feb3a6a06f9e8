//! Follows the event log for all requests in this process that wait for events. One query per
//! change serves them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::event::Event;
use crate::periodic::Spacing;
use crate::store::events::{Filter, Page};
use crate::store::signals::Signals;
use crate::store::{self, Store};

/// How often the log is polled when no signal arrives.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum time between two queries.
const MIN_INTERVAL: Duration = Duration::from_millis(2);
/// Maximum number of events per query. A follower that is further behind reads the log itself.
const MAX_TAIL: i64 = 1000;

/// Clones share the followers.
#[derive(Clone, Debug)]
pub struct EventWatch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tail: watch::Sender<Arc<Tail>>,
    followed: Notify,
}

/// The end of the log, as the last query found it. Numbers, not sequences.
#[derive(Debug)]
pub struct Tail {
    /// The events begin after this number.
    pub after: i64,
    /// All events up to this number are there.
    pub examined: i64,
    pub oldest: i64,
    pub events: Vec<Event>,
}

/// One request that waits for events.
#[derive(Debug)]
pub struct Follower {
    tail: watch::Receiver<Arc<Tail>>,
}

impl Default for EventWatch {
    fn default() -> Self {
        let tail = Tail { after: 0, examined: 0, oldest: 0, events: Vec::new() };
        let tail = watch::Sender::new(Arc::new(tail));
        Self(Arc::new(Inner { tail, followed: Notify::new() }))
    }
}

impl EventWatch {
    /// Begins to follow the log. Read the log *after* this, so that no event is missed.
    pub fn follow(&self) -> Follower {
        let tail = self.0.tail.subscribe();
        self.0.followed.notify_one();
        Follower { tail }
    }

    /// Serves the followers until stopped.
    pub async fn serve(&self, store: Store, signals: Signals, stop: CancellationToken) {
        let mut logged = signals.events();
        let mut position = None;
        let mut spacing = Spacing::new(MIN_INTERVAL);
        loop {
            spacing.end().await;
            let followed = self.0.tail.receiver_count() > 0;
            if followed {
                match next_tail(&store, position).await {
                    Ok(tail) => {
                        position = Some(tail.examined);
                        self.publish(tail);
                    }
                    Err(error) => {
                        tracing::warn!(%error, cause = error.cause().code(), "event lookup failed");
                    }
                }
                spacing.begin();
            } else {
                // Nobody needs the events that are logged meanwhile: the next follower reads them
                // itself.
                position = None;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.followed.notified(), if !followed => {}
                _ = logged.changed(), if followed => {}
                () = tokio::time::sleep(POLL_INTERVAL), if followed => {}
            }
        }
    }

    fn publish(&self, tail: Tail) {
        self.0.tail.send_if_modified(|newest| {
            let grown = tail.examined > newest.examined;
            if grown {
                *newest = Arc::new(tail);
            }
            grown
        });
    }
}

/// The events logged after this number. Without a number, only the end of the log.
async fn next_tail(store: &Store, position: Option<i64>) -> store::Result<Tail> {
    let Some(after) = position else {
        let (head, oldest) = store.events().ends().await?;
        return Ok(Tail { after: head, examined: head, oldest, events: Vec::new() });
    };
    let Page { events, examined, oldest, .. } =
        store.events().after(after, MAX_TAIL, MAX_TAIL, &Filter::default()).await?;
    Ok(Tail { after, examined, oldest, events })
}

impl Follower {
    /// Waits until the log has events beyond this number.
    pub async fn beyond(&mut self, number: i64) -> Arc<Tail> {
        let tail = self.tail.wait_for(|tail| tail.examined > number).await;
        if let Some(tail) = tail.ok().map(|tail| Arc::clone(&tail)) {
            return tail;
        }
        // The process is stopping, and its requests end with it.
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(after: i64, examined: i64) -> Tail {
        Tail { after, examined, oldest: 1, events: Vec::new() }
    }

    #[tokio::test]
    async fn follower_gets_the_newest_tail_beyond_its_place_and_no_older_one() {
        let watch = EventWatch::default();
        let mut follower = watch.follow();
        watch.publish(tail(0, 5));
        let waiting = tokio::time::timeout(Duration::ZERO, follower.beyond(5)).await;
        assert!(waiting.is_err());
        watch.publish(tail(5, 7));
        watch.publish(tail(3, 6));
        let newest = follower.beyond(5).await;
        assert_eq!((newest.after, newest.examined), (5, 7));
        drop(follower);
        assert_eq!(watch.0.tail.receiver_count(), 0);
    }
}
