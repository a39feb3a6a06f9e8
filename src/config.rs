//! Configuration: the only reader of files and environment.
//!
//! Embedded defaults, then the file named by `--config`, then the environment. What is written is
//! read whole, unknown keys refused, and turned into the `Settings` of the layers; every complaint
//! names its key.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::http::callbacks::{Source, Sources};
use crate::http::rate::RateLimit;
use crate::http::server::Limits;
use crate::provider::{client, credentials};
use crate::store;
use crate::telemetry;
use crate::vault::webhook::Secret;
use crate::vault::{Key, KeyRing};
use crate::worker;
use crate::worker::next_step::Schedule;

const DEFAULTS: &str = include_str!("../config/default.toml");
const DEFAULT_POLICY: &str = include_str!("../config/policy.toml");

/// One complaint: which key, and what is wrong with it. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {key}: {problem}")]
pub struct ConfigError {
    /// As written: `provider.signature`, `vault.keys[0].secret`.
    pub key: String,
    /// One sentence.
    pub problem: String,
}

type Result<T> = std::result::Result<T, ConfigError>;

fn wrong<T>(key: impl Into<String>, problem: impl fmt::Display) -> Result<T> {
    Err(ConfigError { key: key.into(), problem: problem.to_string() })
}

/// The process's environment, read once.
pub type Environment = BTreeMap<String, String>;

/// What is written, merged and of the right types, not yet checked. The parts are checked by the
/// methods, so that a command asks only for what it needs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    http: Http,
    operations: Operations,
    database: Database,
    callbacks: Callbacks,
    #[serde(default)]
    sources: BTreeMap<String, RawSource>,
    provider: Provider,
    vault: RawVault,
    images: Images,
    policy: Policy,
    worker: Worker,
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    listen: String,
    max_connections: usize,
    header_read_seconds: f64,
    body_read_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operations {
    listen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    url: String,
    url_file: Option<PathBuf>,
    max_connections: u32,
    timeout_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Callbacks {
    max_batch: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    #[serde(default, deserialize_with = "list")]
    secrets: Vec<String>,
    secrets_file: Option<PathBuf>,
    requests_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    endpoint: String,
    region: String,
    signature: String,
    method: String,
    format: String,
    access_key_id: String,
    access_key_secret: String,
    access_key_secret_file: Option<PathBuf>,
    security_token: String,
    security_token_file: Option<PathBuf>,
    queries_per_second: f64,
    account: String,
    connect_timeout_ms: u64,
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVault {
    #[serde(deserialize_with = "vault_keys")]
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    id: String,
    #[serde(default)]
    secret: String,
    secret_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    mode: String,
    store: String,
    #[serde(deserialize_with = "list")]
    allowed_hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Worker {
    concurrency: usize,
    lease_seconds: f64,
    drain_seconds: f64,
    unfinished_minutes: f64,
    #[serde(deserialize_with = "list")]
    unfinished_schedule_ms: Vec<u64>,
    backoff_first_ms: u64,
    backoff_longest_ms: u64,
    unreadable_tries: i32,
    transient_tries: i32,
    faults_to_open: i32,
    longest_probe_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    format: String,
    filter: String,
}

impl fmt::Debug for Config {
    /// Says nothing: it holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config")
    }
}

/// A list; from the environment, one text with commas.
fn list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr,
{
    struct ListVisitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de> + FromStr> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, or text with commas")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Vec<T>, E> {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| item.parse().map_err(|_| E::custom("an item of the list is not valid")))
                .collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> std::result::Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

/// A list of tables; from the environment, one text: `id:base64,id:base64`.
fn vault_keys<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<RawKey>, D::Error> {
    struct KeysVisitor;
    impl<'de> Visitor<'de> for KeysVisitor {
        type Value = Vec<RawKey>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tables, or text of the form id:base64,id:base64")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
            text.split(',')
                .filter(|item| !item.trim().is_empty())
                .map(|item| {
                    let (id, secret) = item
                        .trim()
                        .split_once(':')
                        .ok_or_else(|| E::custom("a key is not of the form id:base64"))?;
                    Ok(RawKey { id: id.to_owned(), secret: secret.to_owned(), secret_file: None })
                })
                .collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while let Some(key) = items.next_element()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    deserializer.deserialize_any(KeysVisitor)
}

impl Config {
    /// Merges defaults, the file and the environment.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self> {
        let mut builder = config::Config::builder()
            .add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).or_else(|error| {
                wrong("--config", format!("{} cannot be read: {}", path.display(), error.kind()))
            })?;
            builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
        }
        if let Some(url) = environment.get("DATABASE_URL") {
            builder = builder
                .set_override("database.url", url.as_str())
                .or_else(|_| wrong("DATABASE_URL", "cannot be used"))?;
        }
        let ours: std::collections::HashMap<String, String> = environment
            .iter()
            .filter(|(name, _)| name.starts_with("VERDICT__"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(url) = ours.get("VERDICT__DATABASE__URL") {
            builder = builder
                .set_override("database.url", url.as_str())
                .or_else(|_| wrong("VERDICT__DATABASE__URL", "cannot be used"))?;
        }
        let merged = builder
            .add_source(
                config::Environment::with_prefix("VERDICT")
                    .prefix_separator("__")
                    .separator("__")
                    .source(Some(ours)),
            )
            .build()
            .or_else(|error| wrong(file_name(file), first_line(&error)))?;
        serde_path_to_error::deserialize(merged).map_err(|error| {
            let path = error.path().to_string();
            let problem = first_line(error.inner());
            // An unknown key is named in the message; its path is that of its section.
            let unknown = problem
                .strip_prefix("unknown field `")
                .and_then(|rest| rest.split_once('`'))
                .map(|(name, _)| name.to_owned());
            let key = match (&unknown, path.as_str()) {
                (Some(name), "." | "") => name.clone(),
                (Some(name), section) if section.ends_with(name.as_str()) => section.to_owned(),
                (Some(name), section) => format!("{section}.{name}"),
                (None, path) => path.to_owned(),
            };
            let problem =
                if unknown.is_some() { "there is no such key".to_owned() } else { problem };
            ConfigError { key, problem }
        })
    }

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
            url: url.into(),
            max_connections: at_least("database.max_connections", database.max_connections, 2)?,
            timeout: seconds("database.timeout_seconds", database.timeout_seconds)?,
        };
        store::Store::check(&settings).or_else(|_| wrong("database.url", "cannot be parsed"))?;
        Ok(settings)
    }

    /// Where callbacks and the API are served.
    pub fn http_listen(&self) -> Result<SocketAddr> {
        address("http.listen", &self.http.listen)
    }

    /// Where metrics and health are served.
    pub fn operations_listen(&self) -> Result<SocketAddr> {
        address("operations.listen", &self.operations.listen)
    }

    /// Limits of connections.
    pub fn limits(&self) -> Result<Limits> {
        Ok(Limits {
            connections: at_least("http.max_connections", self.http.max_connections, 1)?,
            header_read: seconds("http.header_read_seconds", self.http.header_read_seconds)?,
            drain: self.drain()?,
        })
    }

    /// For a request's body to arrive.
    pub fn body_timeout(&self) -> Result<Duration> {
        seconds("http.body_read_seconds", self.http.body_read_seconds)
    }

    /// Callbacks written by one commit at most.
    pub fn max_batch(&self) -> Result<usize> {
        let most = store::callbacks::MAX_BATCH;
        match self.callbacks.max_batch {
            n if (1..=most).contains(&n) => Ok(n),
            _ => wrong("callbacks.max_batch", format!("must be from 1 to {most}")),
        }
    }

    /// Who may post callbacks.
    pub fn sources(&self) -> Result<Sources> {
        if self.sources.is_empty() {
            return wrong(
                "sources",
                "at least one is required, for example [sources.app] secrets = [\"whsec_…\"]",
            );
        }
        self.sources.iter().map(|(name, raw)| Ok((name.clone(), source(name, raw)?))).collect()
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
        })
    }

    /// Where the access key comes from: the one given here, else the vendor's chain.
    pub fn credentials(&self) -> Result<credentials::Settings> {
        let raw = &self.provider;
        let key_secret = match (raw.access_key_secret.as_str(), &raw.access_key_secret_file) {
            ("", None) => None,
            // Read again after it was refused, so that a corrected file heals without a restart.
            ("", Some(file)) => {
                read_secret("provider.access_key_secret_file", file)?;
                Some(credentials::Secret::File(file.clone()))
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
        Ok(credentials::Settings { fixed, ..Default::default() })
    }

    /// The provider account's name.
    pub fn account(&self) -> Result<String> {
        match self.provider.account.as_str() {
            "" => wrong("provider.account", "must not be empty"),
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
            lease: seconds("worker.lease_seconds", raw.lease_seconds)?.max(Duration::from_secs(1)),
            drain: self.drain()?,
            faults_to_open: at_least("worker.faults_to_open", raw.faults_to_open, 1)?,
            longest_probe: seconds("worker.longest_probe_seconds", raw.longest_probe_seconds)?,
            schedule: Schedule {
                unfinished,
                backoff_first: millis("worker.backoff_first_ms", raw.backoff_first_ms)?,
                backoff_longest: millis("worker.backoff_longest_ms", raw.backoff_longest_ms)?,
                unreadable_tries: at_least("worker.unreadable_tries", raw.unreadable_tries, 1)?,
                transient_tries: at_least("worker.transient_tries", raw.transient_tries, 1)?,
            },
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

    /// The policy text that seeds an empty database.
    pub fn policy_text(&self) -> Result<String> {
        let file = &self.policy.file;
        if file.as_os_str().is_empty() {
            return Ok(DEFAULT_POLICY.to_owned());
        }
        std::fs::read_to_string(file).or_else(|error| {
            wrong("policy.file", format!("{} cannot be read: {}", file.display(), error.kind()))
        })
    }

    /// What is configured about images but not done by this version.
    pub fn images_not_done(&self) -> Result<bool> {
        let images = &self.images;
        let mode = one_of(
            "images.mode",
            &images.mode,
            &[("archive", true), ("digest", true), ("off", false)],
        )?;
        if !images.store.starts_with("file://") && !images.store.starts_with("s3://") {
            return wrong("images.store", "must begin with file:// or s3://");
        }
        if images.allowed_hosts.iter().any(String::is_empty) {
            return wrong("images.allowed_hosts", "a host must not be empty");
        }
        Ok(mode)
    }

    /// How to log.
    pub fn log(&self) -> Result<telemetry::Settings> {
        let json = one_of("log.format", &self.log.format, &[("json", true), ("text", false)])?;
        Ok(telemetry::Settings { json, filter: self.log.filter.clone() })
    }
}

fn source(name: &str, raw: &RawSource) -> Result<Arc<Source>> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return wrong(
            "sources",
            "a name must be 1 to 64 letters, digits, hyphens, dots or underscores",
        );
    }
    let key = format!("sources.{name}.secrets");
    let mut texts = raw.secrets.clone();
    if let Some(file) = &raw.secrets_file {
        let lines = read_secret(&format!("sources.{name}.secrets_file"), file)?;
        texts.extend(lines.lines().map(|line| line.trim().to_owned()));
    }
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        return wrong(key, "at least one is required (or secrets_file)");
    }
    let secrets = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            Secret::parse(text).or_else(|error| wrong(format!("{key}[{index}]"), error))
        })
        .collect::<Result<_>>()?;
    let rate = match raw.requests_per_second {
        Some(0) => {
            return wrong(format!("sources.{name}.requests_per_second"), "must be at least 1");
        }
        rate => rate.map(RateLimit::new),
    };
    Ok(Arc::new(Source { secrets, rate }))
}

fn endpoint(text: &str) -> Result<url::Url> {
    const KEY: &str = "provider.endpoint";
    let Ok(url) = url::Url::parse(text) else { return wrong(KEY, "is not a URL") };
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return wrong(KEY, "has no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return wrong(KEY, "must be https: plain http is for loopback only"),
        _ => return wrong(KEY, "must be https"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return wrong(KEY, "must not hold user, password or query");
    }
    Ok(url)
}

/// The value, or the content of the file beside it; not both.
fn secret(key: &str, value: &str, file: Option<&Path>) -> Result<String> {
    match (value, file) {
        (value, None) => Ok(value.to_owned()),
        ("", Some(file)) => Ok(read_secret(&format!("{key}_file"), file)?.trim_end().to_owned()),
        (_, Some(_)) => wrong(key, format!("is given twice: here and as {key}_file")),
    }
}

fn read_secret(key: &str, file: &Path) -> Result<String> {
    std::fs::read_to_string(file)
        .or_else(|error| wrong(key, format!("{} cannot be read: {}", file.display(), error.kind())))
}

fn address(key: &str, text: &str) -> Result<SocketAddr> {
    text.parse().or_else(|_| wrong(key, "must be an address and a port, like 127.0.0.1:8080"))
}

fn at_least<T: PartialOrd + fmt::Display>(key: &str, value: T, least: T) -> Result<T> {
    if value >= least { Ok(value) } else { wrong(key, format!("must be at least {least}")) }
}

fn seconds(key: &str, value: f64) -> Result<Duration> {
    // Ten years: anything longer is a mistake, and would not fit a timer.
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if value > 0.0 && value < 315_360_000.0 => Ok(duration),
        _ => wrong(key, "must be a positive number"),
    }
}

fn millis(key: &str, value: u64) -> Result<Duration> {
    match value {
        1..=86_400_000 => Ok(Duration::from_millis(value)),
        _ => wrong(key, "must be from 1 to 86400000"),
    }
}

fn one_of<T: Copy>(key: &str, text: &str, known: &[(&str, T)]) -> Result<T> {
    match known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            wrong(key, format!("must be one of {}", names.join(", ")))
        }
    }
}

fn file_name(file: Option<&Path>) -> String {
    file.map_or_else(|| "environment".to_owned(), |path| path.display().to_string())
}

fn first_line(error: &config::ConfigError) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_end().to_owned()
}
