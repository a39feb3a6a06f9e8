//! The section about reviews, as the console needs it.

use std::time::Duration;

use policy::visible;

use super::checks::seconds;
use super::error::{self, Collector, ConfigError, ConfigErrors, wrong};
use super::raw::{Config, RawPurpose, RawReason};
use crate::domain::callback::BizType;
use crate::domain::case::{Choice, Purpose, Reason, Reasons, Settings, Targets};
use crate::domain::review;

/// Longest name of a reason or a purpose, in characters.
const MAX_NAME_CHARS: usize = 80;

impl Config {
    /// How people work on cases.
    pub fn reviews(&self) -> Result<Settings, ConfigErrors> {
        let raw = &self.reviews;
        let mut found = Collector::default();
        let targets = found.take(self.targets());
        let golden_share = found.take(share("reviews.golden_share", raw.golden_share));
        let again_share = found.take(share("reviews.again_share", raw.again_share));
        let claim = found.take(claim(raw.claim_minutes));
        let undo = found.take(undo(raw.undo_seconds));
        let reasons = raw.reasons.iter().filter(|(_, reason)| !reason.off);
        let reasons: Vec<_> = reasons.map(|(code, raw)| found.take(reason(code, raw))).collect();
        let purposes = raw.reveal_purposes.iter().filter(|(_, purpose)| !purpose.off);
        let purposes: Vec<_> = purposes.map(|(code, raw)| found.take(purpose(code, raw))).collect();
        found.finish(|| {
            Some(Settings {
                reasons: Reasons::new(reasons.into_iter().collect::<Option<_>>()?),
                targets: targets?,
                golden_share: golden_share?,
                again_share: again_share?,
                claim: claim?,
                undo: undo?,
                reveal_purposes: purposes.into_iter().collect::<Option<_>>()?,
            })
        })
    }

    fn targets(&self) -> Result<Targets, ConfigErrors> {
        let raw = &self.reviews;
        let mut found = Collector::default();
        let general = found.take(minutes("reviews.target_minutes", raw.target_minutes));
        let scenes = raw.scene_target_minutes.iter().map(|(scene, target)| {
            let key = format!("reviews.scene_target_minutes.{scene}");
            let scene = BizType::parse(scene).or_else(|problem| wrong(key.as_str(), problem));
            let target = scene.and_then(|scene| Ok((scene.to_string(), minutes(&key, *target)?)));
            found.take(target)
        });
        let scenes: Vec<_> = scenes.collect();
        found.finish(|| {
            let scenes = scenes.into_iter().collect::<Option<_>>()?;
            Some(Targets { general: general?, scenes })
        })
    }
}

fn minutes(key: &str, value: f64) -> error::Result<Duration> {
    seconds(key, value * 60.0)
}

fn share(key: &str, value: f64) -> error::Result<f64> {
    if (0.0..=0.5).contains(&value) { Ok(value) } else { wrong(key, "must be from 0 to 0.5") }
}

fn claim(value: f64) -> error::Result<Duration> {
    const KEY: &str = "reviews.claim_minutes";
    if (1.0..=120.0).contains(&value) {
        minutes(KEY, value)
    } else {
        wrong(KEY, "must be from 1 to 120")
    }
}

fn undo(value: f64) -> error::Result<Duration> {
    if (0.0..=60.0).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        wrong("reviews.undo_seconds", "must be from 0 to 60")
    }
}

fn reason(code: &str, raw: &RawReason) -> Result<Reason, ConfigErrors> {
    let key = format!("reviews.reasons.{code}");
    let mut found = Collector::default();
    let known = found.take(review::reason(code).or_else(|problem| wrong(key.as_str(), problem)));
    let choices = found.take(choices(&format!("{key}.outcomes"), &raw.outcomes));
    let en = found.take(name(&format!("{key}.en"), &raw.en));
    let zh = found.take(name(&format!("{key}.zh"), &raw.zh));
    found.finish(|| Some(Reason { code: known?, choices: choices?, en: en?, zh: zh? }))
}

fn choices(key: &str, outcomes: &[String]) -> error::Result<Vec<Choice>> {
    let parsed: Option<Vec<Choice>> = outcomes.iter().map(|outcome| outcome.parse().ok()).collect();
    parsed.filter(|choices| !choices.is_empty()).ok_or_else(|| {
        ConfigError::new(key, "must be a list of approve, retry, reject and escalate")
    })
}

fn purpose(code: &str, raw: &RawPurpose) -> Result<Purpose, ConfigErrors> {
    let key = format!("reviews.reveal_purposes.{code}");
    let mut found = Collector::default();
    let known = found.take(review::reason(code).or_else(|problem| wrong(key.as_str(), problem)));
    let en = found.take(name(&format!("{key}.en"), &raw.en));
    let zh = found.take(name(&format!("{key}.zh"), &raw.zh));
    found.finish(|| Some(Purpose { code: known?, en: en?, zh: zh? }))
}

fn name(key: &str, text: &str) -> error::Result<String> {
    let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && visible::is_text(text);
    if fits { Ok(text.to_owned()) } else { wrong(key, "must be 1 to 80 visible characters") }
}

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::*;
    use policy::decision::Outcome;

    fn read(text: &str) -> Result<Settings, ConfigErrors> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("verdict.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), &Environment::new())?.reviews()
    }

    #[test]
    fn default_lists_have_a_reason_for_every_outcome_and_can_be_changed() {
        let settings = read("").unwrap();
        for outcome in [Outcome::Approve, Outcome::Retry, Outcome::Reject] {
            assert!(settings.reasons.for_outcome(outcome).count() > 0, "{outcome}");
        }
        assert!(settings.reasons.for_escalation().count() > 0);
        assert!(!settings.reveal_purposes.is_empty());
        let changed = read(
            "[reviews.reasons.faces-match]\noff = true\n[reviews.reasons.vip]\n\
             outcomes = [\"approve\"]\nen = \"Known\"\nzh = \"熟客\"\n\
             [reviews.scene_target_minutes]\nfast = 1.5\n\
             [reviews.reveal_purposes.decide-case]\noff = true\n",
        )
        .unwrap();
        assert!(changed.reasons.check(Outcome::Approve, "faces-match").is_err());
        assert_eq!(changed.reasons.check(Outcome::Approve, "vip").unwrap().zh, "熟客");
        assert_eq!(changed.targets.of("fast"), Duration::from_secs(90));
        assert_eq!(changed.reveal_purposes.len() + 1, settings.reveal_purposes.len());
    }
}
