//! `GET /policies/{digest}/diff`: what a policy changes compared with another one: in its rules, and
//! line by line.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::hunks::{self, Row};
use super::one;
use super::parts::Named;
use crate::console::figures::{datum, symbol};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section};
use crate::console::frame::page::page;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::scope::Scope;
use crate::http::problem::Problem;
use crate::store::policies::Use;
use policy::rule_changes::{RuleChange, RuleComparison, rule_changes};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// Empty: the policy that decides in scenes without their own.
    #[serde(default)]
    with: String,
}

#[derive(Template)]
#[template(path = "policy_diff.html")]
struct DiffPage {
    t: &'static Texts,
    layout: Layout,
    old: Named,
    new: Named,
    /// `None`: one of the two cannot be compiled by this version.
    rules: Option<Vec<RuleRow>>,
    rows: Vec<Row>,
}

struct RuleRow {
    rule: String,
    kind: Phrase,
    tone: &'static str,
    changes: Vec<String>,
    removed: Vec<String>,
    added: Vec<String>,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let policies = console.api.policies();
    let listed = policies.list(&who.scenes).await.map_err(Problem::from)?;
    let with = match asked.with.as_str() {
        "" => {
            let general = (Use::Active, String::new());
            let active = listed.iter().find(|of| of.uses.contains(&general));
            active.ok_or_else(Refused::not_found)?.policy.digest.clone()
        }
        with => with.to_owned(),
    };
    let new = one::find(&console, &who, &digest).await?;
    let old = one::find(&console, &who, &with).await?;
    let cache = &console.api.policy_cache;
    let compiled = (
        cache.get(&console.api.store, &old.digest).await?,
        cache.get(&console.api.store, &new.digest).await?,
    );
    let layout = frame::of(&console, &who, Section::Policies);
    let t = layout.t;
    let changes = policies.diff(old.body.clone(), new.body.clone()).await.map_err(Problem::from)?;
    let named = |digest: &str| {
        let found = listed.iter().find(|of| of.policy.digest == digest);
        Named::new(digest, found.map_or("", |of| &of.policy.name))
    };
    let rules = match &compiled {
        (Some(old), Some(new)) => {
            Some(rule_changes(old, new).iter().map(|change| row(t, change)).collect())
        }
        _ => None,
    };
    page(&DiffPage {
        old: named(&old.digest),
        new: named(&new.digest),
        rules,
        rows: hunks::of(&old.body, &new.body, &changes),
        t,
        layout,
    })
}

fn row(texts: &'static Texts, change: &RuleChange) -> RuleRow {
    let t = &texts.policies;
    let (kind, tone) = match (&change.old, &change.new) {
        (None, _) => (t.rule_added, "good"),
        (_, None) => (t.rule_removed, "bad"),
        _ => (t.rule_changed, "warn"),
    };
    let mut changes = Vec::new();
    if let (Some(old), Some(new)) = (&change.old, &change.new) {
        if old.outcome != new.outcome {
            let said = t
                .outcome_changed
                .with("old", texts.words.outcome(old.outcome))
                .with("new", texts.words.outcome(new.outcome));
            changes.push(said.to_string());
        }
        if old.reason != new.reason {
            let said = t.reason_changed.with("old", &old.reason).with("new", &new.reason);
            changes.push(said.to_string());
        }
    } else if let Some(one) = change.old.as_ref().or(change.new.as_ref()) {
        changes.push(format!("{} · {}", texts.words.outcome(one.outcome), one.reason));
    }
    if change.is_joined_otherwise {
        changes.push(t.structure_changed.to_string());
    }
    if change.has_other_texts {
        changes.push(t.words_changed.to_string());
    }
    let shown = |of: &[RuleComparison]| of.iter().map(|of| comparison(texts, of)).collect();
    RuleRow {
        rule: change.rule.clone(),
        kind,
        tone,
        changes,
        removed: shown(&change.removed),
        added: shown(&change.added),
    }
}

/// `lowest_score < 90`.
fn comparison(texts: &'static Texts, of: &RuleComparison) -> String {
    let said = format!("{} {} {}", of.field, symbol(of.operator), datum(&of.bound));
    match of.missing {
        None => said,
        Some(value) => {
            let absent = texts.policies.absent_as.with("value", texts.words.flag(value));
            format!("{said} ({absent})")
        }
    }
}
