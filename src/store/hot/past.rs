//! A verification's past: earlier answers about it, and earlier verifications of the same
//! reference. It is part of the evidence, so that a replay decides from the same numbers.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::claims::{Claimed, Earlier, Past, ReferenceUse};
use crate::store::error::Result;
use crate::store::pool::Store;
use crate::store::statements::statements;
use policy::evidence::MOST_COUNTED;

const DAY: Duration = Duration::from_hours(24);
/// Most entries of one reference that are examined, those of other sources included.
const MOST_WALKED: i64 = 5 * MOST_COUNTED;

impl Store {
    /// Counts the past of claimed rows. First calls about verifications that are the first of their
    /// reference, or have none, cost no statement. `groups`: each two sources of one group.
    pub async fn count_past(
        &self,
        rows: &mut [Claimed],
        groups: &[(String, String)],
    ) -> Result<()> {
        for row in rows.iter_mut().filter(|row| row.reference != ReferenceUse::None) {
            row.past.earlier = Some(Earlier { in_1_day: 0, in_30_days: 0 });
        }
        let has_past = |row: &&mut Claimed| row.attempt > 1 || row.reference == ReferenceUse::Later;
        let ids: Vec<Uuid> = rows.iter_mut().filter(has_past).map(|row| row.id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let before = |by| -> Vec<Uuid> { ids.iter().map(|id| id_before(*id, by)).collect() };
        let (day_ago, month_ago) = (before(DAY), before(30 * DAY));
        let (owners, peers): (Vec<&str>, Vec<&str>) =
            groups.iter().map(|(owner, peer)| (owner.as_str(), peer.as_str())).unzip();
        let counted = self
            .run(|| {
                count(&ids, &day_ago, &month_ago, &owners, &peers, MOST_COUNTED, MOST_WALKED)
                    .fetch_all(&self.pool)
            })
            .await?;
        for (id, past) in counted.iter().map(counted_past).collect::<Result<Vec<_>>>()? {
            if let Some(row) = rows.iter_mut().find(|row| row.id.0 == id) {
                row.past = past;
            }
        }
        Ok(())
    }
}

fn counted_past(row: &PgRow) -> Result<(Uuid, Past)> {
    let in_1_day: Option<i64> = row.try_get("in_1_day")?;
    let in_30_days: i64 = row.try_get("in_30_days")?;
    let earlier = in_1_day.map(|in_1_day| Earlier { in_1_day, in_30_days });
    Ok((row.try_get("id")?, Past { answers: row.try_get("answers")?, earlier }))
}

/// The smallest id of what began so long before this.
fn id_before(id: Uuid, by: Duration) -> Uuid {
    let milliseconds = (id.as_u128() >> 80).saturating_sub(by.as_millis());
    Uuid::from_u128(milliseconds << 80)
}

statements! {
    /// A separate statement, after the claim: a claim that waited for the account's
    /// row sees other tables as they were when it began, and it holds that row while it runs.
    ///
    /// Every walk is along an index and ends after so many entries, so that a reference or a
    /// verification with very many costs no more. Ids begin with the time at which verifications began,
    /// so one index serves this and the lists by reference: an index more would cost every callback.
    /// `in_1_day` is null where there is no reference or no source. Rows of binaries that did not know
    /// the column `source` belong to the source of their earliest callback.
    read(counted_past) count(
        ids: &[Uuid],
        day_ago: &[Uuid],
        month_ago: &[Uuid],
        owners: &[&str],
        peers: &[&str],
        most_counted: i64,
        most_walked: i64,
    ) =
        "with target as materialized (
             select v.id, v.reference, v.attempts, t.day_ago, t.month_ago,
                 case when v.reference is null then null else coalesce(v.source,
                     (select source from callbacks where verification_id = v.id
                      order by received_at, source, message_id limit 1)) end as source
             from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as t (id, day_ago, month_ago)
                 cross join lateral (select * from verifications where id = t.id limit 1) v
         )
         select m.id,
             -- Not asked of first attempts, which have none: while the table is small, and until it is
             -- analyzed, the planner would walk over all of it.
             case when m.attempts > 1 then (select count(*) from (
                 select evidence is not null as is_answer from results
                 where verification_id = m.id order by attempt desc limit $6) as newest
              where is_answer) else 0 end as answers,
             case when m.source is not null then least(e.in_1_day, $6) end as in_1_day,
             least(e.in_30_days, $6) as in_30_days
         from target m cross join lateral (
             select count(*) filter (where before.id >= m.day_ago) as in_1_day, count(*) as in_30_days
             from (
                 select id, source from verifications
                 where reference = m.reference and id >= m.month_ago and id < m.id
                 order by id desc limit $7
             ) as before
             where coalesce(before.source, (select source from callbacks where verification_id = before.id
                                            order by received_at, source, message_id limit 1))
                 in (select m.source union all
                     select peer from unnest($4::text[], $5::text[]) as t (owner, peer)
                     where owner = m.source)
         ) e";
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::ids::Ids;

    #[test]
    fn ids_are_compared_by_the_time_they_begin_with() {
        let now = datetime!(2026-11-26 12:00:00.5 UTC);
        let ids = Ids::random();
        let new = |at| -> Uuid { ids.next(at) };
        let (millisecond, month) = (Duration::from_millis(1), Duration::from_hours(720));
        let bound = id_before(new(now), month);
        assert!(bound <= new(now - month));
        assert!(bound > new(now - month - millisecond));
        assert_eq!(id_before(Uuid::nil(), month), Uuid::nil());
    }
}
