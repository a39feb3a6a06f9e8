//! Who may post callbacks at this moment: replaced whole while requests are under way.

use std::sync::{Arc, PoisonError, RwLock};

use super::callbacks::{Source, Sources};
use super::refused::RefusedPairs;

/// The present ones. A request keeps the one it began with.
#[derive(Debug, Default)]
pub struct CurrentSources {
    by_name: RwLock<Sources>,
    pub(super) refused: RefusedPairs,
}

impl CurrentSources {
    /// To begin with.
    pub fn new(sources: Sources) -> Self {
        Self { by_name: RwLock::new(sources), refused: RefusedPairs::default() }
    }

    /// The source of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The only source there is; `None` where there are several.
    pub fn only(&self) -> Option<Arc<Source>> {
        let sources = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = sources.values();
        all.next().filter(|_| all.next().is_none()).cloned()
    }

    /// The names of all of them.
    pub fn names(&self) -> Vec<String> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// From now on these. What was sent in the last second counts against the new limits.
    pub fn replace(&self, sources: Sources) {
        let mut present = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        for (name, source) in &sources {
            let before = present.get(name).and_then(|source| source.rate.as_ref());
            if let (Some(rate), Some(before)) = (&source.rate, before) {
                rate.go_on_from(before);
            }
        }
        *present = sources;
        drop(present);
        self.refused.clear();
    }
}
