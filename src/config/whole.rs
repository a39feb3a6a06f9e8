//! All of it at once: every complaint about a configuration, for one kind of process.

use super::checks::log_filter;
use super::{Config, ConfigError, ConfigErrors, Result};
use crate::telemetry;
use policy::Policy;

impl Config {
    /// Refuses a configuration that is wrong for such a process.
    pub fn check(&self, accepts: bool, works: bool) -> std::result::Result<(), ConfigErrors> {
        let complaints = self.complaints(accepts, works);
        if complaints.is_empty() { Ok(()) } else { Err(ConfigErrors(complaints)) }
    }

    /// Everything that is wrong for a process that accepts, works, or does both.
    pub fn complaints(&self, accepts: bool, works: bool) -> Vec<ConfigError> {
        let mut found = self.misread.clone();
        note(&mut found, self.log());
        note(&mut found, self.log_filter());
        note(&mut found, self.store());
        note(&mut found, self.operations_listen());
        note(&mut found, self.limits());
        note(&mut found, self.body_limits());
        note(&mut found, self.max_batch());
        note(&mut found, self.window());
        note(&mut found, self.account());
        note(&mut found, self.images());
        note(&mut found, self.traces());
        if accepts {
            note(&mut found, self.http_listen());
            found.extend(self.sources().err().into_iter().flatten());
            note(&mut found, self.four_eyes());
            note(&mut found, self.waits_per_key());
            note(&mut found, self.policies_need_two());
        }
        if works || self.has_vault_keys() {
            note(&mut found, self.key_ring());
        }
        if works {
            note(&mut found, self.provider());
            note(&mut found, self.credentials());
            note(&mut found, self.worker());
            note(&mut found, self.seed());
        }
        found
    }

    fn log_filter(&self) -> Result<()> {
        log_filter(&self.log.filter)
            .and_then(|()| telemetry::check_filter(&self.log.filter))
            .map_err(|problem| ConfigError { key: "log.filter".to_owned(), problem })
    }

    /// The policy that seeds an empty database.
    fn seed(&self) -> Result<Policy> {
        Policy::load(&self.policy_text()?).map_err(|findings| {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            ConfigError { key: "policy.file".to_owned(), problem: lines.join("; ") }
        })
    }
}

/// Two parts may complain of the same key.
fn note<T>(found: &mut Vec<ConfigError>, outcome: Result<T>) {
    if let Err(error) = outcome
        && !found.iter().any(|known| known.key == error.key)
    {
        found.push(error);
    }
}
