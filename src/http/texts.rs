//! What to tell a person about a reason: the texts of the policy that gave it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::lanes::off_runtime;
use crate::policy::Policy;
use crate::store::{self, Store};

/// Policies that are remembered; more than anybody has in use.
const MOST: usize = 64;

/// Policies by digest. They never change, so they are read once.
#[derive(Debug, Default)]
pub struct Texts(Mutex<HashMap<String, Option<Arc<Policy>>>>);

impl Texts {
    /// The policy with that digest; `None` where there is none that this version can compile.
    pub async fn policy(&self, store: &Store, digest: &str) -> store::Result<Option<Arc<Policy>>> {
        if let Some(known) = self.lock().get(digest) {
            return Ok(known.clone());
        }
        let text = store.policy_text(digest).await?;
        let compile = || text.and_then(|text| Policy::load_stored(&text.body)).map(Arc::new);
        let policy = off_runtime(compile).await;
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(digest.to_owned(), policy.clone());
        Ok(policy)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<Arc<Policy>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
