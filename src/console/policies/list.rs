//! `GET /policies`: what is in use where, what waits for a second person, all policies, the history.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::parts::{Named, PastRow, actor_text, is_seen, may_change, scene_text};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::page;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::scope::Scope;
use crate::http::problem::Problem;
use crate::policies::operations::Listed;
use crate::store::policies::Use;
use crate::store::policy_history::{InUseSince, PastChanges};
use crate::store::proposals::OpenProposal;

/// Changes of a page.
const PAGE: usize = 30;
/// Policies that are shown at first, besides those in use.
const NEWEST: usize = 12;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// Empty: scenes without their own policy.
    scene: Option<String>,
    before: Option<i64>,
    #[serde(default)]
    all: String,
    #[serde(default)]
    done: String,
}

#[derive(Template)]
#[template(path = "policies.html")]
struct PoliciesPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    scenes: Vec<SceneRow>,
    proposals: Vec<ProposalRow>,
    policies: Vec<PolicyRow>,
    /// How many there are, where not all are shown.
    show_all: Option<usize>,
    filters: Vec<Filter>,
    history: Vec<PastRow>,
    earlier: Option<String>,
    newest: Option<String>,
}

/// The policies in use in one scene.
struct SceneRow {
    scene: String,
    active: Option<InUse>,
    shadow: Option<InUse>,
    changes: Vec<(Phrase, String)>,
}

struct InUse {
    policy: Named,
    since: String,
    machine: String,
    by: String,
}

struct ProposalRow {
    id: Uuid,
    what: String,
    who: String,
    purpose: String,
    /// Where another person reads what it changes.
    agree: Option<String>,
    /// The name of closing it; `None`: the person may not close it.
    close: Option<Phrase>,
}

struct PolicyRow {
    policy: Named,
    added: String,
    machine: String,
    uses: Vec<(String, &'static str)>,
}

struct Filter {
    text: String,
    href: String,
    is_chosen: bool,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let mut layout = frame::of(&console, &who, Section::Policies);
    let (t, moments) = (layout.t, frame::moments(&console, &who));
    if let Some((tone, said)) = said(t, &asked.done) {
        layout.say(tone, said.to_string());
    }
    let operations = console.api.policies();
    let listed = operations.list(&who.scenes).await.map_err(Problem::from)?;
    let in_use = operations.in_use(&who.scenes).await.map_err(Problem::from)?;
    let names: HashMap<&str, &str> =
        listed.iter().map(|of| (of.policy.digest.as_str(), of.policy.name.as_str())).collect();
    let proposals = console.api.store.proposals().about_policies().await?;
    let proposals = proposals.iter().filter_map(|of| proposal(&who, of, &names, &moments));
    let proposals: Vec<ProposalRow> = proposals.collect();
    let (history, earlier) = history(&console, &who, &asked, &moments).await?;
    let is_short = asked.all.is_empty();
    let is_shown =
        |(place, of): &(usize, &Listed)| !is_short || *place < NEWEST || !of.uses.is_empty();
    let shown: Vec<_> = listed.iter().enumerate().filter(is_shown).collect();
    page(&PoliciesPage {
        form_token: who.form_token.clone(),
        scenes: scenes(&who, &in_use, &moments),
        proposals,
        show_all: (shown.len() < listed.len()).then_some(listed.len()),
        policies: shown.into_iter().map(|(_, of)| policy(of, &moments)).collect(),
        filters: filters(&console, &who, t, &asked).await?,
        history,
        earlier: earlier.map(|before| href(asked.scene.as_deref(), Some(before))),
        newest: asked.before.map(|_| href(asked.scene.as_deref(), None)),
        t,
        layout,
    })
}

fn said(t: &'static Texts, done: &str) -> Option<(Tone, Phrase)> {
    let t = &t.policies;
    Some(match done {
        "changed" => (Tone::Done, t.done_changed),
        "already" => (Tone::Done, t.done_already),
        "proposed" => (Tone::Done, t.done_proposed),
        "withdrawn" => (Tone::Done, t.done_withdrawn),
        _ => return None,
    })
}

/// Scenes without their own policy first, which is how they are ordered.
fn scenes(who: &SignedIn, in_use: &[InUseSince], moments: &Moments) -> Vec<SceneRow> {
    let mut names: Vec<&str> = in_use.iter().map(|used| used.biz_type.as_str()).collect();
    names.dedup();
    let of = |scene: &str, kind: Use| {
        let used =
            in_use.iter().find(|used| used.biz_type == scene && used.kind == kind.as_str())?;
        Some(InUse {
            policy: Named::new(&used.digest, &used.name),
            since: moments.full(used.activated_at),
            machine: Moments::machine(used.activated_at),
            by: actor_text(moments.t, &used.activated_by),
        })
    };
    let row = |scene: &str| {
        let (active, shadow) = (of(scene, Use::Active), of(scene, Use::Shadow));
        let t = &moments.t.policies;
        let mut changes = Vec::new();
        if active.is_some() {
            changes.push((t.roll_back, "roll-back"));
        }
        if active.is_some() && !scene.is_empty() {
            changes.push((t.deactivate, "deactivate"));
        }
        if shadow.is_some() {
            changes.extend([(t.promote, "promote"), (t.end_shadow, "end-shadow")]);
        }
        changes.retain(|_| may_change(who, scene));
        let changes =
            changes.into_iter().map(|(text, what)| (text, change_href(what, None, scene)));
        SceneRow { scene: scene_text(moments.t, scene), active, shadow, changes: changes.collect() }
    };
    names.into_iter().map(row).collect()
}

/// The page that says what a change would do.
pub(super) fn change_href(what: &str, policy: Option<&str>, scene: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("do", what);
    if let Some(policy) = policy {
        query.append_pair("policy", policy);
    }
    if !scene.is_empty() {
        query.append_pair("scene", scene);
    }
    format!("/policies/change?{}", query.finish())
}

/// `None`: it is about a scene that the person does not know of.
fn proposal(
    who: &SignedIn,
    of: &OpenProposal,
    names: &HashMap<&str, &str>,
    moments: &Moments,
) -> Option<ProposalRow> {
    let t = &moments.t.policies;
    let is_own = of.person == who.name;
    let at = moments.full(of.proposed_at);
    let said = if is_own { t.proposed_by_you } else { t.proposed_by };
    let close = if is_own { t.withdraw } else { t.turn_down };
    let row = |what, agree, may_close: bool| ProposalRow {
        id: of.id,
        what,
        who: said.with("person", &of.person).with("time", &at).to_string(),
        purpose: of.purpose.clone().unwrap_or_default(),
        agree,
        close: may_close.then_some(close),
    };
    let (Some(scene), Some(digest)) = (of.detail("biz_type"), of.detail("policy")) else {
        let what = t.proposed_unknown.with("action", &of.action).to_string();
        return (!who.scenes.are_limited()).then(|| row(what, None, true));
    };
    if !is_seen(&who.scenes, scene) {
        return None;
    }
    let (text, what, policy) = match of.action.as_str() {
        "policy.active" => (t.proposed_activate, "activate", Some(digest)),
        "policy.promote" => (t.proposed_promote, "promote", None),
        _ => (t.proposed_deactivate, "deactivate", None),
    };
    let name = names.get(digest).copied().unwrap_or_default();
    let what_text = text
        .with("policy", Named::new(digest, name).in_words())
        .with("scene", scene_text(moments.t, scene));
    let may = may_change(who, scene);
    let agree = (may && !is_own).then(|| change_href(what, policy, scene));
    Some(row(what_text.to_string(), agree, may))
}

fn policy(of: &Listed, moments: &Moments) -> PolicyRow {
    let t = &moments.t.policies;
    let used = |(kind, scene): &(Use, String)| {
        let (text, tone) = match kind {
            Use::Active => (t.active_in, "good"),
            Use::Shadow => (t.shadow_in, "accent"),
        };
        (text.with("scene", scene_text(moments.t, scene)).to_string(), tone)
    };
    PolicyRow {
        policy: Named::new(&of.policy.digest, &of.policy.name),
        added: moments.full(of.policy.added_at),
        machine: Moments::machine(of.policy.added_at),
        uses: of.uses.iter().map(used).collect(),
    }
}

/// A page of changes, and where the next one begins.
async fn history(
    console: &Console,
    who: &SignedIn,
    asked: &Asked,
    moments: &Moments,
) -> Result<(Vec<PastRow>, Option<i64>), Refused> {
    let scenes = who.scenes.names();
    let wanted = PastChanges {
        scene: asked.scene.as_deref(),
        scenes: scenes.as_deref(),
        digest: None,
        before: asked.before,
    };
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut changes = console.api.store.policies().past_changes(wanted, limit).await?;
    let more = changes.len() > PAGE;
    changes.truncate(PAGE);
    let earlier = changes.last().filter(|_| more).map(|last| last.id);
    let rows = changes.into_iter().map(|change| PastRow::of(change, moments));
    Ok((rows.collect(), earlier))
}

fn href(scene: Option<&str>, before: Option<i64>) -> String {
    let mut query = Serializer::new(String::new());
    if let Some(scene) = scene {
        query.append_pair("scene", scene);
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    match query.finish() {
        query if query.is_empty() => "/policies#history".to_owned(),
        query => format!("/policies?{query}#history"),
    }
}

async fn filters(
    console: &Console,
    who: &SignedIn,
    t: &'static Texts,
    asked: &Asked,
) -> Result<Vec<Filter>, Refused> {
    let mut scenes = console.api.store.policies().scenes().await?;
    scenes.retain(|scene| who.scenes.include_name(scene));
    if scenes.is_empty() {
        return Ok(Vec::new());
    }
    let chosen = asked.scene.as_deref();
    let of = |text: String, scene: Option<&str>| Filter {
        text,
        href: href(scene, None),
        is_chosen: chosen == scene,
    };
    let mut filters = vec![
        of(t.policies.every_scene.to_string(), None),
        of(t.policies.general.to_string(), Some("")),
    ];
    filters.extend(scenes.iter().map(|scene| of(scene.clone(), Some(scene))));
    Ok(filters)
}
