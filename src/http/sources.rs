//! Who may post callbacks at this moment: replaced whole while requests are under way.

use std::sync::{Arc, PoisonError, RwLock};

use super::callbacks::{Source, Sources};

/// The present ones. A request keeps the one it began with.
#[derive(Debug, Default)]
pub struct CurrentSources(RwLock<Sources>);

impl CurrentSources {
    /// To begin with.
    pub fn new(sources: Sources) -> Self {
        Self(RwLock::new(sources))
    }

    /// The source of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// From now on these. What was sent in the last second counts against the new limits.
    pub fn replace(&self, sources: Sources) {
        let mut present = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (name, source) in &sources {
            let before = present.get(name).and_then(|source| source.rate.as_ref());
            if let (Some(rate), Some(before)) = (&source.rate, before) {
                rate.go_on_from(before);
            }
        }
        *present = sources;
    }
}
