//! Shares the account's budget between the sources, and the scenes of each source, that have due
//! work.
//!
//! Claims go by age, which is fair as long as the budget suffices: everything due is claimed at
//! once. When it does not, a source that posts thousands of callbacks would be served before every
//! source that posts later. So while claims are limited, this process scans the due rows in the order
//! of their age, remembers the next ones of each source and scene, and claims those in turn. It
//! writes nothing, and reads nothing while the budget suffices.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::periodic::Throttle;
use crate::store::claims::{DuePosition, DueRow};

/// Rows that are remembered for one scene of one source. When half of them are claimed, a scan
/// returns to the rows after them.
const MOST_OF_A_SCENE: usize = 512;
/// Scenes of one source that each get a turn; the others share one.
const MOST_SCENES: usize = 64;
/// Sources that get a turn; no installation configures so many.
const MOST_SOURCES: usize = 256;
/// Rows that one scan reads.
pub const SCAN_ROWS: usize = 2000;
/// Between two scans.
const SCAN_EVERY: Throttle = Throttle::millis(40, 400);
/// How long a commit may take. A scan begins this far before the end of the last one, as rows may
/// have become visible behind it.
const OVERLAP: Duration = Duration::from_millis(500);
/// One claim of so many goes by age alone. It finds rows that no scan saw, such as those whose lease
/// has ended, and reports how far everything is claimed.
const BY_AGE: u32 = 4;
/// Most rows that are proposed for one claim.
pub const MOST_PROPOSED: usize = 64;

/// The due rows that this process knows, by source and scene.
#[derive(Debug, Default)]
pub struct FairQueue {
    /// In the order of their turns. An empty one is removed, unless rows of it are still to be read.
    sources: VecDeque<Source>,
    /// All rows in the queues.
    queued: HashSet<Uuid>,
    /// Where the next scan begins; `None`: claims are not limited.
    position: Option<DuePosition>,
    scan_at: Option<Instant>,
    claims: u32,
}

#[derive(Debug, Default)]
struct Source {
    name: String,
    scenes: VecDeque<Scene>,
}

#[derive(Debug, Default)]
struct Scene {
    name: String,
    rows: VecDeque<Uuid>,
    /// Rows behind this position were too many to remember.
    more_after: Option<DuePosition>,
}

/// A row that is proposed for a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    source: String,
    scene: String,
    pub id: Uuid,
}

/// A scan that is due now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub from: DuePosition,
    /// Only for this scene of this source, whose queue runs short.
    only: Option<(String, String)>,
}

impl FairQueue {
    /// Claims are limited from now on: scans begin at this time.
    pub fn begin(&mut self, due_since: Option<OffsetDateTime>) {
        let from = due_since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        self.position.get_or_insert(DuePosition { due_at: from, id: Uuid::nil() });
    }

    /// Claims are no longer limited: everything due is claimed.
    pub fn end(&mut self) {
        if self.position.is_some() {
            *self = Self { claims: self.claims, ..Self::default() };
        }
    }

    /// The scan that is due, if one is.
    pub fn next_scan(&self, now: Instant) -> Option<Scan> {
        let from = self.position?;
        if self.scan_at.is_some_and(|at| now < at) {
            return None;
        }
        let short = self.sources.iter().find_map(|source| {
            let fits = |scene: &&Scene| {
                scene.more_after.is_some() && scene.rows.len() < MOST_OF_A_SCENE / 2
            };
            let scene = source.scenes.iter().find(fits)?;
            Some((scene.more_after?, (source.name.clone(), scene.name.clone())))
        });
        // Alternately, so that neither kind of scan starves the other.
        Some(match short {
            Some((from, of)) if self.claims.is_multiple_of(2) => Scan { from, only: Some(of) },
            _ => Scan { from, only: None },
        })
    }

    /// Takes the rows that a scan found; it began at `now` by the database's clock.
    pub fn scanned(&mut self, scan: Scan, found: &[DueRow], now: OffsetDateTime) {
        let is_end = found.len() < SCAN_ROWS;
        if let Some((source, scene)) = scan.only {
            self.refill(&source, &scene, (scan.from, found), is_end);
            return;
        }
        let mut before = scan.from;
        for row in found {
            self.add(row, before);
            before = row.position;
        }
        let back = now.checked_sub(OVERLAP.try_into().unwrap_or_default()).unwrap_or(now);
        let end = DuePosition { due_at: back, id: Uuid::nil() };
        self.position = Some(if is_end { end } else { before });
    }

    /// Schedules the next scan after one that took so long.
    pub fn pause(&mut self, began: Instant, ended: Instant) {
        self.scan_at = Some(ended + SCAN_EVERY.pause(ended - began));
    }

    /// Whether turns would differ from the order of age.
    fn is_contended(&self) -> bool {
        let mut scenes = self.sources.iter().flat_map(|source| &source.scenes);
        scenes.by_ref().filter(|scene| !scene.rows.is_empty()).nth(1).is_some()
    }

    /// The next rows in the order of turns, at most so many; none where the claim goes by age.
    pub fn propose(&mut self, most: usize) -> Vec<Proposed> {
        self.claims = self.claims.wrapping_add(1);
        if !self.is_contended() || self.goes_by_age() {
            return Vec::new();
        }
        let mut proposed = Vec::new();
        while proposed.len() < most.min(MOST_PROPOSED) {
            let Some(next) = self.next() else { break };
            proposed.push(next);
        }
        proposed
    }

    /// Whether the claim that rows were last proposed for goes by age alone.
    pub fn goes_by_age(&self) -> bool {
        self.claims.is_multiple_of(BY_AGE)
    }

    /// Takes back the proposed rows that the claim did not reach. Unclaimed rows before the last
    /// claimed one were not free any more. If a row was claimed that was not proposed, no proposed row
    /// was left free, as proposed rows go first.
    pub fn claimed(&mut self, proposed: Vec<Proposed>, claimed: &[Uuid]) {
        if claimed.iter().any(|id| proposed.iter().all(|row| row.id != *id)) {
            return;
        }
        let last = proposed.iter().rposition(|row| claimed.contains(&row.id));
        let reached = last.map_or(0, |last| last + 1);
        for row in proposed.into_iter().skip(reached).rev() {
            self.put_back(row);
        }
    }

    fn next(&mut self) -> Option<Proposed> {
        for _ in 0..self.sources.len() {
            let mut source = self.sources.pop_front()?;
            let found = source.next();
            let name = source.name.clone();
            if !source.scenes.is_empty() {
                self.sources.push_back(source);
            }
            if let Some((scene, id)) = found {
                self.queued.remove(&id);
                return Some(Proposed { source: name, scene, id });
            }
        }
        None
    }

    /// Undoes the last [`Self::next`]: its source and scene are the next in turn again.
    fn put_back(&mut self, row: Proposed) {
        let source = take_or_new(&mut self.sources, |source| source.name == row.source);
        let mut source = Source { name: row.source, ..source };
        let scene = take_or_new(&mut source.scenes, |scene| scene.name == row.scene);
        let mut scene = Scene { name: row.scene, ..scene };
        self.queued.insert(row.id);
        scene.rows.push_front(row.id);
        source.scenes.push_front(scene);
        self.sources.push_front(source);
    }

    fn add(&mut self, row: &DueRow, before: DuePosition) {
        if self.queued.contains(&row.position.id) {
            return;
        }
        let full = self.sources.len() >= MOST_SOURCES;
        let Some(source) = find_or_new(&mut self.sources, full, |source| source.name == row.source)
        else {
            return;
        };
        source.name.clone_from(&row.source);
        let known = source.scenes.iter().any(|scene| scene.name == row.scene);
        let name = if known || source.scenes.len() < MOST_SCENES { row.scene.as_str() } else { "" };
        let Some(scene) = find_or_new(&mut source.scenes, false, |scene| scene.name == name) else {
            return;
        };
        name.clone_into(&mut scene.name);
        if scene.more_after.is_some() {
            return;
        }
        if scene.rows.len() >= MOST_OF_A_SCENE {
            scene.more_after = Some(before);
            return;
        }
        scene.rows.push_back(row.position.id);
        self.queued.insert(row.position.id);
    }

    fn refill(
        &mut self,
        source: &str,
        scene: &str,
        (from, found): (DuePosition, &[DueRow]),
        is_end: bool,
    ) {
        let of = |sources: &mut VecDeque<Source>| -> Option<usize> {
            sources.iter().position(|known| known.name == source)
        };
        let Some(at) = of(&mut self.sources) else { return };
        let own: HashSet<String> =
            self.sources[at].scenes.iter().map(|scene| scene.name.clone()).collect();
        let Some(queue) = self.sources[at].scenes.iter_mut().find(|known| known.name == scene)
        else {
            return;
        };
        let mut reached = from;
        for row in found {
            // Scenes beyond the limit share the one without a name.
            let fits = row.source == source
                && (row.scene == scene || scene.is_empty() && !own.contains(&row.scene));
            if fits && queue.rows.len() >= MOST_OF_A_SCENE {
                queue.more_after = Some(reached);
                return;
            }
            reached = row.position;
            if fits && self.queued.insert(row.position.id) {
                queue.rows.push_back(row.position.id);
            }
        }
        queue.more_after = (!is_end).then_some(reached);
    }
}

impl Source {
    /// The next row of the scene whose turn it is.
    fn next(&mut self) -> Option<(String, Uuid)> {
        for _ in 0..self.scenes.len() {
            let mut scene = self.scenes.pop_front()?;
            let found = scene.rows.pop_front();
            let name = scene.name.clone();
            if !scene.rows.is_empty() || scene.more_after.is_some() {
                self.scenes.push_back(scene);
            }
            if let Some(id) = found {
                return Some((name, id));
            }
        }
        None
    }
}

fn take_or_new<T: Default>(all: &mut VecDeque<T>, fits: impl Fn(&T) -> bool) -> T {
    all.iter().position(fits).and_then(|at| all.remove(at)).unwrap_or_default()
}

/// `None`: it is not there, and the list is full.
fn find_or_new<T: Default>(
    all: &mut VecDeque<T>,
    full: bool,
    fits: impl Fn(&T) -> bool,
) -> Option<&mut T> {
    match all.iter().position(fits) {
        Some(at) => all.get_mut(at),
        None if full => None,
        None => {
            all.push_back(T::default());
            all.back_mut()
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-11-26 12:00:00 UTC);

    /// The n-th due row.
    fn row(n: u64, source: &str, scene: &str) -> DueRow {
        let position = DuePosition {
            due_at: START + Duration::from_millis(n),
            id: Uuid::from_u128(u128::from(n) + 1),
        };
        DueRow { position, source: source.to_owned(), scene: scene.to_owned() }
    }

    /// Scans to the end, as often as a scan is due.
    fn scan_all(queue: &mut FairQueue, rows: &[DueRow]) {
        queue.begin(None);
        for _ in 0..100 {
            queue.claims += 1;
            let scan = queue.next_scan(Instant::now()).unwrap();
            let behind = rows.iter().filter(|row| row.position > scan.from);
            let found: Vec<DueRow> = behind.take(SCAN_ROWS).cloned().collect();
            let is_end = found.len() < SCAN_ROWS && scan.only.is_none();
            queue.scanned(scan, &found, START + Duration::from_hours(1));
            if is_end {
                return;
            }
        }
    }

    /// Claims one row at a time; how many were claimed before the first of this source.
    fn claimed_before(queue: &mut FairQueue, source: &str) -> usize {
        for before in 0..10_000 {
            queue.claims = 0;
            let proposed = queue.propose(1);
            let Some(first) = proposed.first().cloned() else { return before };
            queue.claimed(proposed, &[first.id]);
            if first.source == source {
                return before;
            }
        }
        panic!("never");
    }

    #[test]
    fn a_flood_of_one_source_does_not_delay_another() {
        let mut rows: Vec<DueRow> = (0..50_000).map(|n| row(n, "flood", "a")).collect();
        rows.push(row(60_000, "other", "a"));
        let mut queue = FairQueue::default();
        scan_all(&mut queue, &rows);
        assert!(claimed_before(&mut queue, "other") <= 1);
        // A process remembers only so much of it.
        assert!(queue.queued.len() <= MOST_OF_A_SCENE);
    }

    #[test]
    fn a_flood_in_one_scene_does_not_delay_other_scenes() {
        let mut rows: Vec<DueRow> = (0..5_000).map(|n| row(n, "one", "flooded")).collect();
        rows.extend((5_000..5_010).map(|n| row(n, "one", "calm")));
        let mut queue = FairQueue::default();
        scan_all(&mut queue, &rows);
        queue.claims = 0;
        let proposed = queue.propose(6);
        let calm = proposed.iter().filter(|row| row.scene == "calm").count();
        assert_eq!(calm, 3, "{proposed:?}");
    }

    #[test]
    fn invented_scenes_do_not_enlarge_a_sources_share() {
        let mut rows: Vec<DueRow> =
            (0..3_000).map(|n| row(n, "flood", &format!("invented-{n}"))).collect();
        rows.extend((3_000..3_100).map(|n| row(n, "other", "a")));
        let mut queue = FairQueue::default();
        scan_all(&mut queue, &rows);
        queue.claims = 0;
        let proposed = queue.propose(40);
        assert_eq!(proposed.iter().filter(|row| row.source == "other").count(), 20);
    }

    #[test]
    fn rows_beyond_the_memory_limit_are_read_later() {
        let mut rows: Vec<DueRow> = (0..4_000).map(|n| row(n, "one", "a")).collect();
        rows.extend((4_000..8_000).map(|n| row(n, "two", "a")));
        let mut queue = FairQueue::default();
        let (mut one, mut two) = (HashSet::new(), HashSet::new());
        for _ in 0..200 {
            scan_all(&mut queue, &rows);
            queue.claims = 0;
            let proposed = queue.propose(64);
            let ids: Vec<Uuid> = proposed.iter().map(|row| row.id).collect();
            for row in &proposed {
                if row.source == "one" {
                    one.insert(row.id)
                } else {
                    two.insert(row.id)
                };
            }
            queue.claimed(proposed, &ids);
            rows.retain(|row| !ids.contains(&row.position.id));
        }
        // When one of them is left, age decides.
        assert!(one.len() > 3_900 && two.len() > 3_900, "{} {}", one.len(), two.len());
    }

    #[test]
    fn unreached_rows_keep_their_turn_and_lost_ones_do_not() {
        let rows: Vec<DueRow> =
            (0..6).map(|n| row(n, if n % 2 == 0 { "one" } else { "two" }, "a")).collect();
        let mut queue = FairQueue::default();
        scan_all(&mut queue, &rows);
        queue.claims = 0;
        let first = queue.propose(4);
        // No budget: nothing was claimed.
        queue.claimed(first.clone(), &[]);
        queue.claims = 0;
        let again = queue.propose(4);
        assert_eq!(first, again);
        // The second was claimed; the first is another process's.
        queue.claimed(again, &[first[1].id]);
        queue.claims = 0;
        let rest = queue.propose(6);
        assert_eq!(rest[..2], first[2..]);
        // All of them are another process's: a row that was not proposed was claimed.
        queue.claimed(rest, &[Uuid::max()]);
        assert!(queue.queued.is_empty());
    }

    #[test]
    fn scans_take_a_bounded_share_of_the_time() {
        let mut queue = FairQueue::default();
        queue.begin(None);
        let start = Instant::now();
        for (took, pause) in [(0, 40), (4, 100), (3000, 400)]
            .map(|(took, pause)| (Duration::from_millis(took), Duration::from_millis(pause)))
        {
            queue.pause(start, start + took);
            let next = start + took + pause;
            assert_eq!(queue.next_scan(next - Duration::from_millis(1)), None);
            assert!(queue.next_scan(next).is_some());
        }
    }

    #[test]
    fn nothing_is_scanned_while_the_budget_suffices() {
        let mut queue = FairQueue::default();
        assert_eq!(queue.next_scan(Instant::now()), None);
        scan_all(&mut queue, &[row(1, "one", "a"), row(2, "two", "a")]);
        queue.end();
        assert_eq!(queue.next_scan(Instant::now()), None);
        assert_eq!(queue.propose(1), []);
    }
}
