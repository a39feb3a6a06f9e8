//! The sections about the worker, retention and the policy that seeds an empty database.

use std::time::Duration;

use policy::Policy;

use super::checks::{at_least, days, millis, seconds};
use super::error::{self, Collector, ConfigErrors, wrong};
use super::raw::Config;
use crate::domain::byte_order_mark;
use crate::worker;
use crate::worker::backoff::Backoff;
use crate::worker::next_step::Schedule;

const DEFAULT_POLICY: &str = include_str!("../../config/policy.toml");

impl Config {
    pub fn worker(&self) -> Result<worker::Settings, ConfigErrors> {
        let raw = &self.worker;
        let mut found = Collector::default();
        let queries_per_second = found.take(self.queries_per_second());
        let account = found.take(self.account());
        let concurrency = found.take(at_least("worker.concurrency", raw.concurrency, 1));
        let lease = found.take(
            at_least("worker.lease_seconds", raw.lease_seconds, 1.0)
                .and_then(|lease| seconds("worker.lease_seconds", lease)),
        );
        let drain = found.take(self.drain());
        let faults_to_open = found.take(at_least("worker.faults_to_open", raw.faults_to_open, 1));
        let longest_probe =
            found.take(seconds("worker.longest_probe_seconds", raw.longest_probe_seconds));
        let schedule = found.take(self.schedule());
        let keep_persons = found.take(days("retention.person_days", self.retention.person_days));
        let keep_images = found.take(days("retention.images_days", self.retention.images_days));
        let keep_callbacks =
            found.take(days("retention.callbacks_days", self.retention.callbacks_days));
        let keep_events = found.take(days("retention.events_days", self.retention.events_days));
        let keep_results = found.take(self.keep_results());
        let keep_decisions = found.take(self.keep_decisions());
        let keep_audit = found.take(self.keep_audit());
        let four_eyes = found.take(self.four_eyes());
        found.finish(|| {
            Some(worker::Settings {
                account: account?,
                concurrency: concurrency?,
                queries_per_second: queries_per_second?,
                lease: lease?,
                drain: drain?,
                faults_to_open: faults_to_open?,
                longest_probe: longest_probe?,
                schedule: schedule?,
                keep_persons: keep_persons?,
                keep_images: keep_images?,
                keep_callbacks: keep_callbacks?,
                keep_events: keep_events?,
                keep_results: keep_results?,
                keep_decisions: keep_decisions?,
                keep_audit: keep_audit?,
                four_eyes: four_eyes?,
            })
        })
    }

    /// A month goes once every verification in it is erased, so without `person_days` none would.
    fn keep_results(&self) -> error::Result<Option<Duration>> {
        self.no_shorter_than_persons("retention.results_days", self.retention.results_days)
    }

    fn keep_decisions(&self) -> error::Result<Option<Duration>> {
        const KEY: &str = "retention.decisions_days";
        let (days, events) = (self.retention.decisions_days, self.retention.events_days);
        let keep = self.no_shorter_than_persons(KEY, days)?;
        // The bodies of events are read from decisions.
        if days > 0 && !(1..=days).contains(&events) {
            return wrong(KEY, "needs a retention.events_days from 1 to as many days");
        }
        Ok(keep)
    }

    /// As long as a person's data is kept, so is the record of who read it. The database refuses less
    /// than half a year, too.
    fn keep_audit(&self) -> error::Result<Option<Duration>> {
        const KEY: &str = "retention.audit_days";
        let days = self.retention.audit_days;
        let keep = self.no_shorter_than_persons(KEY, days)?;
        if (1..183).contains(&days) {
            return wrong(KEY, "must be 0 or at least 183, half a year");
        }
        Ok(keep)
    }

    fn no_shorter_than_persons(&self, key: &str, value: u32) -> error::Result<Option<Duration>> {
        let keep = days(key, value)?;
        if value > 0 && !(1..=value).contains(&self.retention.person_days) {
            return wrong(key, "needs a retention.person_days from 1 to as many days");
        }
        Ok(keep)
    }

    fn queries_per_second(&self) -> error::Result<f64> {
        match self.provider.queries_per_second {
            rate if (0.01..=100_000.0).contains(&rate) => Ok(rate),
            _ => wrong("provider.queries_per_second", "must be from 0.01 to 100000"),
        }
    }

    fn schedule(&self) -> Result<Schedule, ConfigErrors> {
        let raw = &self.worker;
        let mut found = Collector::default();
        let unfinished = found.take(self.unfinished_schedule());
        let backoff_first = found.take(millis("worker.backoff_first_ms", raw.backoff_first_ms));
        let backoff_longest =
            found.take(millis("worker.backoff_longest_ms", raw.backoff_longest_ms));
        let unreadable_tries =
            found.take(at_least("worker.unreadable_tries", raw.unreadable_tries, 1));
        let transient_tries =
            found.take(at_least("worker.transient_tries", raw.transient_tries, 1));
        found.finish(|| {
            Some(Schedule {
                unfinished: unfinished?,
                backoff: Backoff::new(backoff_first?, backoff_longest?),
                unreadable_tries: unreadable_tries?,
                transient_tries: transient_tries?,
            })
        })
    }

    fn unfinished_schedule(&self) -> error::Result<Vec<Duration>> {
        const KEY: &str = "worker.unfinished_schedule_ms";
        if self.worker.unfinished_schedule_ms.is_empty() {
            return wrong(KEY, "must not be empty");
        }
        self.worker.unfinished_schedule_ms.iter().map(|ms| millis(KEY, *ms)).collect()
    }

    /// How long an unfinished verification is asked about after its last callback.
    pub fn window(&self) -> error::Result<Duration> {
        seconds("worker.unfinished_minutes", self.worker.unfinished_minutes * 60.0)
    }

    /// After a stop.
    pub fn drain(&self) -> error::Result<Duration> {
        seconds("worker.drain_seconds", self.worker.drain_seconds)
    }

    /// The policy text that seeds an empty database.
    pub fn policy_text(&self) -> error::Result<String> {
        let file = &self.policy.file;
        if file.as_os_str().is_empty() {
            return Ok(DEFAULT_POLICY.to_owned());
        }
        std::fs::read_to_string(file).map(byte_order_mark::removed).or_else(|error| {
            wrong(
                "policy.file",
                format!("{} cannot be read: {}", file.display(), crate::causes::of_io(&error)),
            )
        })
    }

    /// The policy that seeds an empty database, compiled.
    pub(super) fn seed(&self) -> error::Result<Policy> {
        Policy::load(&self.policy_text()?).or_else(|findings| {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            wrong("policy.file", lines.join("; "))
        })
    }
}
