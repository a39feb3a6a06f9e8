//! The section about the audit: the name of its log, and the witnesses that sign its heads.

use std::collections::BTreeSet;
use std::str::FromStr;

use merkle_log::note::{Kind, VerifyingKey, is_name};

use super::checks::{plain_url, seconds};
use super::error::{self, Collector, ConfigErrors, wrong};
use super::raw::{Config, RawWitness};
use crate::audit_log::heads::{HeadSettings, Witness};

impl Config {
    /// How the audit is known to others, and who signs its heads.
    pub fn audit(&self) -> Result<HeadSettings, ConfigErrors> {
        let raw = &self.audit;
        let mut found = Collector::default();
        let origin = found.take(self.log_origin());
        let every = found.take(seconds("audit.head_seconds", raw.head_seconds));
        let mut witnesses = Vec::new();
        let mut labels = BTreeSet::new();
        for (index, raw) in raw.witnesses.iter().enumerate() {
            let Some(witness) = found.take(witness(index, raw)) else { continue };
            if !labels.insert(witness.key.label()) {
                let key = format!("audit.witnesses[{index}].public_key");
                found.take(wrong::<()>(key, "is that of a witness before"));
            }
            witnesses.push(witness);
        }
        found.finish(|| Some(HeadSettings { origin: origin?, witnesses, every: every? }))
    }

    fn log_origin(&self) -> error::Result<Option<String>> {
        const KEY: &str = "audit.origin";
        let origin = &self.audit.origin;
        if origin.is_empty() {
            return if self.audit.witnesses.is_empty() {
                Ok(None)
            } else {
                wrong(
                    KEY,
                    "is required where there are witnesses: they know the audit by this name",
                )
            };
        }
        if !is_name(origin) {
            return wrong(KEY, "must have neither spaces nor a plus");
        }
        Ok(Some(origin.clone()))
    }
}

fn witness(index: usize, raw: &RawWitness) -> Result<Witness, ConfigErrors> {
    let mut found = Collector::default();
    let url = found.take(plain_url(&format!("audit.witnesses[{index}].url"), &raw.url));
    let key = format!("audit.witnesses[{index}].public_key");
    let key = found.take(match VerifyingKey::parse(&raw.public_key) {
        Ok(parsed) if parsed.kind() == Kind::Witness => Ok(parsed),
        Ok(_) => wrong(key, "is the key of a log, not of a witness"),
        Err(problem) => wrong(key, problem),
    });
    found.finish(|| Some(Witness { url: url?, key: key? }))
}

/// From the environment: the URL, a blank, and the key.
impl FromStr for RawWitness {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (url, public_key) = text.split_once(' ').ok_or(())?;
        Ok(Self { url: url.to_owned(), public_key: public_key.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::*;

    const KEY: &str = "witness.example/w1+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    const LOG: &str = "log.example/audit+42dbfa5e+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

    fn audit(text: &str, variables: &[(&str, &str)]) -> Result<HeadSettings, String> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("verdict.toml");
        std::fs::write(&file, text).unwrap();
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: Environment = variables.collect();
        let config =
            Config::load(Some(file.as_path()), &environment).map_err(|error| error.to_string())?;
        config.audit().map_err(|error| error.to_string())
    }

    fn one(url: &str, key: &str) -> String {
        format!("[[audit.witnesses]]\nurl = \"{url}\"\npublic_key = \"{key}\"\n")
    }

    #[test]
    fn witnesses_come_from_the_file_or_the_environment() {
        let named = "[audit]\norigin = \"log.example/audit\"\n";
        let read = audit(&format!("{named}{}", one("http://w1:8190/a/", KEY)), &[]).unwrap();
        let [witness] = &read.witnesses[..] else { panic!("{read:?}") };
        assert_eq!(witness.address("add-checkpoint"), "http://w1:8190/a/add-checkpoint");
        assert_eq!(witness.key.to_string(), KEY);
        let variable = format!("http://w1:8190 {KEY}");
        let read = audit(named, &[("VERDICT__AUDIT__WITNESSES", &variable)]).unwrap();
        assert_eq!(read.witnesses[0].address("x"), "http://w1:8190/x");
        let without = audit("", &[]).unwrap();
        assert!(without.origin.is_none() && without.witnesses.is_empty());
    }

    #[test]
    fn a_witness_that_cannot_be_asked_is_refused() {
        let named = "[audit]\norigin = \"log.example/audit\"\n";
        let with = |table: String| format!("{named}{table}");
        let twice = [one("http://w1", KEY), one("http://w2", KEY)].concat();
        for (text, says) in [
            (one("http://w1", KEY), "audit.origin: is required"),
            (with(one("ftp://w1", KEY)), "audit.witnesses[0].url: must be"),
            (with(one("http://w1?a=b", KEY)), "audit.witnesses[0].url: must"),
            (with(one("http://w1", LOG)), "audit.witnesses[0].public_key: is the key of a log"),
            (with(one("http://w1", &KEY[..20])), "audit.witnesses[0].public_key: must be a name"),
            (with(twice), "audit.witnesses[1].public_key: is that of a witness before"),
            ("[audit]\norigin = \"two words\"".to_owned(), "audit.origin: must have"),
        ] {
            let error = audit(&text, &[]).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
