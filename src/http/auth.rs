//! Internal callers: API keys and their scopes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::problem::Problem;
use crate::domain::ids::ApiKeyId;
use crate::store::Store;
use crate::vault::api_key::secret_digest;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read verifications and their decisions.
    DecisionsRead,
    /// Read raw answers without personal data.
    ResultsRead,
    /// Read the person's data.
    MaterialRead,
    /// Read the person's images.
    ImagesRead,
    /// Decide as a person.
    ReviewsWrite,
    /// Start verifications and ask again.
    VerificationsWrite,
    /// Change policies.
    PoliciesWrite,
    /// Erase. It opens nothing else: every right is given by its own scope.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 8] = [
        Self::DecisionsRead,
        Self::ResultsRead,
        Self::MaterialRead,
        Self::ImagesRead,
        Self::ReviewsWrite,
        Self::VerificationsWrite,
        Self::PoliciesWrite,
        Self::Admin,
    ];

    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DecisionsRead => "decisions:read",
            Self::ResultsRead => "results:read",
            Self::MaterialRead => "material:read",
            Self::ImagesRead => "images:read",
            Self::ReviewsWrite => "reviews:write",
            Self::VerificationsWrite => "verifications:write",
            Self::PoliciesWrite => "policies:write",
            Self::Admin => "admin",
        }
    }

    /// The scope so spelt.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Proof that a request carried a good key with the scope asked for.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Which key.
    pub key_id: ApiKeyId,
}

/// How long a key is believed after it was looked up: a revoked one works this much longer.
const BELIEVED_FOR: Duration = Duration::from_secs(2);
/// Keys remembered at most; a bound, not a target.
const REMEMBERED: usize = 1024;

/// Checks keys, remembering good ones for two seconds.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    store: Store,
    known: Arc<Mutex<HashMap<[u8; 32], Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    caller: Caller,
    scopes: Arc<[Scope]>,
    since: Instant,
}

impl ApiKeys {
    /// Nothing remembered yet.
    pub fn new(store: Store) -> Self {
        Self { store, known: Arc::default() }
    }

    /// The caller, if the request carries a good key that may do this. `admin` alone opens
    /// nothing else: least privilege is per scope.
    pub async fn require(&self, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
        let presented = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .filter(|key| !key.is_empty())
            .ok_or_else(Problem::api_key_missing)?;
        let digest = secret_digest(presented);
        let known = match self.remembered(&digest) {
            Some(known) => known,
            None => self.look_up(digest).await?,
        };
        if known.scopes.contains(&scope) {
            Ok(known.caller)
        } else {
            Err(Problem::scope_missing().detail(format!("It needs {scope}")))
        }
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).filter(|known| known.since.elapsed() < BELIEVED_FOR).cloned()
    }

    async fn look_up(&self, digest: [u8; 32]) -> Result<Known, Problem> {
        let key = self.store.find_api_key(&digest).await?.ok_or_else(Problem::api_key_invalid)?;
        let found = Known {
            caller: Caller { key_id: ApiKeyId(key.id) },
            scopes: key.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect(),
            since: Instant::now(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, found.clone());
        Ok(found)
    }
}
