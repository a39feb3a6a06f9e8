//! Describes a change of the policies in use, in sentences.

use strum::{EnumString, IntoStaticStr};

use super::parts::Named;
use crate::console::texts::{Phrase, Texts};
use crate::store::policies::Use;
use crate::store::policy_history::InUseSince;

/// The kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Deed {
    Activate,
    Shadow,
    EndShadow,
    Promote,
    RollBack,
    Deactivate,
}

/// Where a rollback leads.
#[derive(Debug, Default)]
pub(super) enum Back {
    #[default]
    Nowhere,
    /// The scene follows the general policy again.
    General,
    To(Named),
}

/// The policies in use that a change in one scene affects.
#[derive(Debug, Default)]
pub(super) struct Now {
    /// Decides in scenes without their own policy.
    general: Option<Named>,
    /// Decides in the scene; of no scene: as `general`.
    own: Option<Named>,
    shadow: Option<Named>,
    /// Other scenes with their own policy, as far as the person may know of them.
    own_scenes: Vec<String>,
    back: Back,
}

impl Now {
    pub(super) fn of(in_use: &[InUseSince], scene: &str, back: Back) -> Self {
        let of = |kind: Use, scene: &str| {
            let is_meant =
                |used: &&InUseSince| used.kind == kind.as_str() && used.biz_type == scene;
            in_use.iter().find(is_meant).map(|used| Named::new(&used.digest, &used.name))
        };
        let is_own = |used: &&InUseSince| {
            used.kind == Use::Active.as_str() && !used.biz_type.is_empty() && used.biz_type != scene
        };
        Self {
            general: of(Use::Active, ""),
            own: of(Use::Active, scene),
            shadow: of(Use::Shadow, scene),
            own_scenes: in_use.iter().filter(is_own).map(|used| used.biz_type.clone()).collect(),
            back,
        }
    }
}

/// The sentences; an error is the reason why there is nothing to do.
pub(super) fn of(
    texts: &'static Texts,
    deed: Deed,
    scene: &str,
    policy: Option<&Named>,
    now: &Now,
) -> Result<Vec<String>, Phrase> {
    let t = &texts.policies;
    let mut said = Vec::new();
    let shadow = || now.shadow.as_ref().ok_or(t.nothing_there);
    match deed {
        Deed::Activate => {
            let new = policy.ok_or(t.nothing_there)?;
            if now.own.as_ref() == Some(new) {
                return Err(t.no_change);
            }
            decides(texts, scene, new, now, &mut said);
        }
        Deed::Promote => {
            let new = shadow()?;
            decides(texts, scene, new, now, &mut said);
            said.push(t.says_shadow_ends.with("old", new.in_words()).to_string());
        }
        Deed::RollBack => match &now.back {
            Back::Nowhere => return Err(t.nothing_there),
            Back::General => follows(texts, scene, now, &mut said),
            Back::To(policy) => {
                decides(texts, scene, policy, now, &mut said);
                said.push(t.says_again.to_string());
            }
        },
        Deed::Deactivate => {
            now.own.as_ref().ok_or(t.nothing_there)?;
            follows(texts, scene, now, &mut said);
        }
        Deed::Shadow => {
            let new = policy.ok_or(t.nothing_there)?;
            if now.shadow.as_ref() == Some(new) {
                return Err(t.no_change);
            }
            let text = if scene.is_empty() { t.says_shadow_general } else { t.says_shadow_scene };
            said.push(text.with("scene", scene).with("new", new.in_words()).to_string());
            said.extend(
                now.shadow
                    .as_ref()
                    .map(|old| t.says_shadow_ends.with("old", old.in_words()).to_string()),
            );
        }
        Deed::EndShadow => {
            said.push(t.says_shadow_ends.with("old", shadow()?.in_words()).to_string());
        }
    }
    said.push(t.says_past.to_string());
    if matches!(deed, Deed::Activate | Deed::Promote | Deed::Deactivate) {
        said.push(t.says_undo.to_string());
    }
    Ok(said)
}

/// A policy decides from now on, in a scene or in all without their own.
fn decides(texts: &'static Texts, scene: &str, new: &Named, now: &Now, said: &mut Vec<String>) {
    let t = &texts.policies;
    let text = if scene.is_empty() { t.says_general } else { t.says_scene };
    said.push(text.with("scene", scene).with("new", new.in_words()).to_string());
    match (&now.own, &now.general) {
        (Some(old), _) => said.push(t.says_until.with("old", old.in_words()).to_string()),
        (None, Some(old)) => {
            said.push(t.says_until_general.with("old", old.in_words()).to_string());
        }
        (None, None) => {}
    }
    if scene.is_empty() && !now.own_scenes.is_empty() {
        said.push(t.says_keep.with("scenes", now.own_scenes.join(", ")).to_string());
    }
}

/// A scene loses its own policy.
fn follows(texts: &'static Texts, scene: &str, now: &Now, said: &mut Vec<String>) {
    let t = &texts.policies;
    let general = now.general.as_ref().map(Named::in_words).unwrap_or_default();
    said.push(t.says_follow.with("scene", scene).with("new", general).to_string());
    if let Some(old) = &now.own {
        said.push(t.says_until.with("old", old.in_words()).to_string());
    }
}
