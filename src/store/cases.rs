//! The queue of cases: verifications whose current decision is `review`.
//!
//! The database opens and closes cases by itself (`verdict_open_case`, `verdict_close_case`). Each
//! query walks the index of open cases, oldest first.

use std::fmt;
use std::str::FromStr;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::callback::BizType;
use crate::domain::case::{Standing, Targets};
use crate::domain::ids::{DecisionId, UserId, VerificationId};

/// Counts stop here.
pub const MOST_COUNTED: i64 = 10_000;

/// What the queue is narrowed to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub scene: Option<BizType>,
    /// The only scenes that the viewer reaches; `None`: every scene.
    pub scenes: Option<Vec<BizType>>,
    pub standing: Option<Standing>,
    /// Only cases that somebody has escalated.
    pub escalated: bool,
    /// Only cases that one person has reviewed and another has to.
    pub second: bool,
    /// Only cases that nobody has.
    pub free: bool,
}

impl Filter {
    /// The scenes to walk; `None`: all of them in one walk.
    fn walked(&self) -> Option<Vec<&str>> {
        let reached =
            |scene: &BizType| self.scenes.as_ref().is_none_or(|scenes| scenes.contains(scene));
        match (&self.scene, &self.scenes) {
            (Some(scene), _) => {
                Some([scene].into_iter().filter(|s| reached(s)).map(BizType::as_str).collect())
            }
            (None, Some(scenes)) => Some(scenes.iter().map(BizType::as_str).collect()),
            (None, None) => None,
        }
    }
}

/// The place in the queue where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub opened_at: OffsetDateTime,
    pub decision: DecisionId,
}

impl Cursor {
    const START: Self =
        Self { opened_at: OffsetDateTime::UNIX_EPOCH, decision: DecisionId(Uuid::nil()) };

    /// Behind everything that was opened then or earlier.
    fn behind(opened_at: OffsetDateTime) -> Self {
        Self { opened_at, decision: DecisionId(Uuid::max()) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.opened_at.unix_timestamp_nanos() / 1000, self.decision)
    }
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor from an earlier page")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> std::result::Result<Self, NotACursor> {
        let (micros, decision) = text.split_once('.').ok_or(NotACursor)?;
        let micros: i64 = micros.parse().map_err(|_| NotACursor)?;
        let opened_at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
            .map_err(|_| NotACursor)?;
        Ok(Self { opened_at, decision: decision.parse().map_err(|_| NotACursor)? })
    }
}

/// Who has a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub user: UserId,
    pub name: String,
    pub since: OffsetDateTime,
    /// The verdict is given and can still be undone.
    pub pending: bool,
}

/// One case of the queue. Says nothing of what the policy saw.
#[derive(Clone, Debug)]
pub struct QueuedCase {
    pub decision: DecisionId,
    pub verification: VerificationId,
    pub biz_type: String,
    pub biz_id: String,
    pub reference: Option<String>,
    pub opened_at: OffsetDateTime,
    pub escalated_at: Option<OffsetDateTime>,
    /// Why it was escalated.
    pub escalation: Option<String>,
    /// Another person than the viewer.
    pub holder: Option<Holder>,
    /// Reviews of this decision, which wait for another person's.
    pub reviews: i64,
    /// One of them is the viewer's.
    pub mine: bool,
}

/// The open cases of a scene, each number up to [`MOST_COUNTED`].
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SceneCount {
    pub biz_type: String,
    pub open: i64,
    pub soon: i64,
    pub late: i64,
    /// When the oldest was opened.
    pub oldest: OffsetDateTime,
}

/// A case that somebody has.
#[derive(Clone, Debug)]
pub struct Held {
    pub decision: DecisionId,
    pub biz_type: String,
    pub holder: Holder,
}

/// The queue of cases.
#[derive(Clone, Copy, Debug)]
pub struct Cases<'a>(&'a Store);

impl Store {
    pub fn cases(&self) -> Cases<'_> {
        Cases(self)
    }
}

impl Cases<'_> {
    /// The next open cases behind a cursor, oldest first.
    pub async fn queue(
        self,
        filter: &Filter,
        targets: &Targets,
        now: OffsetDateTime,
        viewer: UserId,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<QueuedCase>> {
        let ages = Ages::of(filter.standing, targets, now);
        let after = after.unwrap_or(Cursor::START).max(ages.earliest());
        let (at, decision) = (after.opened_at, after.decision.0);
        let Filter { escalated, second, free, .. } = *filter;
        let scenes = filter.walked();
        let rows: Vec<QueuedRow> = self
            .0
            .run(|| {
                find_page((
                    scenes.as_deref(),
                    &ages.scenes,
                    &ages.from,
                    &ages.to,
                    ages.other_from,
                    ages.other_to,
                    at,
                    decision,
                    escalated,
                    second,
                    free,
                    viewer.0,
                    limit,
                ))
                .fetch_all(&self.0.pool)
            })
            .await?;
        Ok(rows.into_iter().map(QueuedCase::from).collect())
    }

    /// The open cases of each scene that has any.
    pub async fn counts(
        self,
        scenes: Option<&[BizType]>,
        targets: &Targets,
        now: OffsetDateTime,
    ) -> Result<Vec<SceneCount>> {
        let limit = names(scenes);
        let late = targets.cutoffs(Standing::Late, now);
        let soon = targets.cutoffs(Standing::Soon, now);
        self.0
            .run(|| {
                count((
                    limit.as_deref(),
                    &late.scenes,
                    &late.times,
                    &soon.times,
                    late.general,
                    soon.general,
                    MOST_COUNTED,
                ))
                .fetch_all(&self.0.pool)
            })
            .await
    }

    /// Who has which case since when, the longest first.
    pub async fn held(self, scenes: Option<&[BizType]>) -> Result<Vec<Held>> {
        let limit = names(scenes);
        let rows: Vec<HeldRow> =
            self.0.run(|| find_held(limit.as_deref()).fetch_all(&self.0.pool)).await?;
        Ok(rows
            .into_iter()
            .map(|row| Held {
                decision: DecisionId(row.decision_id),
                biz_type: row.biz_type,
                holder: Holder {
                    user: UserId(row.user_id),
                    name: row.name,
                    since: row.claimed_at,
                    pending: row.pending,
                },
            })
            .collect())
    }
}

fn names(scenes: Option<&[BizType]>) -> Option<Vec<&str>> {
    scenes.map(|scenes| scenes.iter().map(BizType::as_str).collect())
}

/// When cases of each scene were opened that have one standing: after `from`, until `to`.
struct Ages {
    scenes: Vec<String>,
    from: Vec<OffsetDateTime>,
    to: Vec<OffsetDateTime>,
    other_from: OffsetDateTime,
    other_to: OffsetDateTime,
}

impl Ages {
    fn of(standing: Option<Standing>, targets: &Targets, now: OffsetDateTime) -> Self {
        let Some(standing) = standing else {
            let (from, to) = (OffsetDateTime::UNIX_EPOCH, FAR);
            return Self {
                scenes: Vec::new(),
                from: Vec::new(),
                to: Vec::new(),
                other_from: from,
                other_to: to,
            };
        };
        let start = targets.cutoffs(standing, now);
        let worse = match standing {
            Standing::OnTime => Some(Standing::Soon),
            Standing::Soon => Some(Standing::Late),
            Standing::Late => None,
        };
        let end = worse.map(|worse| targets.cutoffs(worse, now));
        let until = |at| if standing == Standing::OnTime { FAR } else { at };
        Self {
            from: match &end {
                Some(end) => end.times.clone(),
                None => vec![OffsetDateTime::UNIX_EPOCH; start.times.len()],
            },
            to: start.times.iter().map(|at| until(*at)).collect(),
            scenes: start.scenes,
            other_from: end.map_or(OffsetDateTime::UNIX_EPOCH, |end| end.general),
            other_to: until(start.general),
        }
    }

    #[cfg(test)]
    fn of_scene(&self, scene: &str) -> (OffsetDateTime, OffsetDateTime) {
        match self.scenes.iter().position(|known| known == scene) {
            Some(at) => (self.from[at], self.to[at]),
            None => (self.other_from, self.other_to),
        }
    }

    /// No case of any scene that is wanted was opened before.
    fn earliest(&self) -> Cursor {
        let all = self.from.iter().chain([&self.other_from]);
        Cursor::behind(all.min().copied().unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }
}

/// Later than any case: a replica's clock may be ahead.
const FAR: OffsetDateTime = time::macros::datetime!(9999-01-01 00:00 UTC);

#[derive(FromRow)]
struct QueuedRow {
    decision_id: Uuid,
    verification_id: Uuid,
    biz_type: String,
    biz_id: String,
    reference: Option<String>,
    opened_at: OffsetDateTime,
    escalated_at: Option<OffsetDateTime>,
    escalation: Option<String>,
    user_id: Option<Uuid>,
    name: Option<String>,
    claimed_at: Option<OffsetDateTime>,
    pending: Option<bool>,
    reviews: i64,
    mine: bool,
}

impl From<QueuedRow> for QueuedCase {
    fn from(row: QueuedRow) -> Self {
        let holder = match (row.user_id, row.name, row.claimed_at, row.pending) {
            (Some(user), Some(name), Some(since), Some(pending)) => {
                Some(Holder { user: UserId(user), name, since, pending })
            }
            _ => None,
        };
        Self {
            decision: DecisionId(row.decision_id),
            verification: VerificationId(row.verification_id),
            biz_type: row.biz_type,
            biz_id: row.biz_id,
            reference: row.reference,
            opened_at: row.opened_at,
            escalated_at: row.escalated_at,
            escalation: row.escalation,
            holder,
            reviews: row.reviews,
            mine: row.mine,
        }
    }
}

#[derive(FromRow)]
struct HeldRow {
    decision_id: Uuid,
    biz_type: String,
    user_id: Uuid,
    name: String,
    claimed_at: OffsetDateTime,
    pending: bool,
}

statements! {
    row find_page((
        scenes: Option<&[&str]>,
        own_scenes: &[String],
        own_from: &[OffsetDateTime],
        own_to: &[OffsetDateTime],
        from: OffsetDateTime,
        to: OffsetDateTime,
        after: OffsetDateTime,
        after_decision: Uuid,
        escalated: bool,
        second: bool,
        free: bool,
        viewer: Uuid,
        limit: i64,
    )) -> QueuedRow = include_str!("sql/cases_find_page.sql");

    row count((
        limit: Option<&[&str]>,
        scenes: &[String],
        late: &[OffsetDateTime],
        soon: &[OffsetDateTime],
        other_late: OffsetDateTime,
        other_soon: OffsetDateTime,
        most: i64,
    )) -> SceneCount = include_str!("sql/cases_count.sql");

    row find_held(scenes: Option<&[&str]>) -> HeldRow =
        "select a.decision_id, c.biz_type, a.user_id, u.name, a.claimed_at,
             a.outcome is not null as pending
         from (select * from assignments where ended_at is null and outcome is null
               union all
               select * from assignments where ended_at is null and outcome is not null) a
         cross join lateral (
             select biz_type from cases where decision_id = a.decision_id limit 1) c
         join users u on u.id = a.user_id
         where a.kind = 'review' and (a.outcome is not null or a.lease_until > verdict_now())
             and ($1::text[] is null or c.biz_type = any ($1))
         order by a.claimed_at";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);

    #[test]
    fn ages_cover_each_case_once() {
        let scenes = BTreeMap::from([("fast".to_owned(), Duration::from_mins(4))]);
        let targets = Targets { general: Duration::from_hours(4), scenes };
        for scene in ["fast", "any"] {
            for minutes in -10..300 {
                let opened_at = NOW - time::Duration::MINUTE * minutes;
                let within = |standing| {
                    let ages = Ages::of(Some(standing), &targets, NOW);
                    let (from, to) = ages.of_scene(scene);
                    from < opened_at
                        && opened_at <= to
                        && ages.earliest() < opened_at_cursor(opened_at)
                };
                let found: Vec<_> = Standing::ALL.into_iter().filter(|s| within(*s)).collect();
                assert_eq!(found, [targets.standing(scene, opened_at, NOW)], "{scene} {minutes}");
            }
        }
    }

    fn opened_at_cursor(opened_at: OffsetDateTime) -> Cursor {
        Cursor { opened_at, decision: DecisionId(Uuid::nil()) }
    }

    #[test]
    fn cursor_survives_its_text() {
        let cursor = Cursor { opened_at: NOW, decision: DecisionId(Uuid::from_u128(7)) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "1", "a.b", "1.b", ".", "99999999999999999999.x"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn scene_outside_the_viewers_finds_nothing() {
        let scene = |name: &str| BizType::parse(name).unwrap();
        let filter = |one: Option<&str>, limit: Option<Vec<BizType>>| Filter {
            scene: one.map(scene),
            scenes: limit,
            ..Filter::default()
        };
        let limit = || Some(vec![scene("a"), scene("b")]);
        assert_eq!(filter(None, None).walked(), None);
        assert_eq!(filter(Some("a"), None).walked(), Some(vec!["a"]));
        assert_eq!(filter(Some("a"), limit()).walked(), Some(vec!["a"]));
        assert_eq!(filter(Some("c"), limit()).walked(), Some(vec![]));
        assert_eq!(filter(None, limit()).walked(), Some(vec!["a", "b"]));
    }
}
