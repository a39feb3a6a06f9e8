//! The scenes that a source or an API key is limited to.

use std::collections::BTreeSet;

use super::callback::BizType;

/// Every scene, or only some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenes(Option<BTreeSet<BizType>>);

impl Scenes {
    pub const EVERY: Self = Self(None);

    /// Only these. An empty list is refused: it would allow nothing, and reads as if it allowed
    /// everything.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'static str> {
        let scenes: BTreeSet<BizType> =
            names.into_iter().map(BizType::parse).collect::<Result<_, _>>()?;
        if scenes.is_empty() {
            return Err("must name at least one scene; leave it out to allow every scene");
        }
        Ok(Self(Some(scenes)))
    }

    pub fn are_limited(&self) -> bool {
        self.0.is_some()
    }

    pub fn include(&self, scene: &BizType) -> bool {
        self.0.as_ref().is_none_or(|scenes| scenes.contains(scene))
    }

    /// Whether the scene of this name is among them.
    pub fn include_name(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|scenes| scenes.iter().any(|scene| scene.as_str() == name))
    }

    /// Whether all of these are among them.
    pub fn include_all(&self, others: &Self) -> bool {
        match (&self.0, &others.0) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.is_subset(own),
        }
    }

    /// The limit, in order; `None`: every scene.
    pub fn limit(&self) -> Option<Vec<BizType>> {
        self.0.as_ref().map(|scenes| scenes.iter().cloned().collect())
    }

    /// The names, in order, for a filter in SQL; `None`: every scene.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.0.as_ref().map(|scenes| scenes.iter().map(BizType::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scene_limit_includes_only_the_named_scenes() {
        let scene = |name| BizType::parse(name).unwrap();
        assert!(Scenes::EVERY.include(&scene("a")));
        assert_eq!(Scenes::EVERY.names(), None);
        let some = Scenes::only(["b", "a", "b"]).unwrap();
        assert!(some.include(&scene("a")) && !some.include(&scene("A")));
        assert!(some.include_name("b") && !some.include_name("") && some.are_limited());
        assert_eq!(some.names(), Some(vec!["a", "b"]));
        let one = Scenes::only(["a"]).unwrap();
        assert!(
            some.include_all(&one) && some.include_all(&some) && Scenes::EVERY.include_all(&some)
        );
        assert!(!one.include_all(&some) && !some.include_all(&Scenes::EVERY));
        assert!(Scenes::only([]).is_err());
        assert!(Scenes::only([""]).is_err());
    }
}
