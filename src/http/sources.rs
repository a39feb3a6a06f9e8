//! Who may post callbacks at this moment: replaced whole while requests are under way.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::callbacks::{Source, Sources};
use super::refused::RefusedPairs;
use crate::vault::SealError;
use crate::vault::webhook::Secret;

/// The present ones. A request keeps the one it began with.
#[derive(Debug)]
pub struct CurrentSources {
    /// Random, so nothing verifies under it. It stands in for secrets that do not exist.
    dummy: Secret,
    current: RwLock<Current>,
    pub(super) refused: RefusedPairs,
}

#[derive(Debug)]
struct Current {
    sources: Sources,
    /// By source, each list padded with the dummy to the same length.
    secrets: BTreeMap<String, Arc<[Secret]>>,
    /// What an unknown source is judged by: as many dummies.
    unknown: Arc<[Secret]>,
}

/// By what a callback to one path is judged. An unknown source costs as many MACs as a known one,
/// so neither the answer nor its time tells which names exist.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The source; `None` if there is none of that name.
    pub source: Option<Arc<Source>>,
    /// Secrets that may have signed.
    pub secrets: Arc<[Secret]>,
}

impl CurrentSources {
    /// To begin with. Fails without randomness.
    pub fn new(sources: Sources) -> Result<Self, SealError> {
        let dummy = Secret::generate()?;
        let current = RwLock::new(Current::new(sources, &dummy));
        Ok(Self { dummy, current, refused: RefusedPairs::default() })
    }

    /// The source of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.read().sources.get(name).cloned()
    }

    /// By what a callback to that name is judged.
    pub fn judge(&self, name: &str) -> Judge {
        let current = self.read();
        let secrets = current.secrets.get(name).unwrap_or(&current.unknown);
        Judge { source: current.sources.get(name).cloned(), secrets: Arc::clone(secrets) }
    }

    /// The only source there is; `None` where there are several.
    pub fn only(&self) -> Option<Arc<Source>> {
        let current = self.read();
        let mut all = current.sources.values();
        all.next().filter(|_| all.next().is_none()).cloned()
    }

    /// The names of all of them.
    pub fn names(&self) -> Vec<String> {
        self.read().sources.keys().cloned().collect()
    }

    /// From now on these. What was sent in the last second counts against the new limits.
    pub fn replace(&self, sources: Sources) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        for (name, source) in &sources {
            let before = current.sources.get(name).and_then(|source| source.rate.as_ref());
            if let (Some(rate), Some(before)) = (&source.rate, before) {
                rate.go_on_from(before);
            }
        }
        *current = Current::new(sources, &self.dummy);
        drop(current);
        self.refused.clear();
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
    use crate::domain::scenes::Scenes;
    use crate::domain::source::SourceAccess;

    fn source(secrets: usize) -> Arc<Source> {
        let secrets = (0..secrets).map(|_| Secret::generate().unwrap()).collect();
        let access = SourceAccess::alone("x");
        Arc::new(Source { access, scenes: Scenes::default(), secrets, rate: None })
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
