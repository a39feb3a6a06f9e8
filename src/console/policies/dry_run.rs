//! `/policies/{digest}/dry-run`: decides the stored evidence of one verification by another policy, and
//! shows both decisions side by side. Writes nothing.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::one;
use super::parts::{Named, short};
use crate::console::desk::facts::{ReasonRow, reason_rows};
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::page;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::console::verifications::list::{Row, row, search};
use crate::console::verifications::one::{is_open_for, outcome_text};
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::scope::Scope;
use crate::domain::verification::{State as Standing, Verification};
use crate::http::problem::Problem;
use policy::Policy;
use policy::decision::Outcome;
use policy::evidence::Evidence;

/// Verifications among which one can be chosen.
const MOST: usize = 20;

#[derive(Template)]
#[template(path = "policy_dry_run.html")]
struct DryRunPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    policy: Named,
    q: String,
    found: Found,
}

enum Found {
    /// The form was not sent yet.
    Unasked,
    Nothing,
    Many(Vec<Row>),
    /// It cannot be decided again.
    Not(Row, Phrase),
    Decided(Row, Box<Compared>),
}

struct Compared {
    says: String,
    is_same: bool,
    /// A person has decided since.
    by_person: Option<String>,
    /// Why the observed values are left out.
    hidden: Option<Phrase>,
    old: Shown,
    new: Shown,
}

/// One of the two decisions.
struct Shown {
    outcome: Phrase,
    tone: &'static str,
    by: String,
    reasons: Vec<ReasonRow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Any id of a verification, or its reference.
    #[serde(default)]
    q: String,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
) -> Result<Response, Refused> {
    let policy = must_try(&console, &who, &digest).await?;
    shown(&console, &who, policy, String::new(), Found::Unasked)
}

/// `POST /policies/{digest}/dry-run`.
pub(super) async fn run(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
    Form(Asked { q }): Form<Asked>,
) -> Result<Response, Refused> {
    let policy = must_try(&console, &who, &digest).await?;
    let q = q.trim().to_owned();
    let moments = frame::moments(&console, &who);
    let mut all = if q.is_empty() { Vec::new() } else { search(&console, &who, &q).await? };
    let found = match all.len() {
        0 if q.is_empty() => Found::Unasked,
        0 => Found::Nothing,
        1 => {
            let found = all.swap_remove(0);
            decided(&console, &who, &policy, &found, &moments).await?
        }
        _ => {
            all.truncate(MOST);
            Found::Many(all.iter().map(|found| row(moments.t, found, &moments)).collect())
        }
    };
    shown(&console, &who, policy, q, found)
}

/// The policy, for a person who may see decisions.
async fn must_try(console: &Console, who: &SignedIn, digest: &str) -> Result<Named, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    who.must_have(Scope::DecisionsRead)?;
    one::named(console, who, digest).await
}

fn shown(
    console: &Console,
    who: &SignedIn,
    policy: Named,
    q: String,
    found: Found,
) -> Result<Response, Refused> {
    let layout = frame::of(console, who, Section::Policies);
    let form_token = who.form_token.clone();
    page(&DryRunPage { t: layout.t, layout, form_token, policy, q, found })
}

async fn decided(
    console: &Console,
    who: &SignedIn,
    named: &Named,
    found: &Verification,
    moments: &Moments,
) -> Result<Found, Refused> {
    let (t, store) = (moments.t, &console.api.store);
    let shown = row(t, found, moments);
    if found.state == Standing::Erased {
        return Ok(Found::Not(shown, t.policies.dry_erased));
    }
    let Some(policy) = console.api.policy_cache.get(store, &named.digest).await? else {
        return Ok(Found::Not(shown, t.policies.dry_unusable));
    };
    let mut decisions = store.results().decisions_of(found.id).await?;
    let by_person = decisions.last().filter(|last| last.by == DecidedBy::Person).map(|last| {
        let outcome = t.words.decided(last.decision.outcome);
        t.policies.dry_person.with("outcome", outcome).to_string()
    });
    decisions.retain(|decision| decision.by == DecidedBy::Policy);
    let Some(old) = decisions.pop() else {
        return Ok(Found::Not(shown, t.policies.dry_none));
    };
    let results = store.results().results_of(found.id).await?;
    let evidence = results.into_iter().find(|result| result.id == old.result_id);
    let Some(evidence) = evidence.and_then(|result| result.evidence) else {
        return Ok(Found::Not(shown, t.policies.dry_none));
    };
    let compared = compare(console, who, &old, evidence, policy, moments).await?;
    let mut compared = Compared { by_person, ..compared };
    if is_open_for(who, found) {
        compared.hidden = Some(t.comparison.hidden_open);
        for reason in compared.old.reasons.iter_mut().chain(&mut compared.new.reasons) {
            reason.observed.clear();
        }
    }
    Ok(Found::Decided(shown, Box::new(compared)))
}

async fn compare(
    console: &Console,
    who: &SignedIn,
    old: &StoredDecision,
    evidence: Evidence,
    policy: Arc<Policy>,
    moments: &Moments,
) -> Result<Compared, Refused> {
    let t = moments.t;
    let (digest, name) = (policy.digest().to_owned(), policy.name().to_owned());
    let new = console
        .api
        .policies()
        .decide(Arc::clone(&policy), evidence.with_card_days_at_edge())
        .await
        .map_err(Problem::from)?;
    let before = console.api.policy_cache.get(&console.api.store, &old.policy).await?;
    let (was, is) = (old.decision.outcome, new.outcome);
    let said = if was == is { t.policies.dry_same } else { t.policies.dry_other };
    let says = said.with("old", t.words.decided(was)).with("new", t.words.decided(is));
    let by = t
        .policies
        .dry_by
        .with(
            "policy",
            before.as_ref().map_or_else(
                || short(&old.policy),
                |policy| Named::new(&old.policy, policy.name()).in_words(),
            ),
        )
        .with("time", moments.full(old.decided_at));
    let language = who.language.as_str();
    let shown = |outcome: Outcome, by: String, reasons| {
        let (outcome, tone) = outcome_text(t, outcome);
        Shown { outcome, tone, by, reasons }
    };
    Ok(Compared {
        says: says.to_string(),
        is_same: was == is,
        by_person: None,
        hidden: None,
        old: shown(
            was,
            by.to_string(),
            reason_rows(&old.decision.reasons, before.as_deref(), language),
        ),
        new: shown(
            is,
            Named::new(&digest, &name).in_words(),
            reason_rows(&new.reasons, Some(&policy), language),
        ),
    })
}
