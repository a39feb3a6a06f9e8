//! What a verification's past says: earlier answers about it, earlier verifications of the same
//! reference. Part of the evidence, so that a replay decides from the same numbers.

use sqlx::Row;
use uuid::Uuid;

use super::claims::Claimed;
use super::{Result, Store};
use crate::domain::evidence::MOST_COUNTED;

/// The past of one claimed verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Answers with a status.
    pub answers: i64,
    /// `None`: it has no reference, or nobody knows its source.
    pub earlier: Option<Earlier>,
}

/// Verifications of the same reference, within the source's group, that began before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// In the 24 hours before.
    pub in_1_day: i64,
    /// In the 30 days before.
    pub in_30_days: i64,
}

impl Store {
    /// Counts the past of claimed rows that have one. First calls about verifications without a
    /// reference, which have none, cost no statement. `groups`: each two sources of one group.
    pub async fn count_past(
        &self,
        rows: &mut [Claimed],
        groups: &[(String, String)],
    ) -> Result<()> {
        let has_past = |row: &&mut Claimed| row.attempt > 1 || row.has_reference;
        let ids: Vec<Uuid> = rows.iter_mut().filter(has_past).map(|row| row.id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (owners, peers): (Vec<&str>, Vec<&str>) =
            groups.iter().map(|(owner, peer)| (owner.as_str(), peer.as_str())).unzip();
        let counted = self
            .run(|| async {
                sqlx::query(COUNT_PAST)
                    .bind(&ids)
                    .bind(&owners)
                    .bind(&peers)
                    .bind(MOST_COUNTED)
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        for of in &counted {
            let id: Uuid = of.try_get("id")?;
            let Some(row) = rows.iter_mut().find(|row| row.id.0 == id) else { continue };
            let counts: Option<i64> = of.try_get("in_1_day")?;
            let in_30_days: i64 = of.try_get("in_30_days")?;
            row.past = Past {
                answers: of.try_get("answers")?,
                earlier: counts.map(|in_1_day| Earlier { in_1_day, in_30_days }),
            };
        }
        Ok(())
    }
}

/// `past::count`. A statement of its own, after the claim: a claim that waited for the account's
/// row sees other tables as they were when it began, and it holds that row while it runs.
///
/// Every walk is along an index and ends after `$4` entries, so that a reference or a verification
/// with very many costs no more. `in_1_day` is null where there is no reference or no source.
/// Rows of binaries that did not know the column `source` belong to the source of their earliest
/// callback.
const COUNT_PAST: &str = "
with mine as materialized (
    select v.id, v.reference, v.created_at,
        case when v.reference is null then null else coalesce(v.source,
            (select source from callbacks where verification_id = v.id
             order by received_at, source, message_id limit 1)) end as source
    from verifications v where v.id = any ($1)
)
select m.id,
    (select count(*) from (
        select evidence is not null as is_answer from results
        where verification_id = m.id order by attempt desc limit $4) as newest
     where is_answer) as answers,
    case when m.source is not null then least(e.in_1_day, $4) end as in_1_day,
    least(e.in_30_days, $4) as in_30_days
from mine m cross join lateral (
    select count(*) filter (where before.created_at >= m.created_at - interval '24 hours')
            as in_1_day,
        count(*) as in_30_days
    from (select m.source union
          select peer from unnest($2::text[], $3::text[]) as t (owner, peer)
          where owner = m.source) as within (source)
    cross join lateral (
        (select created_at from verifications
         where reference = m.reference and source = within.source
            and created_at >= m.created_at - interval '720 hours' and created_at < m.created_at
         order by created_at desc limit $4)
        union all
        (select created_at from (
            select id, created_at from verifications
            where reference = m.reference and source is null
                and created_at >= m.created_at - interval '720 hours'
                and created_at < m.created_at
            -- By source as well: `is null` alone gives the planner no order to walk in.
            order by source desc, created_at desc limit $4) as older
         where within.source = (select source from callbacks where verification_id = older.id
                                order by received_at, source, message_id limit 1))
    ) as before
) e";
