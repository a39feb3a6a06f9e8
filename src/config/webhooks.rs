//! The section about webhooks.

use super::checks::{at_least, days};
use super::error::{Collector, ConfigErrors, wrong};
use super::raw::Config;
use crate::webhooks::Settings;
use crate::webhooks::targets::Targets;

impl Config {
    /// Where events may be delivered to, and for how long.
    pub fn webhooks(&self) -> Result<Settings, ConfigErrors> {
        let raw = &self.webhooks;
        let mut found = Collector::default();
        let targets = Targets::parse(raw.allow_private.iter().map(String::as_str));
        let targets = found.take(targets.or_else(|detail| wrong("webhooks.allow_private", detail)));
        let disable_after = found.take(days("webhooks.disable_after_days", raw.disable_after_days));
        let keep_deliveries =
            found.take(days("webhooks.keep_deliveries_days", raw.keep_deliveries_days));
        let max_endpoints = found.take(at_least("webhooks.max_endpoints", raw.max_endpoints, 1));
        found.finish(|| {
            Some(Settings {
                targets: targets?,
                disable_after: disable_after?,
                keep_deliveries: keep_deliveries?,
                max_endpoints: max_endpoints?,
            })
        })
    }
}
