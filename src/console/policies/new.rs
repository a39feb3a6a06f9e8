//! `/policies/new`: a text is typed, checked as the command line checks it, and stored where it has no
//! errors. Findings stand at their line; what was typed stays.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::one;
use super::parts::Named;
use super::source::{self, Source};
use crate::console::form::TextForm;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::page::{page, see};
use crate::console::purposes::optional;
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::Texts;
use crate::domain::byte_order_mark;
use crate::domain::scope::Scope;
use crate::http::body_limits::MAX_BODY_BYTES;
use crate::http::problem::{Code, Problem};
use policy::Policy;

#[derive(Template)]
#[template(path = "policy_new.html")]
struct NewPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    typed: String,
    purpose: String,
    /// `None`: nothing was checked yet.
    source: Option<Source>,
    /// Texts to begin with.
    others: Vec<Named>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// The policy whose text is copied.
    #[serde(default)]
    from: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    text: String,
    #[serde(default)]
    purpose: String,
    /// `store`; else the text is only checked.
    #[serde(default, rename = "do")]
    what: String,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Query(Asked { from }): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let typed = match from.as_str() {
        "" => String::new(),
        from => one::find(&console, &who, from).await?.body,
    };
    let layout = frame::of(&console, &who, Section::Policies);
    let others = if typed.is_empty() { in_use(&console, &who).await? } else { Vec::new() };
    page(&NewPage {
        t: layout.t,
        layout,
        form_token: who.form_token.clone(),
        typed,
        purpose: String::new(),
        source: None,
        others,
    })
}

/// The policies in use, each once.
async fn in_use(console: &Console, who: &SignedIn) -> Result<Vec<Named>, Refused> {
    let in_use = console.api.policies().in_use(&who.scenes).await.map_err(Problem::from)?;
    let mut all: Vec<Named> = Vec::new();
    for used in in_use {
        let named = Named::new(&used.digest, &used.name);
        if !all.contains(&named) {
            all.push(named);
        }
    }
    Ok(all)
}

/// `POST /policies/new`.
pub(super) async fn check(
    State(console): State<Console>,
    who: SignedIn,
    TextForm(Typed { text, purpose, what }): TextForm<Typed>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let text = as_in_a_file(&text);
    if text.len() > MAX_BODY_BYTES {
        return Err(Problem::body_too_large().into());
    }
    let context = who.audit_context(optional(&purpose)?, console.api.clock.now());
    let policies = console.api.policies();
    let checked = policies.check(text).await.map_err(Problem::from)?;
    let is_stored = what == "store";
    if let (true, Ok(policy)) = (is_stored, &checked.policy) {
        let is_new = policies.add_checked(policy, &context).await.map_err(Problem::from)?;
        let done = if is_new { "stored" } else { "before" };
        tracing::info!(user = %who.user, policy = policy.digest(), "policy stored in the console");
        return Ok(see(&format!("/policies/{}?done={done}", policy.digest())));
    }
    let mut layout = frame::of(&console, &who, Section::Policies);
    let t = layout.t;
    let findings = match &checked.policy {
        Ok(policy) => {
            let said = t.policies.is_valid.with("digest", policy.digest());
            layout.say(Tone::Done, said.to_string());
            Policy::warnings(policy)
        }
        Err(findings) => {
            layout.say(Tone::Failed, t.policies.is_invalid.to_string());
            findings
        }
    };
    let response = page(&NewPage {
        form_token: who.form_token.clone(),
        source: Some(source::of(&checked.text, findings).near_findings()),
        typed: checked.text.clone(),
        purpose,
        others: Vec::new(),
        t,
        layout,
    })?;
    Ok(if is_stored {
        marked(response, StatusCode::UNPROCESSABLE_ENTITY, Code::PolicyRefused.as_str())
    } else {
        response
    })
}

/// A browser ends lines with two characters. With one, as in a file, the same text has the same digest
/// here as on the command line.
fn as_in_a_file(text: &str) -> String {
    byte_order_mark::removed(text.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::as_in_a_file;

    #[test]
    fn text_of_a_browser_is_that_of_a_file() {
        assert_eq!(as_in_a_file("\u{feff}a = 1\r\nb = 2\r\n"), "a = 1\nb = 2\n");
    }
}
