//! Reads the event log for one caller: its filters, its position in the log, and the wait for more.

use std::sync::Arc;

use uuid::Uuid;

use super::event_watch::{Follower, Tail};
use super::problem::Problem;
use crate::domain::event::{Event, EventKind};
use crate::store::events::{Epoch, Filter, Page};
use crate::store::{self, Store};

/// Maximum number of events that one read examines, so that a filter that nothing passes stays
/// cheap.
const MAX_EXAMINED: i64 = 2_000;

/// One event, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) sequence: i64,
    pub(super) kind: EventKind,
    /// The same bytes that are delivered to endpoints.
    pub(super) body: String,
}

/// A position in the log. Numbers continue over all epochs; callers see sequences.
pub(super) struct EventReader {
    store: Store,
    filter: Filter,
    epoch: Epoch,
    /// All events up to this number were examined.
    number: i64,
    /// The newest number, as far as it is known.
    head: i64,
}

impl EventReader {
    /// Starts after this sequence of the current epoch.
    pub(super) async fn open(store: &Store, filter: Filter, after: i64) -> store::Result<Self> {
        let epoch = store.events().epoch().await?;
        let number = epoch.after.saturating_add(after);
        Ok(Self { store: store.clone(), filter, epoch, number, head: number })
    }

    pub(super) fn epoch(&self) -> Uuid {
        self.epoch.epoch
    }

    /// The last sequence examined, filters included.
    pub(super) fn next_after(&self) -> i64 {
        self.number - self.epoch.after
    }

    /// The newest sequence.
    pub(super) fn head(&self) -> i64 {
        (self.head - self.epoch.after).max(0)
    }

    /// All events of the log have been examined.
    pub(super) fn is_at_end(&self) -> bool {
        self.number >= self.head
    }

    /// The next events that pass the filters. Empty if none of the next `MAX_EXAMINED` events pass,
    /// or if there are no more events.
    pub(super) async fn read(&mut self, limit: i64) -> Result<Vec<Item>, Problem> {
        let events = self.store.events();
        let page = events.after(self.number, MAX_EXAMINED, limit, &self.filter).await?;
        let mut oldest = page.oldest;
        let goes_on = page.events.first().is_some_and(|first| first.number == self.number + 1);
        if !goes_on && page.examined > self.number {
            // Retention may have deleted events between the two statements of the page.
            (_, oldest) = events.ends().await?;
        }
        if self.number < oldest - 1 {
            return Err(Problem::events_expired().oldest(oldest - self.epoch.after));
        }
        Ok(self.take(page))
    }

    /// Waits for the next events that pass the filters.
    pub(super) async fn wait(
        &mut self,
        follower: &mut Follower,
        limit: i64,
    ) -> Result<Vec<Item>, Problem> {
        loop {
            let tail = follower.beyond(self.number).await;
            let items = if tail.after <= self.number {
                let page = self.part_of(&tail, limit);
                self.take(page)
            } else {
                self.read(limit).await?
            };
            if !items.is_empty() || !self.is_at_end() {
                return Ok(items);
            }
        }
    }

    fn part_of(&self, tail: &Arc<Tail>, limit: i64) -> Page {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let after = |event: &&Event| event.number > self.number && passes(&self.filter, event);
        let events: Vec<Event> = tail.events.iter().filter(after).take(limit).cloned().collect();
        let examined = match events.last() {
            Some(last) if events.len() == limit => last.number,
            _ => tail.examined,
        };
        Page { events, examined, head: tail.examined, oldest: tail.oldest }
    }

    /// Moves to the end of this page. Where another epoch begins in it, moves up to there: the next
    /// read begins with that epoch, so no event of the earlier one is lost.
    fn take(&mut self, page: Page) -> Vec<Item> {
        let Page { mut events, mut examined, head, .. } = page;
        if let Some(Event { epoch, number, sequence, .. }) = events.first()
            && *epoch != self.epoch.epoch
        {
            self.epoch = Epoch { epoch: *epoch, after: number - sequence };
        }
        let of_epoch = |event: &&Event| event.epoch == self.epoch.epoch;
        let own = events.iter().take_while(of_epoch).count();
        if own < events.len() {
            events.truncate(own);
            examined = events.last().map_or(self.number, |last| last.number);
        }
        self.number = self.number.max(examined);
        self.head = head;
        let item =
            |event: Event| Item { sequence: event.sequence, kind: event.kind, body: event.body() };
        events.into_iter().map(item).collect()
    }
}

/// Filters as the store does.
fn passes(filter: &Filter, event: &Event) -> bool {
    let kind = filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind));
    let scene = filter.scenes.as_ref().is_none_or(|scenes| {
        event.biz_type().is_some_and(|scene| scenes.iter().any(|one| one == scene))
    });
    kind && scene
}
