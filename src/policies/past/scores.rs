//! The scores of the past.

use policy::calibration::Calibration;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::range::{Pace, Range};
use crate::store::history::{PAGE, PastAnswer};
use crate::store::{self, Store};

/// Histograms of the scores in a range.
pub async fn calibrate(
    store: &Store,
    range: &Range,
    mut calibration: Calibration,
    pace: Pace,
    mut tell: impl FnMut(u64),
) -> store::Result<Calibration> {
    let mut after = range.start();
    loop {
        let worked = Instant::now();
        let batch = store.history().answers_after(after, PAGE).await?;
        let Some(last) = batch.last() else { break };
        after = last.id;
        count(&mut calibration, range, &batch);
        tell(calibration.answers);
        pace.rest(worked).await;
        if range.is_over(after) {
            break;
        }
    }
    Ok(calibration)
}

/// Histograms of the scores of some answers of a time, which is cut into as many equal parts as
/// are wanted: the first answers of each part, so that no hour speaks for all.
pub async fn sample(
    store: &Store,
    (from, to): (OffsetDateTime, OffsetDateTime),
    (parts, of_each): (u32, i64),
    pace: Pace,
) -> store::Result<Calibration> {
    let mut calibration = Calibration::default();
    let part = (to - from) / parts;
    for n in 0..parts {
        let worked = Instant::now();
        let since = from + part * n;
        let range = Range { since: Some(since), until: Some(since + part), ..Range::default() };
        let batch = store.history().answers_after(range.start(), of_each).await?;
        count(&mut calibration, &range, &batch);
        pace.rest(worked).await;
    }
    Ok(calibration)
}

fn count(calibration: &mut Calibration, range: &Range, batch: &[PastAnswer]) {
    for answer in batch.iter().filter(|a| range.holds(a.id, &a.evidence.biz_type)) {
        if answer.erased {
            calibration.erased += 1;
            continue;
        }
        calibration.add(&answer.evidence, answer.fetched_at.date());
    }
}
