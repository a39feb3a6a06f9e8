//! `GET /policies/{digest}`: one policy: its text with findings at their line, facts, where it was
//! used, and the ways to try it and to put it to use.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::parts::{Named, PastRow, may_change, scene_text};
use super::source::{self, Source};
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
use crate::policies::operations::{Listed, PolicyError};
use crate::store::policies::{PolicyText, Use};
use crate::store::policy_history::PastChanges;
use policy::Policy;
use policy::product::Product;

/// Uses that are shown, the newest first.
const MOST_USES: i64 = 100;
/// Other policies that it can be compared with, besides those in use.
const MOST_OTHERS: usize = 20;

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    t: &'static Texts,
    layout: Layout,
    policy: Named,
    uses: Vec<(String, &'static str)>,
    facts: Vec<(Phrase, String)>,
    is_unchecked: bool,
    source: Source,
    history: Vec<PastRow>,
    others: Vec<(Named, bool)>,
    /// Scenes that a form proposes.
    scenes: Vec<String>,
    /// Of a person who is limited to scenes: one must be named.
    must_name_scene: bool,
    may_dry_run: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    done: String,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let text = find(&console, &who, &digest).await?;
    let mut layout = frame::of(&console, &who, Section::Policies);
    let (t, moments) = (layout.t, frame::moments(&console, &who));
    match asked.done.as_str() {
        "stored" => layout.say(Tone::Done, t.policies.stored.to_string()),
        "before" => layout.say(Tone::Done, t.policies.stored_before.to_string()),
        _ => {}
    }
    let listed = console.api.policies().list(&who.scenes).await.map_err(Problem::from)?;
    let checked = match console.api.policies().check(text.body.clone()).await {
        Ok(checked) => Some(checked),
        Err(PolicyError::Busy) => None,
        Err(error) => return Err(Problem::from(error).into()),
    };
    let findings = checked.as_ref().map(|checked| match &checked.policy {
        Ok(policy) => policy.warnings(),
        Err(findings) => findings,
    });
    let source = source::of(&text.body, findings.unwrap_or_default());
    let compiled = console.api.policy_cache.get(&console.api.store, &digest).await?;
    let own = listed.iter().find(|of| of.policy.digest == digest);
    let mut scenes = console.api.store.policies().scenes().await?;
    scenes.retain(|scene| may_change(&who, scene));
    scenes.extend(who.scenes.names().into_iter().flatten().map(ToOwned::to_owned));
    scenes.sort();
    scenes.dedup();
    page(&PolicyPage {
        policy: Named::new(&digest, own.map_or("", |of| &of.policy.name)),
        uses: own.map(|of| uses(of, t)).unwrap_or_default(),
        facts: facts(&text, own, compiled.as_deref(), &moments),
        is_unchecked: checked.is_none(),
        source,
        history: history(&console, &who, &digest, &moments).await?,
        others: others(&listed, &digest),
        scenes,
        must_name_scene: who.scenes.are_limited(),
        may_dry_run: who.has(Scope::DecisionsRead),
        t,
        layout,
    })
}

/// The text of a policy that the person may know of.
pub(super) async fn find(
    console: &Console,
    who: &SignedIn,
    digest: &str,
) -> Result<PolicyText, Refused> {
    Ok(console.api.policies().text(digest, &who.scenes).await.map_err(Problem::from)?)
}

/// The same without its text.
pub(super) async fn named(
    console: &Console,
    who: &SignedIn,
    digest: &str,
) -> Result<Named, Refused> {
    find(console, who, digest).await?;
    let listed = console.api.policies().list(&who.scenes).await.map_err(Problem::from)?;
    let found = listed.iter().find(|of| of.policy.digest == digest);
    Ok(Named::new(digest, found.map_or("", |of| &of.policy.name)))
}

fn uses(of: &Listed, t: &'static Texts) -> Vec<(String, &'static str)> {
    let used = |(kind, scene): &(Use, String)| {
        let scene = scene_text(t, scene);
        match kind {
            Use::Active => (t.policies.active_in.with("scene", scene).to_string(), "good"),
            Use::Shadow => (t.policies.shadow_in.with("scene", scene).to_string(), "accent"),
        }
    };
    of.uses.iter().map(used).collect()
}

fn facts(
    text: &PolicyText,
    own: Option<&Listed>,
    compiled: Option<&Policy>,
    moments: &Moments,
) -> Vec<(Phrase, String)> {
    let t = &moments.t.policies;
    let mut facts = vec![(t.digest, text.digest.clone())];
    facts.extend(own.map(|of| (t.added, moments.full(of.policy.added_at))));
    facts.push((t.lines, text.body.lines().count().to_string()));
    let Some(policy) = compiled else { return facts };
    let products: &[Product] = if policy.decides_face_verify() {
        &[Product::VerifyResult, Product::FaceVerify]
    } else {
        &[Product::VerifyResult]
    };
    let names: Vec<&str> = products.iter().map(|product| product.as_str()).collect();
    facts.push((t.rules, policy.rule_count().to_string()));
    facts.push((t.products, names.join(", ")));
    let mut bounds = policy.score_bounds();
    bounds.extend(policy.verify_score_bounds());
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    if !bounds.is_empty() {
        let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
        facts.push((t.bounds, bounds.join(" · ")));
    }
    facts
}

async fn history(
    console: &Console,
    who: &SignedIn,
    digest: &str,
    moments: &Moments,
) -> Result<Vec<PastRow>, Refused> {
    let scenes = who.scenes.names();
    let wanted =
        PastChanges { digest: Some(digest), scenes: scenes.as_deref(), ..PastChanges::default() };
    let changes = console.api.store.policies().past_changes(wanted, MOST_USES).await?;
    Ok(changes.into_iter().map(|change| PastRow::of(change, moments)).collect())
}

/// The others, and which of them is chosen at first: the one that decides most, else the newest.
fn others(listed: &[Listed], digest: &str) -> Vec<(Named, bool)> {
    let all = listed.iter().filter(|of| of.policy.digest != digest).enumerate();
    let others: Vec<&Listed> = all
        .filter(|(place, of)| *place < MOST_OTHERS || !of.uses.is_empty())
        .map(|(_, of)| of)
        .collect();
    let general = (Use::Active, String::new());
    let chosen = others.iter().position(|of| of.uses.contains(&general)).unwrap_or(0);
    let row = |(place, of): (usize, &Listed)| {
        (Named::new(&of.policy.digest, &of.policy.name), place == chosen)
    };
    others.into_iter().enumerate().map(row).collect()
}
