//! What has to be done now and then, by any worker: erasures that were begun and not finished,
//! what is older than its retention allows, the count of persons, checkpoints of the audit.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use crate::policies::past::{Pace, sample};
use crate::store;
use crate::store::audit::AuditCheckpoint;
use policy::calibration::{Calibration, stability};

/// Persons with kept faces at which an alarm goes off, and the legal threshold itself.
const PERSONS_ALARMS: [i64; 3] = [80_000, 95_000, 100_000];
/// Distance of two counts: they go through an index with an entry for every face.
const COUNT_EVERY: Duration = Duration::from_mins(1);

/// What is done less often than a round.
#[derive(Debug, Default)]
struct Rarely {
    persons: Persons,
    drift: Option<Instant>,
}

/// Scores of the last week are compared with those of four weeks before it.
const DRIFT_NOW: Duration = Duration::from_hours(7 * 24);
const DRIFT_BEFORE: Duration = Duration::from_hours(28 * 24);
/// Distance of two comparisons.
const DRIFT_EVERY: Duration = Duration::from_hours(1);
/// Into how many parts each period is cut, and how many answers of each part are looked at.
const DRIFT_SAMPLE: (u32, i64) = (168, 300);
/// From which stability index on an alarm goes off, by custom.
const DRIFT_ALARM: f64 = 0.25;

/// The newest count of persons.
#[derive(Debug, Default)]
struct Persons {
    counted_at: Option<Instant>,
    /// The highest alarm that was logged.
    said: i64,
}

/// Most batches of earlier erasures that one round coarsens: upkeep must not take a database for
/// itself.
const COARSENED_BATCHES: usize = 50;
/// Distance of two rounds.
const EVERY: Duration = Duration::from_secs(10);

impl Worker {
    /// For ever. Several workers may do it at once: each step is done once, or twice with the same
    /// result.
    pub(super) async fn keep_up(&self) {
        let mut rarely = Rarely::default();
        loop {
            self.upkeep(&mut rarely).await;
            tokio::time::sleep(self.up_to_doubled(EVERY)).await;
        }
    }

    /// Every step, whatever became of those before it.
    async fn upkeep(&self, rarely: &mut Rarely) {
        let steps = [
            ("vault-key", self.say_which_key_wraps().await),
            ("audit", self.checkpoint_audit().await),
            ("erasures", self.finish_erasures().await),
            ("coarsening", self.coarsen_earlier_erasures().await),
            ("retention", self.retain().await),
            ("persons", self.count_persons(&mut rarely.persons).await),
            ("drift", self.look_for_drift(&mut rarely.drift).await),
        ];
        for (step, outcome) in steps {
            if let Err(error) = outcome {
                tracing::warn!(%error, step, "upkeep step failed; rescheduled");
            }
        }
    }

    /// For a rotation that goes on beside: the key is needed as long as somebody wraps with it.
    async fn say_which_key_wraps(&self) -> store::Result<()> {
        self.store.vault_keys().use_vault_key(self.vault.primary_id(), self.clock.now()).await
    }

    async fn finish_erasures(&self) -> store::Result<()> {
        let finished = self.store.erasures().finish_erasures(self.clock.now()).await?;
        if finished > 0 {
            self.signals.task_is_due();
            tracing::info!(finished, "erasures finished");
        }
        while self.store.erasures().erase_old_digests().await? > 0 {}
        Ok(())
    }

    /// Erasures by versions that left exact evidence behind, a batch at a time.
    async fn coarsen_earlier_erasures(&self) -> store::Result<()> {
        let mut finished = 0;
        for _ in 0..COARSENED_BATCHES {
            let batch = self.store.erasures().coarsen_earlier_erasures(self.clock.now()).await?;
            finished += batch;
            if batch == 0 {
                break;
            }
        }
        if finished > 0 {
            tracing::info!(finished, "evidence of earlier erasures coarsened");
        }
        Ok(())
    }

    /// Whoever keeps the faces of 100,000 persons has to register as one who does (the measures on
    /// face recognition of 2025, article 15): alarms go off before that.
    async fn count_persons(&self, persons: &mut Persons) -> store::Result<()> {
        if persons.counted_at.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
            return Ok(());
        }
        let count = self.store.images().persons_with_faces().await?;
        persons.counted_at = Some(Instant::now());
        metrics::gauge!("verdict_persons_with_faces").set(u32::try_from(count).unwrap_or(u32::MAX));
        for threshold in PERSONS_ALARMS {
            let reached = count >= threshold;
            metrics::gauge!("verdict_persons_alarm", "threshold" => threshold.to_string())
                .set(u8::from(reached));
            if reached && persons.said < threshold {
                tracing::error!(count, threshold, "faces of very many persons are stored");
                persons.said = threshold;
            }
        }
        Ok(())
    }

    /// Whether scores are distributed as they were: a provider's new model, another kind of customer
    /// and an attack all show here first.
    async fn look_for_drift(&self, last: &mut Option<Instant>) -> store::Result<()> {
        if last.is_some_and(|at| at.elapsed() < DRIFT_EVERY) {
            return Ok(());
        }
        *last = Some(Instant::now());
        let now = self.clock.now();
        let ago = |time: Duration| now.checked_sub(time.try_into().ok()?);
        let (Some(week), Some(before)) = (ago(DRIFT_NOW), ago(DRIFT_NOW + DRIFT_BEFORE)) else {
            return Ok(());
        };
        let look = async |period| sample(&self.store, period, DRIFT_SAMPLE, Pace::Polite).await;
        let (before, now) = (look((before, week)).await?, look((week, now)).await?);
        tell_drift(&before, &now);
        Ok(())
    }

    /// The chain's end, under a key that the database does not hold in the clear. It is logged
    /// too: what has left the machine with the log cannot be changed with the database.
    async fn checkpoint_audit(&self) -> store::Result<()> {
        let (position, digest) = self.store.audit().audit_head().await?;
        if position <= self.store.audit().audit_checkpointed_to().await? {
            return Ok(());
        }
        // A database that was only started on can still be given another key of the vault. The next
        // checkpoint holds this row too.
        if position == 1 && self.store.audit().audit_is_only_the_seed().await? {
            return Ok(());
        }
        let at = self.clock.now();
        let micros = i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
        let mac = self.audit_seal.sign(position, micros, &digest).to_vec();
        let checkpoint = AuditCheckpoint { position, at, digest, mac };
        self.store.audit().add_audit_checkpoint(&checkpoint).await?;
        tracing::info!(position, digest = hex::encode(&checkpoint.digest), "audit checkpoint");
        Ok(())
    }
}

fn tell_drift(before: &Calibration, now: &Calibration) {
    for score in ["authority", "face", "id_card_face"] {
        let of = |calibration: &Calibration| calibration.sum(|group| group.score == score);
        let psi = stability(&of(before), &of(now));
        metrics::gauge!("verdict_score_drift_psi", "score" => score).set(psi.unwrap_or(f64::NAN));
        metrics::gauge!("verdict_score_drift_alarm", "score" => score)
            .set(u8::from(psi.is_some_and(|psi| psi >= DRIFT_ALARM)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::calibration::Group;

    /// Face scores: this many at 95, this many at 65.
    fn scores(high: u64, low: u64) -> Calibration {
        let mut histogram = vec![0; 101];
        (histogram[95], histogram[65]) = (high, low);
        let (biz_type, week) = ("a".to_owned(), "2026-11-23".to_owned());
        let group = Group { biz_type, week, status: 1, score: "face" };
        let mut calibration = Calibration::default();
        calibration.histograms.insert(group, histogram);
        calibration
    }

    #[test]
    fn scores_that_are_distributed_otherwise_set_off_the_alarm() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            for (now, alarm) in [(scores(90, 10), 0), (scores(50, 50), 1), (scores(900, 100), 0)] {
                tell_drift(&scores(900, 100), &now);
                let said = handle.render();
                let face = format!("verdict_score_drift_alarm{{score=\"face\"}} {alarm}");
                assert!(said.lines().any(|line| line == face), "{said}");
                // Where there is nothing to compare there is nothing to warn of.
                assert!(
                    said.contains("verdict_score_drift_alarm{score=\"authority\"} 0"),
                    "{said}"
                );
                assert!(
                    said.contains("verdict_score_drift_psi{score=\"authority\"} NaN"),
                    "{said}"
                );
            }
        });
    }
}
