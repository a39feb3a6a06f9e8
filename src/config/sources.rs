//! Sources of callbacks: their secrets, their limits, and the groups that share verifications.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::checks::{read_secret, web_address};
use super::error::{ConfigError, ConfigErrors, Subject};
use super::raw::{Config, RawSource};
use crate::domain::returning::ReturnUrls;
use crate::domain::scenes::Scenes;
use crate::domain::source::SourceAccess;
use crate::http::rate_limit::RateLimit;
use crate::http::sources::{Source, Sources};
use crate::vault::callback_signature::Secret;

impl Config {
    /// The sources that may post callbacks, or every wrong key of the section.
    pub fn sources(&self) -> Result<Sources, ConfigErrors> {
        let mut wrong = Vec::new();
        if self.sources.is_empty() {
            let example =
                "at least one is required, for example [sources.app] secrets = [\"whsec_…\"]";
            complain(&mut wrong, "sources", example);
        }
        let sources: Sources = self
            .sources
            .iter()
            .map(|(name, raw)| {
                (name.clone(), Arc::new(source(name, raw, &self.sources, &mut wrong)))
            })
            .collect();
        refuse_shared_secrets(&sources, &mut wrong);
        if wrong.is_empty() { Ok(sources) } else { Err(ConfigErrors(wrong)) }
    }

    /// The names of all sources. Nothing else of them is read.
    pub fn source_names(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    /// `(source, peer)`, for each two sources of one group. A worker needs no secrets for it.
    pub fn groups(&self) -> Vec<(String, String)> {
        let pairs_of = |(name, raw): (&String, &RawSource)| {
            let name = name.clone();
            peers(&name, raw, &self.sources)
                .iter()
                .map(|peer| (name.clone(), peer.clone()))
                .collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(pairs_of).collect()
    }
}

fn complain(wrong: &mut Vec<ConfigError>, key: impl Into<Subject>, problem: impl fmt::Display) {
    wrong.push(ConfigError::new(key, problem));
}

fn source(
    name: &str,
    raw: &RawSource,
    all: &BTreeMap<String, RawSource>,
    wrong: &mut Vec<ConfigError>,
) -> Source {
    let key = |name_of: &str| format!("sources.{name}.{name_of}");
    if !is_name(name) {
        let problem = "a name must be 1 to 64 letters, digits, hyphens, dots or underscores";
        complain(wrong, "sources", problem);
    }
    if raw.group.as_deref().is_some_and(|group| !is_name(group)) {
        let problem = "must be 1 to 64 letters, digits, hyphens, dots or underscores";
        complain(wrong, key("group"), problem);
    }
    if raw.requests_per_second == Some(0) {
        complain(wrong, key("requests_per_second"), "must be at least 1");
    }
    let scenes = match &raw.scenes {
        None => Scenes::EVERY,
        Some(names) => Scenes::only(names.iter().map(String::as_str)).unwrap_or_else(|problem| {
            complain(wrong, key("scenes"), problem);
            Scenes::EVERY
        }),
    };
    Source {
        access: SourceAccess { name: name.to_owned(), peers: peers(name, raw, all) },
        scenes,
        secrets: secrets(name, raw, wrong),
        rate: raw.requests_per_second.map(RateLimit::new),
        return_urls: return_urls(name, raw, wrong),
    }
}

/// Names end up in paths, and in pairs that are separated by blanks.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 64 && text.chars().all(fits)
}

/// The other sources of its group.
fn peers(name: &str, raw: &RawSource, all: &BTreeMap<String, RawSource>) -> Arc<[String]> {
    all.iter()
        .filter(|(other, _)| *other != name)
        .filter(|(_, other)| raw.group.is_some() && other.group == raw.group)
        .map(|(other, _)| other.clone())
        .collect()
}

fn secrets(name: &str, raw: &RawSource, wrong: &mut Vec<ConfigError>) -> Vec<Secret> {
    let key = format!("sources.{name}.secrets");
    let mut texts: Vec<Zeroizing<String>> =
        raw.secrets.iter().cloned().map(Zeroizing::new).collect();
    if let Some(file) = &raw.secrets_file {
        match read_secret(&format!("{key}_file"), file) {
            Ok(lines) => {
                texts.extend(lines.lines().map(|line| Zeroizing::new(line.trim().to_owned())));
            }
            Err(error) => {
                wrong.push(error);
                return Vec::new();
            }
        }
    }
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        complain(wrong, key.as_str(), "at least one is required (or secrets_file)");
    }
    let parsed = texts.iter().enumerate().filter_map(|(index, text)| {
        Secret::parse(text)
            .map_err(|error| complain(wrong, format!("{key}[{index}]"), error.to_string()))
            .ok()
    });
    parsed.collect()
}

fn return_urls(name: &str, raw: &RawSource, wrong: &mut Vec<ConfigError>) -> ReturnUrls {
    let parse = |(index, text): (usize, &String)| {
        web_address(&format!("sources.{name}.return_urls[{index}]"), text)
            .map_err(|error| wrong.push(error))
            .ok()
    };
    ReturnUrls::new(raw.return_urls.iter().enumerate().filter_map(parse).collect())
}

/// Two sources with one secret are not separate: a message signed with it verifies for both.
fn refuse_shared_secrets(sources: &Sources, wrong: &mut Vec<ConfigError>) {
    let all: Vec<(&String, &Secret)> = sources
        .iter()
        .flat_map(|(name, source)| source.secrets.iter().map(move |secret| (name, secret)))
        .collect();
    for (index, (name, secret)) in all.iter().enumerate() {
        let earlier =
            all[..index].iter().find(|(other, known)| other != name && known.is_same_as(secret));
        if let Some((other, _)) = earlier {
            let problem = format!(
                "holds a secret that [sources.{other}] has too: give each source its own secrets"
            );
            complain(wrong, format!("sources.{name}.secrets"), problem);
        }
    }
}
