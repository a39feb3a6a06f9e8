//! `/policies/{digest}/shadow`: what a policy in shadow decided beside the active one, by its newest
//! decisions.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::chart;
use super::flips::{self, Listed};
use super::numbers::grouped;
use super::shown::{Policies, Shown};
use super::words::{scene_text, short};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::page;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::Texts;
use crate::domain::ids::VerificationId;
use crate::domain::scope::Scope;
use crate::http::problem::Problem;
use crate::policies::active::PolicySnapshot;
use crate::policies::past::Flip;
use crate::store::policies::Use;
use crate::store::shadows::ShadowDecision;
use policy::compare::Comparison;
use policy::decision::Decision;

/// Decisions that are compared: more would say the same and make the page wait.
const MOST: usize = 10_000;
/// Read at once.
const BATCH: i64 = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    after: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "shadow.html")]
struct ShadowPage {
    t: &'static Texts,
    layout: Layout,
    digest: String,
    name: String,
    active: Option<String>,
    /// Since when, in which scenes.
    since: Vec<String>,
    /// Where there are more than these.
    newest: Option<String>,
    shown: Shown,
    is_empty: bool,
    listed: Listed,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let (store, cache) = (&console.api.store, &console.api.policy_cache);
    let text = console.api.policies().text(&digest, &who.scenes).await.map_err(Problem::from)?;
    let candidate = cache.get(store, &text.digest).await?;
    let layout = frame::of(&console, &who, Section::Policies);
    let moments = frame::moments(&console, &who);
    let since = since(&console, &who, &digest, &moments).await?;
    let mut seen = Seen::default();
    seen.read(&console, &who, &digest).await?;
    let after = asked.after.unwrap_or(Uuid::max());
    let mut left = seen.flips.into_iter().filter(|(decision, _)| *decision < after);
    let page_of_flips: Vec<(Uuid, Flip)> = left.by_ref().take(flips::PAGE).collect();
    let last = page_of_flips.last().map(|(decision, _)| *decision);
    let next = last.filter(|_| left.next().is_some());
    let shown_flips: Vec<Flip> = page_of_flips.into_iter().map(|(_, flip)| flip).collect();
    let active = PolicySnapshot::load(store, cache).await?;
    let active = active.map(|all| {
        let scene = since.first().map(|(scene, _)| scene.clone()).unwrap_or_default();
        std::sync::Arc::clone(all.active(&scene))
    });
    let t = layout.t;
    let policies = Policies { candidate: candidate.as_deref(), active: active.as_deref() };
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    page(&ShadowPage {
        name: candidate
            .as_deref()
            .map_or_else(|| short(&digest), |policy| policy.name().to_owned()),
        active: active.as_deref().map(|policy| policy.name().to_owned()),
        since: since.into_iter().map(|(_, text)| text).collect(),
        newest: seen
            .is_cut
            .then(|| t.comparison.shadow_newest.with("n", grouped(most)).to_string()),
        shown: Shown::of(who.language, &seen.comparison, policies),
        is_empty: seen.comparison.decisions == 0,
        listed: Listed::new(
            seen.comparison.flips,
            Some(flips::rows(&console, &who, &moments, &shown_flips).await?),
            &format!("/policies/{digest}/shadow"),
            (asked.after, next),
        ),
        digest,
        t,
        layout,
    })
}

/// The scenes in which it is in shadow now, and since when, in words.
async fn since(
    console: &Console,
    who: &SignedIn,
    digest: &str,
    moments: &Moments,
) -> Result<Vec<(String, String)>, Refused> {
    let activations = console.api.policies().activations(&who.scenes).await;
    let mut newest = activations.map_err(Problem::from)?;
    newest.retain(|activation| activation.kind == Use::Shadow.as_str());
    // Newest first: of each scene the first counts.
    let mut scenes = std::collections::BTreeSet::new();
    newest.retain(|activation| scenes.insert(activation.biz_type.clone()));
    let t = &moments.t.comparison;
    let here = newest.into_iter().filter(|activation| activation.digest.as_deref() == Some(digest));
    Ok(here
        .map(|activation| {
            let scene = Some(activation.biz_type.as_str()).filter(|scene| !scene.is_empty());
            let text = t
                .shadow_since
                .with("time", moments.full(activation.activated_at))
                .with("scene", scene_text(t, scene));
            (activation.biz_type, text.to_string())
        })
        .collect())
}

/// The decisions that were read, newest first.
#[derive(Default)]
struct Seen {
    comparison: Comparison,
    flips: Vec<(Uuid, Flip)>,
    /// There are more than were read.
    is_cut: bool,
}

impl Seen {
    async fn read(
        &mut self,
        console: &Console,
        who: &SignedIn,
        digest: &str,
    ) -> Result<(), Refused> {
        self.comparison = Comparison::default().with_people();
        let scenes = who.scenes.names();
        let (store, mut before, mut read) = (&console.api.store, Uuid::max(), 0);
        while read < MOST {
            let next = (before, BATCH);
            let batch = store.shadows().newest(digest, scenes.as_deref(), next).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            before = last.decision;
            read += batch.len();
            let answers: Vec<(Uuid, VerificationId)> =
                batch.iter().map(|of| (of.answer, of.verification)).collect();
            let among = (Uuid::max(), None);
            let last = store.history().last_about_persons(&answers, among).await?;
            for decision in batch {
                let is_last = last.contains(&decision.answer);
                self.count(decision, is_last);
            }
        }
        self.is_cut = true;
        Ok(())
    }

    fn count(&mut self, of: ShadowDecision, is_last: bool) {
        let Some(evidence) = &of.evidence else {
            self.comparison.erased += 1;
            return;
        };
        if is_last {
            self.comparison.add_person(of.active, of.outcome);
        }
        let new = Decision { outcome: of.outcome, reasons: of.reasons };
        if self.comparison.add(of.active, &new, evidence, of.at.date()) {
            let flip = Flip {
                answer: of.answer,
                verification: of.verification,
                at: of.at,
                old: of.active,
                old_reason: of.active_reason,
                new: new.outcome,
                reasons: new.reasons,
            };
            self.flips.push((of.decision, flip));
        }
    }
}
