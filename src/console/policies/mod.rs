//! `/policies…`: which policy decides where, what it says, what it would change, and changing it.
//!
//! | File | Contents |
//! |---|---|
//! | `list` | what is in use, proposals, all policies, the history |
//! | `one` | one policy: its text with findings, facts, where it was used |
//! | `change`, `sentences` | what a change would change, in words, and making it |
//! | `new` | typing, checking and storing a text |
//! | `diff`, `hunks` | what differs between two, in rules and in lines |
//! | `dry_run` | one verification, decided by another policy |
//! | `source` | a text with line numbers and findings at their line |

mod change;
mod diff;
mod dry_run;
mod hunks;
mod list;
mod new;
mod one;
mod sentences;
mod source;

use axum::Router;
use axum::routing::{get, post};

use super::frame::moments::Moments;
use super::signed_in::SignedIn;
use super::state::Console;
use super::texts::Texts;
use crate::domain::scenes::Scenes;
use crate::store::policy_history::PastChange;

/// The pages of this folder.
pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/policies", get(list::page_of))
        .route("/policies/new", get(new::page_of).post(new::check))
        .route("/policies/change", get(change::page_of).post(change::carry))
        .route("/policies/proposals/{id}/withdraw", post(change::withdraw))
        .route("/policies/{digest}", get(one::page_of))
        .route("/policies/{digest}/diff", get(diff::page_of))
        .route("/policies/{digest}/dry-run", get(dry_run::page_of).post(dry_run::run))
}

/// A policy as pages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    digest: String,
    name: String,
}

impl Named {
    fn new(digest: &str, name: &str) -> Self {
        Self { digest: digest.to_owned(), name: name.to_owned() }
    }

    fn short(&self) -> String {
        short(&self.digest)
    }

    /// `milder (sha256:0a1b2c3d4e5f)`.
    fn in_words(&self) -> String {
        format!("{} ({})", self.name, self.short())
    }
}

/// Enough of a digest to tell policies apart.
fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// A scene, or those without their own policy.
fn scene_text(t: &'static Texts, scene: &str) -> String {
    if scene.is_empty() { t.policies.general.to_string() } else { scene.to_owned() }
}

/// The name of an actor of the audit, where it has one.
fn actor_text(t: &'static Texts, actor: &str) -> String {
    if actor == "seed" {
        return t.policies.installed.to_string();
    }
    actor.split_once(" person:").map_or(actor, |(_, name)| name).to_owned()
}

/// Whether the person may know of a change there. Everybody may know of those for all scenes.
fn is_seen(scenes: &Scenes, scene: &str) -> bool {
    scene.is_empty() || scenes.include_name(scene)
}

/// Whether the person may change something there.
fn may_change(who: &SignedIn, scene: &str) -> bool {
    who.must_reach(scene).is_ok()
}

/// One change of what is used, as a table shows it.
struct PastRow {
    at: String,
    machine: String,
    until: String,
    scene: String,
    kind: &'static str,
    from: Option<Named>,
    to: Option<Named>,
    by: String,
    purpose: String,
}

impl PastRow {
    fn of(change: PastChange, moments: &Moments) -> Self {
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
