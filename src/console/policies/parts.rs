//! Parts that several pages show: a policy by its name, scenes, actors, past changes.

use crate::console::frame::moments::Moments;
use crate::console::signed_in::SignedIn;
use crate::console::texts::Texts;
use crate::domain::scenes::Scenes;
use crate::store::policy_history::PastChange;

/// A policy as pages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) digest: String,
    pub(super) name: String,
}

impl Named {
    pub(super) fn new(digest: &str, name: &str) -> Self {
        Self { digest: digest.to_owned(), name: name.to_owned() }
    }

    pub(super) fn short(&self) -> String {
        short(&self.digest)
    }

    /// `milder (sha256:0a1b2c3d4e5f)`.
    pub(super) fn in_words(&self) -> String {
        format!("{} ({})", self.name, self.short())
    }
}

/// Enough of a digest to tell policies apart.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// A scene, or those without their own policy.
pub(super) fn scene_text(t: &'static Texts, scene: &str) -> String {
    if scene.is_empty() { t.policies.general.to_string() } else { scene.to_owned() }
}

/// The name of an actor of the audit, where it has one.
pub(super) fn actor_text(t: &'static Texts, actor: &str) -> String {
    if actor == "seed" {
        return t.policies.installed.to_string();
    }
    actor.split_once(" person:").map_or(actor, |(_, name)| name).to_owned()
}

/// Whether the person may know of a change there. Changes for all scenes are known to each reader of policies.
pub(super) fn is_seen(scenes: &Scenes, scene: &str) -> bool {
    scene.is_empty() || scenes.include_name(scene)
}

/// Whether the person may change something there.
pub(super) fn may_change(who: &SignedIn, scene: &str) -> bool {
    who.must_reach(scene).is_ok()
}

/// One change of what is used, as a table shows it.
pub(super) struct PastRow {
    pub(super) at: String,
    pub(super) machine: String,
    pub(super) until: String,
    pub(super) scene: String,
    pub(super) kind: &'static str,
    pub(super) from: Option<Named>,
    pub(super) to: Option<Named>,
    pub(super) by: String,
    pub(super) purpose: String,
}

impl PastRow {
    pub(super) fn of(change: PastChange, moments: &Moments) -> Self {
        let t = &moments.t.policies;
        let named = |digest: Option<String>, name: Option<String>| {
            Some(Named { digest: digest?, name: name.unwrap_or_default() })
        };
        let kind = match change.kind.as_str() {
            "shadow" => t.changed_shadow,
            _ if change.is_rollback => t.changed_back,
            _ => t.changed_active,
        };
        Self {
            at: moments.full(change.activated_at),
            machine: Moments::machine(change.activated_at),
            until: change.ended_at.map_or_else(|| t.still.to_string(), |ended| moments.full(ended)),
            scene: scene_text(moments.t, &change.biz_type),
            kind: kind.as_str(),
            from: named(change.previous, change.previous_name),
            to: named(change.digest, change.name),
            by: actor_text(moments.t, &change.activated_by),
            purpose: change.purpose.unwrap_or_default(),
        }
    }
}
