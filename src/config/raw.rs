//! The configuration as written: one struct per section, unknown keys refused.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use super::digests::Digests;
use super::error::ConfigError;
use super::origin::Origins;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The values as written, merged and of the right types, not yet checked. `validate` checks all of
/// them. The methods for single parts are for `verdict doctor`, which reports every wrong part as a
/// finding and tries the others.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub(super) http: Http,
    pub(super) operations: Operations,
    pub(super) console: RawConsole,
    pub(super) database: Database,
    pub(super) callbacks: Callbacks,
    #[serde(default)]
    pub(super) sources: BTreeMap<String, RawSource>,
    pub(super) provider: Provider,
    pub(super) vault: RawVault,
    pub(super) images: Images,
    pub(super) retention: Retention,
    pub(super) audit: RawAudit,
    pub(super) policy: Policy,
    pub(super) reviews: Reviews,
    pub(super) policies: RawPolicies,
    pub(super) webhooks: RawWebhooks,
    pub(super) worker: Worker,
    pub(super) log: Log,
    pub(super) traces: Traces,
    /// The file it was read from.
    #[serde(skip)]
    pub(super) file: Option<PathBuf>,
    /// Every key that is set, with a digest of its value.
    #[serde(skip)]
    pub(super) digests: Digests,
    /// Unknown keys, and values of another type, in whose place defaults stand.
    #[serde(skip)]
    pub(super) misread: Vec<ConfigError>,
    #[serde(skip)]
    pub(super) origins: Origins,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: String,
    pub(super) callbacks_listen: String,
    pub(super) max_connections: usize,
    pub(super) header_read_seconds: f64,
    pub(super) first_byte_seconds: f64,
    pub(super) body_read_seconds: f64,
    pub(super) write_stall_seconds: f64,
    pub(super) waits_per_key: usize,
    pub(super) docs: bool,
    pub(super) public_url: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operations {
    pub(super) listen: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsole {
    pub(super) listen: String,
    pub(super) public_url: String,
    pub(super) oidc: RawOidc,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOidc {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) client_secret_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    pub(super) url: String,
    pub(super) url_file: Option<PathBuf>,
    pub(super) schema: String,
    pub(super) max_connections: u32,
    pub(super) timeout_seconds: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callbacks {
    pub(super) max_batch: usize,
    pub(super) unverified_bytes: usize,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    #[serde(default, deserialize_with = "list")]
    pub(super) secrets: Vec<String>,
    pub(super) secrets_file: Option<PathBuf>,
    pub(super) requests_per_second: Option<u32>,
    pub(super) group: Option<String>,
    #[serde(default, deserialize_with = "optional_list")]
    pub(super) scenes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list")]
    pub(super) return_urls: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) product: String,
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) signature: String,
    pub(super) method: String,
    pub(super) format: String,
    pub(super) access_key_id: String,
    pub(super) access_key_secret: String,
    pub(super) access_key_secret_file: Option<PathBuf>,
    pub(super) security_token: String,
    pub(super) security_token_file: Option<PathBuf>,
    pub(super) queries_per_second: f64,
    pub(super) account: String,
    pub(super) connect_timeout_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) face_verify: FaceVerify,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaceVerify {
    #[serde(deserialize_with = "list")]
    pub(super) endpoints: Vec<String>,
    pub(super) callback_url: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reviews {
    pub(super) four_eyes: String,
    pub(super) target_minutes: f64,
    /// By scene, in place of `target_minutes`.
    #[serde(default)]
    pub(super) scene_target_minutes: BTreeMap<String, f64>,
    pub(super) golden_share: f64,
    pub(super) again_share: f64,
    pub(super) claim_minutes: f64,
    pub(super) undo_seconds: f64,
    pub(super) reasons: BTreeMap<String, RawReason>,
    pub(super) reveal_purposes: BTreeMap<String, RawPurpose>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReason {
    #[serde(default, deserialize_with = "list")]
    pub(super) outcomes: Vec<String>,
    #[serde(default)]
    pub(super) en: String,
    #[serde(default)]
    pub(super) zh: String,
    #[serde(default)]
    pub(super) off: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPurpose {
    #[serde(default)]
    pub(super) en: String,
    #[serde(default)]
    pub(super) zh: String,
    #[serde(default)]
    pub(super) off: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicies {
    pub(super) four_eyes: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVault {
    #[serde(deserialize_with = "vault_keys")]
    pub(super) keys: Vec<RawKey>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub(super) id: String,
    #[serde(default)]
    pub(super) secret: String,
    pub(super) secret_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Images {
    pub(super) mode: String,
    pub(super) store: String,
    #[serde(deserialize_with = "list")]
    pub(super) allowed_hosts: Vec<String>,
    /// By scene, in place of `mode`.
    #[serde(default)]
    pub(super) scenes: BTreeMap<String, String>,
    pub(super) concurrency: usize,
    pub(super) max_bytes: usize,
    pub(super) timeout_ms: u64,
    pub(super) s3: Option<S3>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3 {
    pub(super) endpoint: String,
    #[serde(default)]
    pub(super) region: String,
    #[serde(default = "key")]
    pub(super) credentials: String,
    #[serde(default)]
    pub(super) access_key_id: String,
    #[serde(default)]
    pub(super) access_key_secret: String,
    pub(super) access_key_secret_file: Option<PathBuf>,
    pub(super) virtual_hosted: Option<bool>,
    pub(super) bucket_in_endpoint: Option<bool>,
    #[serde(default)]
    pub(super) allow_http: bool,
    #[serde(default = "yes")]
    pub(super) conditional_put: bool,
}

fn key() -> String {
    "key".to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys say their unit")]
pub(super) struct Retention {
    pub(super) person_days: u32,
    pub(super) images_days: u32,
    pub(super) callbacks_days: u32,
    pub(super) events_days: u32,
    pub(super) results_days: u32,
    pub(super) decisions_days: u32,
    pub(super) audit_days: u32,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) origin: String,
    /// From the environment, one text: `URL KEY,URL KEY`.
    #[serde(deserialize_with = "list")]
    pub(super) witnesses: Vec<RawWitness>,
    pub(super) head_seconds: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    pub(super) url: String,
    pub(super) public_key: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhooks {
    #[serde(deserialize_with = "list")]
    pub(super) allow_private: Vec<String>,
    pub(super) disable_after_days: u32,
    pub(super) keep_deliveries_days: u32,
    pub(super) max_endpoints: u32,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) file: PathBuf,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    pub(super) concurrency: usize,
    pub(super) lease_seconds: f64,
    pub(super) drain_seconds: f64,
    pub(super) unfinished_minutes: f64,
    #[serde(deserialize_with = "list")]
    pub(super) unfinished_schedule_ms: Vec<u64>,
    pub(super) backoff_first_ms: u64,
    pub(super) backoff_longest_ms: u64,
    pub(super) unreadable_tries: i32,
    pub(super) transient_tries: i32,
    pub(super) faults_to_open: i32,
    pub(super) longest_probe_seconds: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: String,
    pub(super) filter: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Traces {
    pub(super) endpoint: String,
    pub(super) sample: f64,
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

/// A list that may be absent; an empty one is not.
fn optional_list<'de, D, T>(deserializer: D) -> std::result::Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr,
{
    list(deserializer).map(Some)
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
