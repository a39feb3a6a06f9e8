//! Upkeep, by any worker: completes interrupted erasures, makes partitions ahead, deletes what is older
//! than its retention allows, counts persons, writes checkpoints of the audit, measures drift.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use super::leases::Leases;
use super::months::MonthRounds;
use crate::periodic::{self, Periodic};
use crate::policies::past::{Pace, sample};
use crate::store;
use crate::store::audit::AuditCheckpoint;
use policy::calibration::{Calibration, SCORES, stability};

/// Persons with kept faces at which an alarm goes off, and the legal threshold itself.
const PERSONS_ALARMS: [i64; 3] = [80_000, 95_000, 100_000];
/// Between two counts: each reads an index with an entry for every face.
const COUNT_EVERY: Duration = Duration::from_mins(1);

/// Scores of the last week are compared with those of four weeks before it.
const DRIFT_NOW: Duration = Duration::from_hours(7 * 24);
const DRIFT_BEFORE: Duration = Duration::from_hours(28 * 24);
/// Between two comparisons.
const DRIFT_EVERY: Duration = Duration::from_hours(1);
/// Parts of each period, and answers that are read of each part.
const DRIFT_SAMPLE: (u32, i64) = (168, 300);
/// The alarm goes off at this stability index, by custom.
const DRIFT_ALARM: f64 = 0.25;

/// The newest count of persons.
#[derive(Debug, Default)]
struct Persons {
    counted_at: Option<Instant>,
    /// The highest threshold that was logged.
    logged: i64,
}

/// Most batches of earlier erasures that one round coarsens: upkeep must leave the database to
/// others.
const COARSENED_BATCHES: usize = 50;
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(15);

/// The upkeep of one process, in rounds.
struct Upkeep<'a> {
    worker: &'a Worker,
    leases: &'a Leases,
    persons: Persons,
    /// When scores were compared last.
    drift: Option<Instant>,
    /// When old events were dropped last.
    events: Option<Instant>,
    months: MonthRounds,
}

impl Periodic for Upkeep<'_> {
    /// Every step, even where one before it failed.
    async fn round(&mut self) -> Duration {
        let worker = self.worker;
        let steps = [
            ("vault-key", worker.report_wrapping_key().await),
            ("audit", worker.checkpoint_audit().await),
            ("erasures", worker.finish_erasures().await),
            ("coarsening", worker.coarsen_earlier_erasures().await),
            ("months", worker.make_months(&mut self.months).await),
            ("audit-segment", worker.turn_audit(&mut self.months).await),
            ("retention", worker.retain(self.leases).await),
            ("events", worker.drop_old_events(&mut self.events).await),
            ("old-months", worker.drop_old_months(&mut self.months).await),
            ("old-audit", worker.drop_old_audit(&mut self.months).await),
            ("deliveries", worker.delete_old_attempts().await),
            ("persons", worker.count_persons(&mut self.persons).await),
            ("drift", worker.measure_drift(&mut self.drift).await),
        ];
        for (step, outcome) in steps {
            if let Err(error) = outcome {
                tracing::warn!(%error, step, "upkeep step failed; rescheduled");
            }
        }
        EVERY
    }
}

impl Worker {
    /// Runs until dropped. Several workers may do it at once: each step is done once, or twice with
    /// the same result.
    pub(super) async fn keep_up(&self, leases: &Leases) {
        let upkeep = Upkeep {
            worker: self,
            leases,
            persons: Persons::default(),
            drift: None,
            events: None,
            months: MonthRounds::default(),
        };
        periodic::repeat(&self.ids, upkeep).await;
    }

    /// For a rotation under way: the key is needed as long as a process wraps with it.
    async fn report_wrapping_key(&self) -> store::Result<()> {
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

    /// An operator who stores the faces of 100,000 persons must register (the measures on face
    /// recognition of 2025, article 15). Alarms go off before that.
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
            if reached && persons.logged < threshold {
                tracing::error!(count, threshold, "faces of very many persons are stored");
                persons.logged = threshold;
            }
        }
        Ok(())
    }

    /// Compares the distribution of scores with that of before: a provider's new model, another kind
    /// of customer and an attack all show here first.
    async fn measure_drift(&self, last: &mut Option<Instant>) -> store::Result<()> {
        if last.is_some_and(|at| at.elapsed() < DRIFT_EVERY) {
            return Ok(());
        }
        *last = Some(Instant::now());
        let now = self.clock.now();
        let ago = |time: Duration| now.checked_sub(time.try_into().ok()?);
        let (Some(week), Some(before)) = (ago(DRIFT_NOW), ago(DRIFT_NOW + DRIFT_BEFORE)) else {
            return Ok(());
        };
        let read = async |period| sample(&self.store, period, DRIFT_SAMPLE, Pace::Polite).await;
        let (before, now) = (read((before, week)).await?, read((week, now)).await?);
        report_drift(&before, &now);
        Ok(())
    }

    /// Signs the chain's end with a key that the database does not hold in the clear. It is logged
    /// too: a log that has left the machine cannot be changed together with the database.
    async fn checkpoint_audit(&self) -> store::Result<()> {
        let (position, digest) = self.store.audit().audit_head().await?;
        if position <= self.store.audit().audit_checkpointed_to().await? {
            return Ok(());
        }
        // As long as the audit is only its first row, the vault's key can still be replaced. The next
        // checkpoint covers this row too.
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

fn report_drift(before: &Calibration, now: &Calibration) {
    for score in SCORES {
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
    use policy::evidence::Product;

    /// Face scores: this many at 95, this many at 65.
    fn scores(high: u64, low: u64) -> Calibration {
        let mut histogram = vec![0; 101];
        (histogram[95], histogram[65]) = (high, low);
        let (biz_type, week) = ("a".to_owned(), "2026-11-23".to_owned());
        let group = Group {
            biz_type,
            week,
            product: Product::VerifyResult,
            status: Some(1),
            code: None,
            passed: Some(true),
            score: "face",
        };
        let mut calibration = Calibration::default();
        calibration.histograms.insert(group, histogram);
        calibration
    }

    #[test]
    fn changed_score_distribution_sets_off_the_alarm() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            for (now, alarm) in [(scores(90, 10), 0), (scores(50, 50), 1), (scores(900, 100), 0)] {
                report_drift(&scores(900, 100), &now);
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
