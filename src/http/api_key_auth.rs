//! Authentication of internal callers by API key.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::problem::Problem;
use super::rate_limit::Bucket;
use crate::domain::ids::ApiKeyId;
use crate::domain::scenes::Scenes;
pub use crate::domain::scope::Scope;
use crate::store::api_keys::WorkingKey;
use crate::store::{self, Store};
use crate::vault::api_key::{self, secret_digest};

/// A valid key.
#[derive(Debug)]
pub struct Key {
    pub key_id: ApiKeyId,
    /// The person who holds it; `None`: a program.
    pub person: Option<String>,
    pub scenes: Scenes,
    scopes: Vec<Scope>,
    requests_per_second: Option<u32>,
    usage: Arc<Usage>,
}

/// How a key is used in this process; kept across reloads of the key list.
#[derive(Debug)]
struct Usage {
    rate: Option<Bucket>,
    noted: Mutex<Option<Instant>>,
}

/// Proof that a request carried a valid key with the required scope.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Key>);

impl Deref for Caller {
    type Target = Key;

    fn deref(&self) -> &Key {
        &self.0
    }
}

impl Caller {
    /// The caller in the audit log: the key, and the person whom the key names.
    pub fn actor(&self) -> String {
        match &self.person {
            None => format!("key:{}", self.key_id),
            Some(person) => format!("key:{} person:{person}", self.key_id),
        }
    }

    pub fn must_have(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::scope_missing().detail(format!("It needs {scope}")))
    }

    /// The empty scene means all scenes without their own policy. Only a key that is not limited to
    /// scenes may change these.
    pub fn must_reach(&self, scene: &str) -> Result<(), Problem> {
        if self.scenes.include_name(scene) { Ok(()) } else { Err(Problem::other_scene()) }
    }

    /// Where two persons must agree, a key without a person does not count.
    pub fn must_be_person(&self) -> Result<&str, Problem> {
        self.person.as_deref().ok_or_else(Problem::person_missing)
    }
}

/// How long a key list is used: a revoked or expired key works for this much longer.
pub const KEY_CACHE_TTL: Duration = Duration::from_secs(2);
/// Between the starts of two queries: bounds what strangers with invented keys cost the database.
const MIN_LOAD_INTERVAL: Duration = Duration::from_millis(100);
/// How long a refused key is refused without a query. That is safe: a revoked key never becomes valid
/// again, and a new key is random, so nobody has presented it before.
const REFUSAL_TTL: Duration = Duration::from_secs(10);
/// Refusals are kept apart from valid keys, so strangers cannot evict these.
const MAX_REFUSALS: usize = 4096;
/// How often `last_used_at` of a key is written.
const NOTE_USE_EVERY: Duration = Duration::from_mins(5);

/// Checks keys against a cached list of all valid ones. One query loads the list for all requests
/// that wait for it.
#[derive(Clone, Debug)]
pub struct ApiKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    loaded: Mutex<Loaded>,
    refusals: Mutex<Refusals>,
    /// When the last query began. Locked while one runs.
    loading: tokio::sync::Mutex<Option<Instant>>,
}

/// The outcome of the newest queries.
#[derive(Debug, Default)]
struct Loaded {
    list: Option<(Instant, Arc<KeyList>)>,
    failed: Option<(Instant, store::Error)>,
}

type KeyList = HashMap<[u8; 32], Arc<Key>>;

#[derive(Debug)]
struct Refusals {
    since: Instant,
    digests: HashSet<[u8; 32]>,
}

impl ApiKeys {
    pub fn new(store: Store) -> Self {
        let refusals = Refusals { since: Instant::now(), digests: HashSet::new() };
        Self(Arc::new(Inner {
            store,
            loaded: Mutex::default(),
            refusals: Mutex::new(refusals),
            loading: tokio::sync::Mutex::default(),
        }))
    }

    /// The caller, if the request carries a valid key with this scope. No scope includes another.
    pub async fn require(&self, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
        let caller = self.find(headers, KEY_CACHE_TTL).await?;
        if let Some(rate) = &caller.usage.rate {
            rate.take(Instant::now()).map_err(|wait| Problem::rate_limited().retry_after(wait))?;
        }
        caller.must_have(scope)?;
        self.note_use(&caller);
        Ok(caller)
    }

    /// Checks again, with a list no older than `max_age`: after a long poll, or before an operation
    /// for which a key revoked a moment ago must not do.
    pub async fn require_still(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        max_age: Duration,
    ) -> Result<(), Problem> {
        self.find(headers, max_age).await?.must_have(scope)
    }

    async fn find(&self, headers: &HeaderMap, max_age: Duration) -> Result<Caller, Problem> {
        let digest = presented(headers.get(AUTHORIZATION))?;
        let arrived = Instant::now();
        let as_of = arrived.checked_sub(max_age).unwrap_or(arrived);
        if self.is_refused(&digest) {
            return Err(Problem::api_key_invalid());
        }
        if let Some(key) = self.list(as_of, arrived).await?.get(&digest) {
            return Ok(Caller(Arc::clone(key)));
        }
        // The key may be newer than the list.
        if let Some(key) = self.list(arrived, arrived).await?.get(&digest) {
            return Ok(Caller(Arc::clone(key)));
        }
        self.refuse(digest);
        Err(Problem::api_key_invalid())
    }

    /// A list whose query began at `as_of` or later. If a query that began after the request arrived
    /// failed, its error answers the request.
    async fn list(&self, as_of: Instant, arrived: Instant) -> Result<Arc<KeyList>, Problem> {
        if let Some(loaded) = self.loaded(as_of, arrived) {
            return loaded;
        }
        let mut last = self.0.loading.lock().await;
        if let Some(loaded) = self.loaded(as_of, arrived) {
            return loaded;
        }
        if let Some(last) = *last {
            tokio::time::sleep(MIN_LOAD_INTERVAL.saturating_sub(last.elapsed())).await;
        }
        let began = Instant::now();
        *last = Some(began);
        // In a separate task: a caller that hangs up must not cancel a query that others wait for.
        let keys = self.clone();
        tokio::spawn(async move { keys.load(began).await })
            .await
            .map_err(|_| Problem::internal())?;
        self.loaded(as_of, arrived).unwrap_or_else(|| Err(Problem::internal()))
    }

    fn loaded(&self, as_of: Instant, arrived: Instant) -> Option<Result<Arc<KeyList>, Problem>> {
        let loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match (&loaded.list, &loaded.failed) {
            (Some((began, list)), _) if *began >= as_of => Some(Ok(Arc::clone(list))),
            (_, Some((began, error))) if *began >= arrived => Some(Err(error.clone().into())),
            _ => None,
        }
    }

    async fn load(&self, began: Instant) {
        let rows = self.0.store.api_keys().working_api_keys().await;
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match rows {
            Err(error) => loaded.failed = Some((began, error)),
            Ok(rows) => {
                let before: HashMap<ApiKeyId, &Arc<Key>> = match &loaded.list {
                    None => HashMap::new(),
                    Some((_, list)) => list.values().map(|key| (key.key_id, key)).collect(),
                };
                let list = rows
                    .into_iter()
                    .filter_map(|row| {
                        let digest = row.digest.as_slice().try_into().ok()?;
                        let before = before.get(&ApiKeyId(row.id)).copied();
                        Some((digest, Arc::new(key(row, before)?)))
                    })
                    .collect();
                loaded.list = Some((began, Arc::new(list)));
            }
        }
    }

    fn is_refused(&self, digest: &[u8; 32]) -> bool {
        let refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.since.elapsed() < REFUSAL_TTL && refusals.digests.contains(digest)
    }

    fn refuse(&self, digest: [u8; 32]) {
        let mut refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.since.elapsed() >= REFUSAL_TTL || refusals.digests.len() >= MAX_REFUSALS {
            refusals.digests.clear();
            refusals.since = Instant::now();
        }
        refusals.digests.insert(digest);
    }

    /// Records the use of a key, at most every [`NOTE_USE_EVERY`] and without delaying the request.
    fn note_use(&self, caller: &Caller) {
        let mut noted = caller.usage.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_some_and(|noted| noted.elapsed() < NOTE_USE_EVERY) {
            return;
        }
        *noted = Some(Instant::now());
        let (store, id) = (self.0.store.clone(), caller.key_id);
        tokio::spawn(async move {
            if let Err(error) = store.api_keys().note_api_key_used(id).await {
                tracing::debug!(%error, key = %id, "last use of an API key not written");
            }
        });
    }
}

/// The digest of the key in a header `Authorization`.
pub(super) fn presented(authorization: Option<&HeaderValue>) -> Result<[u8; 32], Problem> {
    let key = authorization
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim())
        .filter(|key| !key.is_empty())
        .ok_or_else(Problem::api_key_missing)?;
    if !api_key::has_shape(key) {
        return Err(Problem::api_key_invalid());
    }
    Ok(secret_digest(key))
}

/// `None` if this version cannot read the key's limits: such a key is refused.
fn key(row: WorkingKey, before: Option<&Arc<Key>>) -> Option<Key> {
    let scenes = match &row.scenes {
        None => Scenes::EVERY,
        Some(names) => Scenes::only(names.iter().map(String::as_str)).ok()?,
    };
    let requests_per_second =
        row.requests_per_second.map(|rate| u32::try_from(rate).unwrap_or_default());
    let usage = before
        .filter(|before| before.requests_per_second == requests_per_second)
        .map(|before| Arc::clone(&before.usage));
    let usage = usage.unwrap_or_else(|| {
        let rate = requests_per_second.map(Bucket::new);
        Arc::new(Usage { rate, noted: Mutex::default() })
    });
    Some(Key {
        key_id: ApiKeyId(row.id),
        person: row.person,
        scenes,
        scopes: row.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect(),
        requests_per_second,
        usage,
    })
}
