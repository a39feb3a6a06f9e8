//! `/webhook-endpoints/{id}`: one endpoint, what was sent to it, and sending again.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::parts::{Fact, status};
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::purposes::optional;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::event::EventId;
use crate::domain::ids::EndpointId;
use crate::domain::scope::Scope;
use crate::http::problem::Problem;
use crate::store::webhook_endpoints::{WebhookAttempt, WebhookEndpoint};
use crate::webhooks::endpoints::RedeliverySelection;

/// Requests of a page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    before: Option<i64>,
    #[serde(default)]
    done: String,
    count: Option<i64>,
}

#[derive(Template)]
#[template(path = "endpoint.html")]
struct EndpointPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    endpoint: WebhookEndpoint,
    status: Phrase,
    tone: &'static str,
    facts: Vec<Fact>,
    requests: Vec<Request>,
    earlier: Option<String>,
    may_act: bool,
}

struct Request {
    at: String,
    machine: String,
    event: String,
    sequence: String,
    attempt: i32,
    answer: String,
    is_good: bool,
    took: i32,
    next: String,
}

pub async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::OperationsRead)?;
    let id = endpoint_id(&id)?;
    let endpoints = console.api.endpoints();
    let endpoint = endpoints.find(id, &who.scenes).await.map_err(Problem::from)?;
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut attempts =
        endpoints.attempts(id, asked.before, limit, &who.scenes).await.map_err(Problem::from)?;
    let more = attempts.len() > PAGE;
    attempts.truncate(PAGE);
    let mut layout = frame::of(&console, &who, Section::Operations);
    let moments = frame::moments(&console, &who);
    let t = layout.t;
    if let Some(said) = said(t, &asked) {
        layout.say(Tone::Done, said);
    }
    let (status, tone) = status(t, &endpoint.status);
    page(&EndpointPage {
        form_token: who.form_token.clone(),
        facts: facts(t, &endpoint, &moments),
        earlier: attempts
            .last()
            .filter(|_| more)
            .map(|last| format!("/webhook-endpoints/{id}?before={}", last.id)),
        requests: attempts.into_iter().map(|attempt| request(attempt, &moments)).collect(),
        may_act: who.has(Scope::WebhooksWrite),
        endpoint,
        status,
        tone,
        t,
        layout,
    })
}

fn endpoint_id(text: &str) -> Result<EndpointId, Refused> {
    text.parse().map_err(|_| Refused::not_found())
}

fn said(t: &'static Texts, asked: &Asked) -> Option<String> {
    let t = &t.operations;
    Some(match asked.done.as_str() {
        "pause" => t.done_pause.to_string(),
        "resume" => t.done_resume.to_string(),
        "test" => t.done_test.to_string(),
        "redeliver" => t.redelivered.with("n", asked.count.unwrap_or_default()).to_string(),
        _ => return None,
    })
}

fn facts(t: &'static Texts, endpoint: &WebhookEndpoint, moments: &Moments) -> Vec<Fact> {
    let t = &t.operations;
    let list = |names: Option<&[String]>| {
        names.map_or_else(|| t.every.to_string(), |names| names.join(", "))
    };
    let mut facts = vec![
        (t.types, list(endpoint.types.as_deref())),
        (t.scenes, list(endpoint.biz_types.as_deref())),
        (t.acknowledged, endpoint.acknowledged_through.to_string()),
        (t.behind, endpoint.behind.to_string()),
        (t.dead, endpoint.dead_letters.to_string()),
    ];
    let times = [(t.failing_since, endpoint.failing_since), (t.next_try, endpoint.next_try_at)];
    facts.extend(times.into_iter().filter_map(|(name, at)| Some((name, moments.full(at?)))));
    facts.extend(endpoint.last_status.map(|status| (t.last_answer, format!("HTTP {status}"))));
    facts.extend(endpoint.disabled_because.clone().map(|why| (t.why_disabled, why)));
    facts
}

fn request(attempt: WebhookAttempt, moments: &Moments) -> Request {
    let answer = match (attempt.status, attempt.error) {
        (Some(status), Some(error)) => format!("HTTP {status} · {error}"),
        (Some(status), None) => format!("HTTP {status}"),
        (None, error) => error.unwrap_or_default(),
    };
    Request {
        at: moments.full(attempt.at),
        machine: Moments::machine(attempt.at),
        event: attempt.event_id,
        sequence: attempt.sequence.map(|number| number.to_string()).unwrap_or_default(),
        attempt: attempt.attempt,
        answer,
        is_good: attempt.status.is_some_and(|status| (200..300).contains(&status)),
        took: attempt.latency_ms,
        next: attempt.next_at.map(|at| moments.short(at)).unwrap_or_default(),
    }
}

#[derive(Debug, Deserialize)]
pub struct Act {
    /// `pause`, `resume`, `test`, `failed`, or the id of an event to be redelivered.
    #[serde(default, rename = "do")]
    what: String,
    #[serde(default)]
    purpose: String,
}

/// `POST /webhook-endpoints/{id}`.
pub async fn act(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<Act>,
) -> Result<Response, Refused> {
    who.must_have(Scope::WebhooksWrite)?;
    let id = endpoint_id(&id)?;
    let context = who.audit_context(optional(&form.purpose)?, console.api.clock.now());
    let (endpoints, scenes) = (console.api.endpoints(), &who.scenes);
    let done = match form.what.as_str() {
        "pause" => endpoints.pause(id, scenes, &context).await.map(|_| "done=pause".to_owned()),
        "resume" => endpoints.resume(id, scenes, &context).await.map(|_| "done=resume".to_owned()),
        "test" => endpoints.test(id, scenes, &context).await.map(|_| "done=test".to_owned()),
        what => {
            let selection = match what {
                "failed" => RedeliverySelection::Failed,
                event => RedeliverySelection::Event(
                    event.parse::<EventId>().map_err(|_| Problem::invalid_field())?,
                ),
            };
            let redelivered = endpoints.redeliver(id, selection, scenes, &context).await;
            redelivered.map(|count| format!("done=redeliver&count={count}"))
        }
    };
    let done = done.map_err(Problem::from)?;
    console.api.signals.endpoint_is_due();
    Ok(see(&format!("/webhook-endpoints/{id}?{done}")))
}
