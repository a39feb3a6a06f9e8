//! Configuration: the only reader of its files and of the environment handed in.
//!
//! Embedded defaults, then the file named by `--config`, then the environment. What is written is
//! read whole, unknown keys refused, and turned into the `Settings` of the layers; every complaint
//! names its key.

mod changes;
mod checks;
mod environment;
mod images;
mod keys;
mod load;
mod object_store;
mod origin;
mod sources;
mod whole;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::byte_order_mark;
use crate::domain::review::FourEyes;
use crate::http::body;
use crate::http::memory_budget::MemoryBudget;
use crate::http::server::Limits;
use crate::provider::USER_AGENT;
use crate::store;
use crate::telemetry;
use crate::vault::{Key, KeyRing};
use crate::worker;
use crate::worker::backoff::Backoff;
use crate::worker::next_step::Schedule;
pub use changes::Watched;
use checks::{
    address, at_least, collector, days, endpoint, given, millis, one_of, read_secret, seconds,
    secret,
};
use cloudauth::{client, credentials};
pub use environment::{Misnamed, misnamed};
pub use images::Images;
pub use origin::{Origin, advice};
use policy::visible;
pub use written::Config;

const DEFAULTS: &str = include_str!("../../config/default.toml");
/// For bodies of callers with an API key, beyond the first 2 KiB of each.
const VERIFIED_BYTES: usize = 16 << 20;
const DEFAULT_POLICY: &str = include_str!("../../config/policy.toml");

/// One complaint: which key, and what is wrong with it. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {key}: {problem}")]
pub struct ConfigError {
    /// As written: `provider.signature`, `vault.keys[0].secret`.
    pub key: String,
    /// One sentence.
    pub problem: String,
}

/// Everything that is wrong, at least one complaint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {}", .0.iter().map(line).collect::<Vec<_>>().join("; "))]
pub struct ConfigErrors(pub Vec<ConfigError>);

fn line(error: &ConfigError) -> String {
    format!("{}: {}", error.key, error.problem)
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

type Result<T> = std::result::Result<T, ConfigError>;

fn wrong<T>(key: impl Into<String>, problem: impl fmt::Display) -> Result<T> {
    Err(ConfigError { key: key.into(), problem: problem.to_string() })
}

/// The process's environment, read once.
pub type Environment = BTreeMap<String, String>;

impl Config {
    /// Where Postgres is.
    pub fn store(&self) -> Result<store::Settings> {
        let database = &self.database;
        let url = secret("database.url", &database.url, database.url_file.as_deref())?;
        if url.is_empty() {
            return wrong("database.url", "is required (or database.url_file, or DATABASE_URL)");
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return wrong("database.url", "must begin with postgres://");
        }
        let settings = store::Settings {
            url: with_files_of(self.folder_of_database_url(), &url)?.into(),
            max_connections: at_least("database.max_connections", database.max_connections, 2)?,
            timeout: seconds("database.timeout_seconds", database.timeout_seconds)?,
        };
        store::Store::check(&settings).or_else(|error| wrong("database.url", error))?;
        Ok(settings)
    }

    /// Of the file that the URL is written in; `None` for a variable.
    fn folder_of_database_url(&self) -> Option<&Path> {
        let file = match given(self.database.url_file.as_deref()) {
            Some(file) => Some(file),
            None if matches!(self.origins.of("database.url"), Origin::File { .. }) => {
                self.file.as_deref()
            }
            None => None,
        };
        file.and_then(Path::parent)
    }

    /// Connections to Postgres of one process.
    pub fn max_connections(&self) -> u32 {
        self.database.max_connections
    }

    /// Where callbacks and the API are served.
    pub fn http_listen(&self) -> Result<SocketAddr> {
        address("http.listen", &self.http.listen)
    }

    /// Where metrics and health are served.
    pub fn operations_listen(&self) -> Result<SocketAddr> {
        address("operations.listen", &self.operations.listen)
    }

    /// File descriptors that a process needs beside the connections of callers: to the database,
    /// and while it works to the provider and to hosts of images, each with a file or store.
    pub fn descriptors_needed(&self, works: bool) -> Result<usize> {
        let database = usize::try_from(self.database.max_connections).unwrap_or(usize::MAX);
        let calls = if works {
            // An image is read from its host and put into the store.
            self.worker()?.concurrency.saturating_add(2 * self.images()?.concurrency)
        } else {
            0
        };
        // One more listens for notifications.
        Ok(database.saturating_add(1).saturating_add(calls))
    }

    /// Limits of connections.
    pub fn limits(&self) -> Result<Limits> {
        let header_read = seconds("http.header_read_seconds", self.http.header_read_seconds)?;
        Ok(Limits {
            connections: at_least("http.max_connections", self.http.max_connections, 1)?,
            first_byte: seconds("http.first_byte_seconds", self.http.first_byte_seconds)?
                .min(header_read),
            header_read,
            write_stall: seconds("http.write_stall_seconds", self.http.write_stall_seconds)?,
            drain: self.drain()?,
        })
    }

    /// Limits of reading bodies.
    pub fn body_limits(&self) -> Result<body::Limits> {
        const UNVERIFIED: &str = "callbacks.unverified_bytes";
        let least = 4 * body::MAX_CALLBACK_BYTES;
        let unverified = at_least(UNVERIFIED, self.callbacks.unverified_bytes, least)?;
        Ok(body::Limits {
            first_byte: seconds("http.first_byte_seconds", self.http.first_byte_seconds)?,
            whole: seconds("http.body_read_seconds", self.http.body_read_seconds)?,
            unverified: MemoryBudget::new(unverified),
            verified: MemoryBudget::new(VERIFIED_BYTES),
        })
    }

    /// Long polls that one API key may have open.
    pub fn waits_per_key(&self) -> Result<usize> {
        at_least("http.waits_per_key", self.http.waits_per_key, 1)
    }

    /// Whether the public listener serves `/docs`.
    pub fn serves_docs(&self) -> bool {
        self.http.docs
    }

    /// Callbacks written by one commit at most.
    pub fn max_batch(&self) -> Result<usize> {
        let most = store::callbacks::MAX_BATCH;
        match self.callbacks.max_batch {
            n if (1..=most).contains(&n) => Ok(n),
            _ => wrong("callbacks.max_batch", format!("must be from 1 to {most}")),
        }
    }

    /// Whether any key of the vault is configured.
    pub fn has_vault_keys(&self) -> bool {
        !self.vault.keys.is_empty()
    }

    /// The key ring.
    pub fn key_ring(&self) -> Result<KeyRing> {
        if self.vault.keys.is_empty() {
            return wrong("vault.keys", "at least one is required");
        }
        let mut keys = Vec::new();
        for (index, raw) in self.vault.keys.iter().enumerate() {
            let name = format!("vault.keys[{index}].secret");
            let text = secret(&name, &raw.secret, raw.secret_file.as_deref())?;
            let key = Key::parse(raw.id.clone(), text.trim())
                .or_else(|error| wrong(format!("vault.keys[{index}]"), error))?;
            keys.push(key);
        }
        KeyRing::new(keys).or_else(|error| wrong("vault.keys", error))
    }

    /// How to call the provider.
    pub fn provider(&self) -> Result<client::Settings> {
        let raw = &self.provider;
        Ok(client::Settings {
            endpoint: endpoint(&raw.endpoint)?,
            region: raw.region.clone(),
            signature: one_of(
                "provider.signature",
                &raw.signature,
                &[("v2", client::SignatureVersion::V2), ("v3", client::SignatureVersion::V3)],
            )?,
            method: one_of(
                "provider.method",
                &raw.method,
                &[("POST", client::Method::Post), ("GET", client::Method::Get)],
            )?,
            format: one_of(
                "provider.format",
                &raw.format,
                &[("JSON", client::Format::Json), ("XML", client::Format::Xml)],
            )?,
            connect_timeout: millis("provider.connect_timeout_ms", raw.connect_timeout_ms)?,
            timeout: millis("provider.timeout_ms", raw.timeout_ms)?,
            user_agent: USER_AGENT.to_owned(),
        })
    }

    /// Where the access key comes from: the one given here, else the vendor's chain.
    pub fn credentials(&self) -> Result<credentials::Settings> {
        let raw = &self.provider;
        let file = given(raw.access_key_secret_file.as_deref());
        let key_secret = match (raw.access_key_secret.as_str(), file) {
            ("", None) => None,
            // Read again after it was refused, so that a corrected file heals without a restart.
            ("", Some(file)) => {
                read_secret("provider.access_key_secret_file", file)?;
                Some(credentials::Secret::File(file.to_owned()))
            }
            (value, None) => Some(credentials::Secret::Value(value.to_owned().into())),
            (_, Some(_)) => {
                return wrong("provider.access_key_secret", "is given twice: here and as a file");
            }
        };
        let token = secret(
            "provider.security_token",
            &raw.security_token,
            raw.security_token_file.as_deref(),
        )?;
        let fixed = match (raw.access_key_id.is_empty(), key_secret) {
            (true, None) => None,
            (false, Some(access_key_secret)) => Some(credentials::Fixed {
                access_key_id: raw.access_key_id.clone(),
                access_key_secret,
                security_token: (!token.is_empty()).then(|| token.into()),
            }),
            (true, Some(_)) => {
                return wrong("provider.access_key_id", "is required with access_key_secret");
            }
            (false, None) => {
                return wrong("provider.access_key_secret", "is required with access_key_id");
            }
        };
        Ok(credentials::Settings {
            fixed,
            user_agent: Some(USER_AGENT.to_owned()),
            session_name: Some("verdict".to_owned()),
            ..Default::default()
        })
    }

    /// The provider account's name.
    pub fn account(&self) -> Result<String> {
        match self.provider.account.as_str() {
            "" => wrong("provider.account", "must not be empty"),
            hidden if !visible::is_line(hidden) => {
                wrong("provider.account", "must be visible characters, on one line")
            }
            account => Ok(account.to_owned()),
        }
    }

    /// How the worker works.
    pub fn worker(&self) -> Result<worker::Settings> {
        let raw = &self.worker;
        let queries_per_second = self.provider.queries_per_second;
        if !(0.01..=100_000.0).contains(&queries_per_second) {
            return wrong("provider.queries_per_second", "must be from 0.01 to 100000");
        }
        if raw.unfinished_schedule_ms.is_empty() {
            return wrong("worker.unfinished_schedule_ms", "must not be empty");
        }
        let unfinished = raw
            .unfinished_schedule_ms
            .iter()
            .map(|ms| millis("worker.unfinished_schedule_ms", *ms))
            .collect::<Result<_>>()?;
        Ok(worker::Settings {
            account: self.account()?,
            concurrency: at_least("worker.concurrency", raw.concurrency, 1)?,
            queries_per_second,
            lease: seconds(
                "worker.lease_seconds",
                at_least("worker.lease_seconds", raw.lease_seconds, 1.0)?,
            )?,
            drain: self.drain()?,
            faults_to_open: at_least("worker.faults_to_open", raw.faults_to_open, 1)?,
            longest_probe: seconds("worker.longest_probe_seconds", raw.longest_probe_seconds)?,
            schedule: Schedule {
                unfinished,
                backoff: Backoff::new(
                    millis("worker.backoff_first_ms", raw.backoff_first_ms)?,
                    millis("worker.backoff_longest_ms", raw.backoff_longest_ms)?,
                ),
                unreadable_tries: at_least("worker.unreadable_tries", raw.unreadable_tries, 1)?,
                transient_tries: at_least("worker.transient_tries", raw.transient_tries, 1)?,
            },
            keep_persons: days("retention.person_days", self.retention.person_days)?,
            keep_images: days("retention.images_days", self.retention.images_days)?,
            keep_callbacks: days("retention.callbacks_days", self.retention.callbacks_days)?,
        })
    }

    /// How long an unfinished verification is asked about after its last callback.
    pub fn window(&self) -> Result<Duration> {
        seconds("worker.unfinished_minutes", self.worker.unfinished_minutes * 60.0)
    }

    /// After a stop.
    pub fn drain(&self) -> Result<Duration> {
        seconds("worker.drain_seconds", self.worker.drain_seconds)
    }

    /// Which verdicts of persons need another's.
    pub fn four_eyes(&self) -> Result<FourEyes> {
        one_of(
            "reviews.four_eyes",
            &self.reviews.four_eyes,
            &[("off", FourEyes::Off), ("approvals", FourEyes::Approvals), ("all", FourEyes::All)],
        )
    }

    /// Whether what decides is changed by two persons.
    pub fn policies_need_two(&self) -> Result<bool> {
        let four_eyes = &self.policies.four_eyes;
        one_of("policies.four_eyes", four_eyes, &[("off", false), ("on", true)])
    }

    /// The policy text that seeds an empty database.
    pub fn policy_text(&self) -> Result<String> {
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

    /// How to log.
    pub fn log(&self) -> Result<telemetry::Settings> {
        let json = one_of("log.format", &self.log.format, &[("json", true), ("text", false)])?;
        Ok(telemetry::Settings { json, filter: self.log.filter.clone() })
    }

    /// Where traces are exported to; `None`: nowhere.
    pub fn traces(&self) -> Result<Option<telemetry::export::Settings>> {
        let raw = &self.traces;
        if !(0.0..=1.0).contains(&raw.sample) {
            return wrong("traces.sample", "must be from 0 to 1");
        }
        if raw.endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = collector(&raw.endpoint)?;
        Ok(Some(telemetry::export::Settings { endpoint, sample: raw.sample }))
    }
}

/// The files that a database URL names, for TLS; relative ones go by this folder. A PEM text in their
/// place is no file.
fn with_files_of(folder: Option<&Path>, text: &str) -> Result<String> {
    let Ok(mut url) = url::Url::parse(text) else { return Ok(text.to_owned()) };
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let mut moved = false;
    for (name, value) in &mut pairs {
        if !DATABASE_FILES.contains(&name.as_str()) || value.contains("-----BEGIN") {
            continue;
        }
        let file = folder.map_or_else(|| PathBuf::from(&*value), |folder| folder.join(&*value));
        if let Err(error) = std::fs::File::open(&file) {
            return wrong(
                "database.url",
                format!(
                    "{name}={} cannot be read: {}",
                    file.display(),
                    crate::causes::of_io(&error)
                ),
            );
        }
        if let Some(file) = file.to_str()
            && file != value
        {
            file.clone_into(value);
            moved = true;
        }
    }
    if moved {
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    Ok(if moved { url.into() } else { text.to_owned() })
}

/// Parameters of a database URL that name files, in each of their spellings.
const DATABASE_FILES: [&str; 7] =
    ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
