//! Finds leases on verifications that nobody renews.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::claims::DuePosition;
use crate::store::error::Result;
use crate::store::pool::Store;
use crate::store::statements::statements;

/// A lease that is about to end, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiringLease {
    /// The verification it is on.
    pub id: Uuid,
    /// Zero: it has ended.
    pub ends_in: Duration,
}

/// One step of a scan over the due rows.
#[derive(Debug)]
pub struct LeaseScan {
    /// Leases found by this step.
    pub expiring: Vec<ExpiringLease>,
    /// Where the next step begins; `None`: this one has reached the newest due row.
    pub next: Option<DuePosition>,
}

#[derive(FromRow)]
struct Scanned {
    id: Uuid,
    due_at: OffsetDateTime,
    is_last: bool,
    ends_in: Option<f64>,
}

impl Store {
    /// Scans the next `most` due rows after `from`, in the order of their age, for leases that end
    /// within this time.
    pub async fn scan_expiring_leases(
        &self,
        from: DuePosition,
        within: Duration,
        most: usize,
    ) -> Result<LeaseScan> {
        let (within, most) = (within.as_secs_f64(), i64::try_from(most).unwrap_or(i64::MAX));
        let rows =
            self.once(scan(from.due_at, from.id, within, most).fetch_all(&self.pool)).await?;
        let mut scan = LeaseScan { expiring: Vec::new(), next: None };
        for row in &rows {
            let Scanned { id, due_at, is_last, ends_in } = *row;
            if let Some(seconds) = ends_in {
                scan.expiring.push(ExpiringLease { id, ends_in: Duration::from_secs_f64(seconds) });
            }
            if is_last {
                scan.next = Some(DuePosition { due_at, id });
            }
        }
        Ok(scan)
    }
}

statements! {
    /// Reads the index of due rows in order. There is no index on `lease_until`: with one, claims and
    /// renewals would no longer be heap-only updates. The last row of a full step is returned too,
    /// because the next step begins after it.
    row scan(due_at: OffsetDateTime, id: Uuid, within: f64, most: i64) -> Scanned =
        "select id, due_at, step = $4 as is_last,
             case when lease_until <= verdict_now() + make_interval(secs => $3)
                 then greatest(extract(epoch from lease_until - verdict_now()), 0)::float8
             end as ends_in
         from (select id, due_at, lease_until,
                   row_number() over (order by due_at, id) as step
               from (select id, due_at, lease_until from verifications
                     where (due_at, id) > ($1, $2) and due_at <= verdict_now()
                     order by due_at, id limit $4) as due) as scanned
         where lease_until <= verdict_now() + make_interval(secs => $3) or step = $4";
}
