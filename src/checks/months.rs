//! The partitions of results, decisions and the audit: whether they are made in time, and what lies in
//! none.

use time::{Duration, OffsetDateTime};

use super::database::unasked;
use super::finding::Finding;
use crate::domain::counted::counted;
use crate::store::Store;
use crate::store::audit_cuts::AuditReach;
use crate::store::months::Reach;

/// A partition that is made later than this before its month begins is late.
const AHEAD: Duration = Duration::days(31);
/// A segment of the audit that is open for longer was not closed at the end of its month.
const OPEN: Duration = Duration::days(62);

/// By the database's clock, which is the one that makes them.
pub async fn ahead(store: &Store) -> Vec<Finding> {
    let asked = tokio::try_join!(store.inspection().database_now(), store.months().reach());
    match asked {
        Ok((now, reach)) => of_reach(&reach, now),
        Err(error) => vec![unasked(&error)],
    }
}

/// Whether the audit gets a new segment each month.
pub async fn audit_segment(store: &Store) -> Finding {
    let asked = tokio::try_join!(store.inspection().database_now(), store.audit_cuts().reach());
    match asked {
        Ok((now, audit)) => of_audit(audit, now),
        Err(error) => unasked(&error),
    }
}

fn of_audit(audit: AuditReach, now: OffsetDateTime) -> Finding {
    if !audit.has_partition {
        return Finding::failed(
            "the open segment of the audit has no partition: nothing can be recorded, so calls that \
             are on record fail",
            "restore the database from a backup: only the owner can drop a partition, and \
             `verdict audit verify` tells which rows are missing",
        );
    }
    let since = audit.segment_since.date();
    if audit.segment_since + OPEN < now {
        return Finding::warning(
            format!("the audit has no new segment since {since}"),
            "workers open one each month: check that one runs, and what it logs about its step \
             audit-segment; until then retention.audit_days drops nothing",
        );
    }
    Finding::ok(format!("the audit's open segment began on {since}"))
}

fn of_reach(tables: &[Reach], now: OffsetDateTime) -> Vec<Finding> {
    let found: Vec<Finding> =
        tables.iter().flat_map(|reach| [late(reach, now), of_no_month(reach)]).flatten().collect();
    if !found.is_empty() {
        return found;
    }
    let until = tables.iter().filter_map(|reach| reach.until).min();
    let until = until.map_or_else(|| "no end".to_owned(), |until| until.date().to_string());
    vec![Finding::ok(format!("results and decisions have their partitions until {until}"))]
}

fn late(reach: &Reach, now: OffsetDateTime) -> Option<Finding> {
    let until = reach.until.filter(|until| *until < now + AHEAD)?;
    Some(Finding::warning(
        format!("{} has no partition for what comes after {}", reach.table.as_str(), until.date()),
        "workers make them each hour: check that one runs, and what it logs about its step months; \
         `verdict migrate` makes them at once",
    ))
}

fn of_no_month(reach: &Reach) -> Option<Finding> {
    (reach.of_no_month > 0).then(|| {
        Finding::warning(
            format!(
                "{} of {} in no month's partition, which retention cannot drop",
                counted(reach.of_no_month, "row", "rows"),
                reach.table.as_str()
            ),
            "check that the clocks of the workers are right; the rows are found as all others, and \
             up to 10000 of a month move once it has its partition",
        )
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::State;
    use super::*;
    use crate::store::months::MonthlyTable;

    #[test]
    fn a_segment_of_the_audit_that_stays_open_is_found() {
        let segment_since = datetime!(2026-12-01 0:00 UTC);
        let state =
            |has_partition, now| of_audit(AuditReach { segment_since, has_partition }, now).state;
        assert_eq!(state(true, datetime!(2027-01-31 23:00 UTC)), State::Ok);
        assert_eq!(state(true, datetime!(2027-02-02 0:00 UTC)), State::Warning);
        assert_eq!(state(false, datetime!(2026-12-02 0:00 UTC)), State::Failed);
    }

    #[test]
    fn a_month_that_is_not_made_ahead_is_found_before_it_begins() {
        let until = datetime!(2027-02-01 0:00 UTC);
        let reach =
            |of_no_month| [Reach { table: MonthlyTable::Results, until: Some(until), of_no_month }];
        let states = |tables: &[Reach], now| -> Vec<State> {
            of_reach(tables, now).into_iter().map(|finding| finding.state).collect()
        };
        assert_eq!(states(&reach(0), datetime!(2026-12-31 0:00 UTC)), [State::Ok]);
        assert_eq!(states(&reach(0), datetime!(2027-01-02 0:00 UTC)), [State::Warning]);
        assert_eq!(states(&reach(3), datetime!(2026-12-31 0:00 UTC)), [State::Warning]);
        let both = [State::Warning, State::Warning];
        assert_eq!(states(&reach(3), datetime!(2027-03-01 0:00 UTC)), both);
    }
}
