//! `GET /verifications/{id}`: everything about one verification: where it stands, why it waits, what
//! happened, and what can be done.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::person;
use super::pictures::{self, Picture, Shown};
use super::reveal::{self, Choice};
use super::timeline::{self, EventRow};
use super::waiting;
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone, milliseconds};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::page;
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::answer::StoredResult;
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::erasure::REMAINING;
use crate::domain::ids::{DecisionId, VerificationId};
use crate::domain::image::ImageKind;
use crate::domain::scope::Scope;
use crate::domain::verification::{State as Standing, Verification};
use crate::http::material;
use crate::http::problem::Problem;
use crate::store::erasure::Receipt;
use crate::store::images::ImageRow;
use crate::store::legal_holds::LegalHold;
use policy::decision::Outcome;
use policy::evidence::Evidence;

#[derive(Template)]
#[template(path = "verification.html")]
struct VerificationPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    id: VerificationId,
    state: Standing,
    state_text: Phrase,
    facts: Vec<(Phrase, String)>,
    /// Leads to the others of the same reference.
    reference: Option<(String, String)>,
    waiting: Vec<String>,
    failure: Option<(&'static str, Option<String>)>,
    decision: Option<DecisionShown>,
    results: Option<Vec<ResultShown>>,
    images: Option<Vec<ImageShown>>,
    timeline: Option<Vec<EventRow>>,
    held: Option<String>,
    held_earlier: Vec<String>,
    receipt: Option<ReceiptShown>,
    may_refetch: bool,
    closed_by_person: bool,
    may_erase: bool,
    may_reveal: MayReveal,
    masked: [Phrase; 4],
    purposes: Vec<Choice>,
    revealed: Option<Revealed>,
}

/// The reveals that the page offers.
struct MayReveal {
    person: bool,
    images: bool,
}

/// Personal data or pictures, shown for a minute.
struct Revealed {
    rows: Vec<(Phrase, String)>,
    pictures: Vec<Picture>,
    /// For the page of the further pictures: the purpose, and where it begins.
    further: Option<(String, usize)>,
    mark: String,
    until: String,
    /// Milliseconds.
    left: u64,
}

impl Revealed {
    fn new(
        moments: &Moments,
        who: &SignedIn,
        rows: Vec<(Phrase, String)>,
        pictures: Vec<Picture>,
    ) -> Self {
        Self {
            rows,
            pictures,
            further: None,
            mark: pictures::mark(who, moments),
            until: moments.clock(moments.now + person::SHOWN_FOR),
            left: milliseconds(person::SHOWN_FOR),
        }
    }
}

struct DecisionShown {
    outcome: Phrase,
    tone: &'static str,
    by: String,
    policy: String,
    reasons: Vec<(String, Option<String>)>,
    simulated: bool,
}

struct ResultShown {
    attempt: i32,
    at: String,
    machine: String,
    answer: String,
    request_id: String,
}

struct ImageShown {
    kind: String,
    state: String,
    size: String,
    /// Why it may be more, or less, than an image.
    unusual: String,
}

struct ReceiptShown {
    requested: String,
    completed: Option<String>,
    destroyed: String,
    remains: Vec<(&'static str, &'static str)>,
    copy: Option<String>,
    stays: Vec<String>,
}

/// The action that led to the page.
#[derive(Debug, Default, Deserialize)]
pub struct Said {
    done: Option<String>,
}

pub async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Query(said): Query<Said>,
) -> Result<Response, Refused> {
    who.must_have(Scope::DecisionsRead)?;
    let found = find(&console, &who, &id).await?;
    let mut layout = frame::of(&console, &who, Section::Verifications);
    if let Some((tone, text)) = said.done.as_deref().and_then(|done| message(layout.t, done)) {
        layout.say(tone, text.to_string());
    }
    let moments = frame::moments(&console, &who);
    page(&build(&console, &who, found, layout, &moments).await?)
}

/// The posted request to see personal data or pictures.
#[derive(Debug, Deserialize)]
pub struct Reveal {
    #[serde(default)]
    purpose: String,
    /// `person` or `images`.
    #[serde(default)]
    show: String,
    /// Pictures that earlier pages have shown.
    #[serde(default)]
    from: usize,
}

/// A page of pictures with stylesheet, script and icon makes six requests.
const PICTURES: usize = 2;

/// `POST /verifications/{id}/reveal`: the page with the person's data, or with the pictures, for a
/// minute. Each reading is on record.
pub async fn reveal(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<Reveal>,
) -> Result<Response, Refused> {
    who.must_have(Scope::DecisionsRead)?;
    let wants_images = form.show == "images";
    who.must_have(if wants_images { Scope::ImagesRead } else { Scope::MaterialRead })?;
    let found = find(&console, &who, &id).await?;
    let id = found.id;
    let moments = frame::moments(&console, &who);
    let t = moments.t;
    let mut layout = frame::of(&console, &who, Section::Verifications);
    let Some(purpose) = reveal::listed(&console.api.reviews, &form.purpose) else {
        layout.say(Tone::Failed, t.facts.choose_purpose.to_string());
        let shown = page(&build(&console, &who, found, layout, &moments).await?)?;
        return Ok(marked(shown, StatusCode::UNPROCESSABLE_ENTITY, "invalid-field"));
    };
    let revealed = if wants_images {
        let rows = console.api.store.images().images_of(id).await?;
        let mut kinds: Vec<ImageKind> =
            rows.iter().filter_map(|row| row.kind.parse().ok()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut pictures =
            pictures::newest(t, &rows, &kinds, (&format!("/verifications/{id}"), purpose));
        if pictures.is_empty() {
            layout.say(Tone::Failed, t.verification.no_stored_images.to_string());
        }
        let mut pictures = pictures.split_off(form.from.min(pictures.len()));
        let is_last = pictures.len() <= PICTURES;
        pictures.truncate(PICTURES);
        let mut revealed = Revealed::new(&moments, &who, Vec::new(), pictures);
        revealed.further = (!is_last).then(|| (purpose.to_owned(), form.from + PICTURES));
        revealed
    } else {
        let context = who.audit_context(Some(purpose), moments.now);
        let material = material::open(&console.api, id, &context).await?;
        Revealed::new(&moments, &who, person::rows(&material.person, t), Vec::new())
    };
    layout.refresh = Some((person::SHOWN_FOR.as_secs(), format!("/verifications/{id}")));
    let mut shown = build(&console, &who, found, layout, &moments).await?;
    shown.revealed = Some(revealed);
    page(&shown)
}

/// The verification, if the person may know of it.
pub async fn find(console: &Console, who: &SignedIn, id: &str) -> Result<Verification, Refused> {
    let id: VerificationId = id.parse().map_err(|_| Refused::not_found())?;
    let found = console.api.loader.submit(id).await.map_err(Problem::from)??;
    found.filter(|found| who.scenes.include(&found.biz_type)).ok_or_else(Refused::not_found)
}

fn message(t: &'static Texts, done: &str) -> Option<(Tone, Phrase)> {
    let t = &t.verification;
    Some(match done {
        "refetched" => (Tone::Done, t.refetched),
        "proposed" => (Tone::Done, t.proposed),
        "erased" => (Tone::Done, t.erased_now),
        "held" => (Tone::Done, t.hold_placed),
        "held-before" => (Tone::Done, t.hold_before),
        "lifted" => (Tone::Done, t.hold_lifted),
        "on-hold" => (Tone::Failed, t.on_hold),
        _ => return None,
    })
}

async fn build(
    console: &Console,
    who: &SignedIn,
    found: Verification,
    layout: Layout,
    moments: &Moments,
) -> Result<VerificationPage, Refused> {
    let (t, id, store) = (layout.t, found.id, &console.api.store);
    let fetch = store.open_work().fetch_of(id).await?.ok_or_else(Refused::not_found)?;
    let tasks = store.open_work().tasks_of(id).await?;
    let account = store.open_work().account(&console.api.account).await?;
    let waiting = waiting::sentences(found.state, &fetch, &tasks, account.as_ref(), moments);
    let reads_results = who.has(Scope::ResultsRead);
    let results = if reads_results {
        let results = store.results().results_of(id).await?;
        Some(results.iter().map(|result| result_shown(result, moments)).collect())
    } else {
        None
    };
    let reads_images = who.has(Scope::ImagesRead);
    let rows = if reads_images { store.images().images_of(id).await? } else { Vec::new() };
    let timeline = if reads_results {
        let events = store.timeline().events_of(id).await?;
        Some(timeline::rows(events, moments, hidden(who, &found)))
    } else {
        None
    };
    let holds = store.legal_holds().of(id).await?;
    let receipt = store.erasures().receipt(id).await?;
    Ok(VerificationPage {
        form_token: who.form_token.clone(),
        id,
        state: found.state,
        state_text: t.words.state(found.state),
        facts: facts(t, &found, fetch.callbacks, moments),
        reference: found.reference.as_ref().map(|reference| {
            let query: String =
                url::form_urlencoded::byte_serialize(reference.as_bytes()).collect();
            (reference.clone(), format!("/verifications?q={query}"))
        }),
        waiting,
        failure: found
            .failure
            .as_ref()
            .map(|failure| (failure.reason.text(), failure.provider_code.clone())),
        decision: match &found.decision {
            Some(decision) => Some(decision_shown(console, who, decision, moments).await?),
            None => None,
        },
        results,
        images: reads_images.then(|| rows.iter().map(|image| image_shown(t, image)).collect()),
        timeline,
        held: holds.iter().find(|hold| hold.lifted_at.is_none()).map(|hold| held(t, hold, moments)),
        held_earlier: holds.iter().filter_map(|hold| held_earlier(t, hold, moments)).collect(),
        receipt: receipt.map(|receipt| receipt_shown(t, receipt, moments)),
        may_refetch: who.has(Scope::VerificationsWrite) && found.state != Standing::Erased,
        closed_by_person: store.verifications().closed_by_person(id).await?.is_some(),
        may_erase: who.has(Scope::ErasuresWrite) && found.state != Standing::Erased,
        may_reveal: MayReveal {
            person: who.has(Scope::MaterialRead) && found.state != Standing::Erased,
            images: rows.iter().any(|image| image.state == "archived"),
        },
        masked: person::masked(t),
        purposes: reveal::purposes(&console.api.reviews, who.language, ""),
        revealed: None,
        t,
        layout,
    })
}

fn facts(
    t: &'static Texts,
    found: &Verification,
    callbacks: i32,
    moments: &Moments,
) -> Vec<(Phrase, String)> {
    let of = &t.verification;
    let mut facts = vec![
        (of.scene, found.biz_type.as_str().to_owned()),
        (of.biz_id, found.biz_id.as_str().to_owned()),
        (of.product, found.product.as_str().to_owned()),
    ];
    facts.extend(found.certify_id.as_ref().map(|id| (of.certify_id, id.as_str().to_owned())));
    facts.extend(found.source.clone().map(|source| (of.source, source)));
    facts.extend([
        (of.created, moments.full(found.created_at)),
        (of.updated, moments.full(found.updated_at)),
        (of.attempts, found.attempts.to_string()),
        (of.callbacks, callbacks.to_string()),
    ]);
    facts
}

/// The decision whose reviews the person does not see: an open case, about which the person may still
/// be asked.
fn hidden(who: &SignedIn, found: &Verification) -> Option<DecisionId> {
    found.decision.as_ref().filter(|_| is_open_for(who, found)).map(|decision| decision.id)
}

/// A case that the person may still be asked to judge, by the faces first.
pub fn is_open_for(who: &SignedIn, found: &Verification) -> bool {
    let decision = found.decision.as_ref();
    let is_open = decision.is_some_and(|it| it.decision.outcome == Outcome::Review);
    is_open && who.has(Scope::ReviewsWrite)
}

/// The outcome, with the class of its colour.
pub fn outcome_text(t: &'static Texts, outcome: Outcome) -> (Phrase, &'static str) {
    let tone = match outcome {
        Outcome::Approve => "good",
        Outcome::Retry => "warn",
        Outcome::Reject => "bad",
        Outcome::Review => "accent",
    };
    (t.words.decided(outcome), tone)
}

async fn decision_shown(
    console: &Console,
    who: &SignedIn,
    decision: &StoredDecision,
    moments: &Moments,
) -> Result<DecisionShown, Refused> {
    let policy = console.api.policy_cache.get(&console.api.store, &decision.policy).await?;
    let t = moments.t;
    let language = who.language.as_str();
    let text = |code: &str| {
        policy.as_ref().and_then(|policy| policy.texts_for(code)?.get(language).cloned())
    };
    let by = match decision.by {
        DecidedBy::Policy => t.words.by_policy,
        DecidedBy::Person => t.words.by_person,
    };
    let (outcome, tone) = outcome_text(t, decision.decision.outcome);
    let at = moments.full(decision.decided_at);
    Ok(DecisionShown {
        outcome,
        tone,
        by: t.verification.decided_by.with("who", by).with("time", at).to_string(),
        policy: decision.policy.chars().take(19).collect(),
        reasons: decision
            .decision
            .codes()
            .into_iter()
            .map(|code| (code.clone(), text(&code)))
            .collect(),
        simulated: decision.simulated,
    })
}

fn result_shown(result: &StoredResult, moments: &Moments) -> ResultShown {
    let answer = match (&result.error, &result.evidence) {
        (Some(error), _) => match &error.code {
            Some(code) => format!("{} · {code}", error.class.as_str()),
            None => error.class.as_str().to_owned(),
        },
        (None, Some(evidence)) => Evidence::code_as_text(evidence).unwrap_or_default(),
        (None, None) => String::new(),
    };
    ResultShown {
        attempt: result.attempt,
        at: moments.full(result.fetched_at),
        machine: Moments::machine(result.fetched_at),
        answer: format!("HTTP {} · {answer}", result.http_status),
        request_id: result.request_id.clone().unwrap_or_default(),
    }
}

fn image_shown(t: &'static Texts, image: &ImageRow) -> ImageShown {
    let state = timeline::image_state(t, &image.state, image.reason.as_deref());
    let size = match (&image.content_type, image.bytes) {
        (Some(kind), Some(bytes)) => format!("{kind}, {} KiB", (bytes + 1023) / 1024),
        (Some(kind), None) => kind.clone(),
        _ => String::new(),
    };
    ImageShown { kind: image.kind.clone(), state, size, unusual: image.unusual.join(", ") }
}

fn held(t: &'static Texts, hold: &LegalHold, moments: &Moments) -> String {
    t.verification
        .held
        .with("time", moments.full(hold.placed_at))
        .with("who", &hold.placed_by)
        .with("purpose", &hold.purpose)
        .to_string()
}

fn held_earlier(t: &'static Texts, hold: &LegalHold, moments: &Moments) -> Option<String> {
    let lifted_at = hold.lifted_at?;
    let said = t
        .verification
        .held_earlier
        .with("from", moments.full(hold.placed_at))
        .with("to", moments.full(lifted_at))
        .with("purpose", &hold.purpose);
    Some(said.to_string())
}

fn receipt_shown(t: &'static Texts, receipt: Receipt, moments: &Moments) -> ReceiptShown {
    let of = &t.verification;
    let copy = receipt.has_provider_copy.then(|| match receipt.provider_copy_deleted_at {
        Some(at) => of.copy_deleted.with("time", moments.full(at)).to_string(),
        None => of.copy_pending.to_string(),
    });
    ReceiptShown {
        requested: moments.full(receipt.requested_at),
        completed: receipt.completed_at.map(|at| moments.full(at)),
        destroyed: of
            .destroyed_list
            .with("keys", receipt.data_keys)
            .with("answers", receipt.answers)
            .with("material", receipt.material)
            .with("callbacks", receipt.callbacks)
            .with("images", receipt.images)
            .to_string(),
        remains: REMAINING.iter().map(|of| (of.table, of.purpose)).collect(),
        copy,
        stays: receipt.bucket_objects,
    }
}
