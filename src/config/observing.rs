//! The sections about logs and traces.

use super::checks::{collector, log_filter, one_of};
use super::error::{Collector, ConfigErrors, wrong};
use super::raw::Config;
use crate::telemetry;

impl Config {
    pub fn log(&self) -> Result<telemetry::Settings, ConfigErrors> {
        let mut found = Collector::default();
        let json =
            found.take(one_of("log.format", &self.log.format, &[("json", true), ("text", false)]));
        let filter = &self.log.filter;
        found.take(
            log_filter(filter)
                .and_then(|()| telemetry::check_filter(filter))
                .or_else(|problem| wrong("log.filter", problem)),
        );
        found.finish(|| Some(telemetry::Settings { json: json?, filter: filter.clone() }))
    }

    /// Where traces are exported to; `None`: nowhere.
    pub fn traces(&self) -> Result<Option<telemetry::export::Settings>, ConfigErrors> {
        let raw = &self.traces;
        let mut found = Collector::default();
        if !(0.0..=1.0).contains(&raw.sample) {
            found.take(wrong::<()>("traces.sample", "must be from 0 to 1"));
        }
        if raw.endpoint.is_empty() {
            return found.finish(|| Some(None));
        }
        let endpoint = found.take(collector(&raw.endpoint));
        let sample = raw.sample;
        found.finish(|| Some(Some(telemetry::export::Settings { endpoint: endpoint?, sample })))
    }
}
