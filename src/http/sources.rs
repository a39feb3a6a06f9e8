//! The configured sources of callbacks. A reload replaces all of them while requests are served.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::other_source_cache::OtherSourceCache;
use super::rate_limit::RateLimit;
use crate::domain::returning::ReturnUrls;
use crate::domain::scenes::Scenes;
use crate::domain::source::SourceAccess;
use crate::vault::SealError;
use crate::vault::callback_signature::Secret;

/// A sender of callbacks.
#[derive(Debug)]
pub struct Source {
    /// Its name, and whose verifications it shares.
    pub access: SourceAccess,
    pub scenes: Scenes,
    /// Any of them verifies, so that a secret can be rotated without a refused callback.
    pub secrets: Vec<Secret>,
    /// In each process.
    pub rate: Option<RateLimit>,
    /// Where users may be redirected to.
    pub return_urls: ReturnUrls,
}

/// By the name in the path.
pub type Sources = BTreeMap<String, Arc<Source>>;

/// The present sources. A request keeps the one it began with.
#[derive(Debug)]
pub struct CurrentSources {
    /// Random, so nothing verifies under it. It takes the place of secrets that do not exist.
    dummy: Secret,
    current: RwLock<Current>,
    pub(super) refusals: OtherSourceCache,
}

#[derive(Debug)]
struct Current {
    sources: Sources,
    /// By source, each list padded with the dummy to the same length.
    secrets: BTreeMap<String, Arc<[Secret]>>,
    /// For an unknown source: as many dummies.
    unknown: Arc<[Secret]>,
}

/// Verifies callbacks to one path. An unknown source costs as many MACs as a known one, so neither
/// the answer nor its time reveals which names exist.
#[derive(Clone, Debug)]
pub struct Judge {
    /// `None`: there is none of that name.
    pub source: Option<Arc<Source>>,
    pub secrets: Arc<[Secret]>,
}

impl CurrentSources {
    /// Fails without randomness.
    pub fn new(sources: Sources) -> Result<Self, SealError> {
        let dummy = Secret::generate()?;
        let current = RwLock::new(Current::new(sources, &dummy));
        Ok(Self { dummy, current, refusals: OtherSourceCache::default() })
    }

    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.read().sources.get(name).cloned()
    }

    pub fn judge(&self, name: &str) -> Judge {
        let current = self.read();
        let secrets = current.secrets.get(name).unwrap_or(&current.unknown);
        Judge { source: current.sources.get(name).cloned(), secrets: Arc::clone(secrets) }
    }

    /// The source, if there is only one.
    pub fn only(&self) -> Option<Arc<Source>> {
        let current = self.read();
        let mut all = current.sources.values();
        all.next().filter(|_| all.next().is_none()).cloned()
    }

    pub fn names(&self) -> Vec<String> {
        self.read().sources.keys().cloned().collect()
    }

    /// Replaces all sources. Callbacks of the last second count against the new limits.
    pub fn replace(&self, sources: Sources) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        for (name, source) in &sources {
            let before = current.sources.get(name).and_then(|source| source.rate.as_ref());
            if let (Some(rate), Some(before)) = (&source.rate, before) {
                rate.continue_from(before);
            }
        }
        *current = Current::new(sources, &self.dummy);
        drop(current);
        self.refusals.clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn new(sources: Sources, dummy: &Secret) -> Self {
        let most = sources.values().map(|source| source.secrets.len()).max().unwrap_or(0).max(1);
        let padded = |secrets: &[Secret]| -> Arc<[Secret]> {
            secrets.iter().chain(std::iter::repeat(dummy)).take(most).cloned().collect()
        };
        let secrets =
            sources.iter().map(|(name, source)| (name.clone(), padded(&source.secrets))).collect();
        Self { sources, secrets, unknown: padded(&[]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(secrets: usize) -> Arc<Source> {
        let secrets = (0..secrets).map(|_| Secret::generate().unwrap()).collect();
        let access = SourceAccess::alone("x");
        let return_urls = ReturnUrls::default();
        Arc::new(Source { access, scenes: Scenes::default(), secrets, rate: None, return_urls })
    }

    #[test]
    fn every_name_known_or_not_is_judged_by_as_many_secrets() {
        let sources = [("one", 1), ("three", 3)].map(|(name, n)| (name.to_owned(), source(n)));
        let current = CurrentSources::new(sources.into()).unwrap();
        for (name, known) in [("one", true), ("three", true), ("nobody", false), ("", false)] {
            let judge = current.judge(name);
            assert_eq!((judge.source.is_some(), judge.secrets.len()), (known, 3), "{name}");
        }
        current.replace(Sources::default());
        assert_eq!(current.judge("one").secrets.len(), 1);
    }
}
