//! `GET /assignments/{id}`: the claimed case. First the two faces and nothing else; then, once they are
//! judged, the facts and the verdict; at last the outcome.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::faces::{self, Faces};
use super::facts::{self, Facts, Personal};
use super::reasons;
use super::verdict_form::{self, Draft, OutcomeChoice};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::page;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::console::verifications::person;
use crate::console::verifications::pictures::Shown;
use crate::console::verifications::reveal::{self, Choice};
use crate::domain::case::{Ended, Judgement};
use crate::domain::decision::DecidedBy;
use crate::domain::ids::{AssignmentId, DecisionId, VerificationId};
use crate::domain::scope::Scope;
use crate::domain::timeline::{Event, What};
use crate::store::assignments::{Assignment, Verdict};
use crate::store::verdicts::Feedback;
use policy::decision::Outcome;

/// The open page asks for more time so often within a lease.
const RENEWALS: u32 = 5;

/// How long the claim lasts, and how the reviewer gives the case away.
pub(super) struct Claim {
    until: String,
    /// Seconds.
    renew_every: u64,
    escalations: Vec<Choice>,
}

struct Step {
    number: i16,
    name: Phrase,
}

#[derive(Template)]
#[template(path = "case_judge.html")]
struct JudgePage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    here: String,
    faces: Faces,
    claim: Claim,
    steps: [Step; 5],
}

#[derive(Template)]
#[template(path = "case_decide.html")]
struct DecidePage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    here: String,
    faces: Faces,
    claim: Claim,
    judged: Phrase,
    outcomes: Vec<OutcomeChoice>,
    draft_note: String,
    undo_seconds: u64,
    facts: Facts,
}

#[derive(Template)]
#[template(path = "case_ended.html")]
struct EndedPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    title: Phrase,
    /// Each with its colour.
    sentences: Vec<(&'static str, String)>,
    explained: Option<Phrase>,
    faces: Option<Faces>,
}

/// A claimed case with everything that its pages need.
pub(super) struct Opened {
    pub(super) console: Console,
    pub(super) who: SignedIn,
    pub(super) moments: Moments,
    pub(super) assignment: Assignment,
    /// Its address.
    pub(super) here: String,
}

impl Opened {
    /// The assignment, if it is or was in this person's hands.
    pub(super) async fn find(console: Console, who: SignedIn, id: &str) -> Result<Self, Refused> {
        who.must_have(Scope::ReviewsWrite)?;
        let id: AssignmentId = id.parse().map_err(|_| Refused::not_found())?;
        let found = console.api.store.assignments().find(id, who.user).await?;
        let assignment = found.ok_or_else(Refused::not_found)?;
        let moments = frame::moments(&console, &who);
        Ok(Self { console, who, moments, assignment, here: format!("/assignments/{id}") })
    }

    async fn layout(&self) -> Result<Layout, Refused> {
        frame::of_reviewer(&self.console, &self.who, Section::Queue).await
    }

    async fn faces(&self, is_small: bool) -> Result<Faces, Refused> {
        let about = (&self.assignment, self.here.as_str());
        faces::of(&self.console, &self.who, &self.moments, about, is_small).await
    }

    fn claim(&self) -> Claim {
        let settings = &self.console.api.reviews;
        let left = self.assignment.lease_left.unwrap_or_default();
        Claim {
            until: self.moments.short(self.moments.now + left),
            renew_every: (settings.claim / RENEWALS).as_secs().max(1),
            escalations: verdict_form::escalations(settings, self.who.language),
        }
    }
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let opened = Opened::find(console, who, &id).await?;
    let Assignment { judgement, ended, verdict, .. } = &opened.assignment;
    match (ended, verdict, judgement) {
        (Some((ended, _)), ..) => ended_page(&opened, *ended).await,
        (None, Some(verdict), _) if verdict.is_superseded => {
            ended_page(&opened, Ended::DecisionChanged).await
        }
        (None, Some(verdict), _) => given_page(&opened, verdict).await,
        (None, None, Some(judgement)) => {
            let shown = Personal::Masked;
            decide_page(&opened, *judgement, &Draft::default(), shown, None).await
        }
        (None, None, None) => judge_page(&opened).await,
    }
}

pub(super) const fn judgement_in_words(t: &'static Texts, judgement: Judgement) -> Phrase {
    match judgement {
        Judgement::CertainlySame => t.words.certainly_same,
        Judgement::ProbablySame => t.words.probably_same,
        Judgement::Unsure => t.words.cannot_say,
        Judgement::ProbablyDifferent => t.words.probably_different,
        Judgement::CertainlyDifferent => t.words.certainly_different,
    }
}

/// The same for a case, a golden pair, and a case that is judged again.
async fn judge_page(opened: &Opened) -> Result<Response, Refused> {
    let t = opened.moments.t;
    page(&JudgePage {
        t,
        layout: opened.layout().await?.wide(),
        form_token: opened.who.form_token.clone(),
        here: opened.here.clone(),
        faces: opened.faces(false).await?,
        claim: opened.claim(),
        steps: Judgement::ALL.map(|judgement| Step {
            number: judgement.number(),
            name: judgement_in_words(t, judgement),
        }),
    })
}

/// `wrong`: why the verdict was not taken.
pub(super) async fn decide_page(
    opened: &Opened,
    judgement: Judgement,
    draft: &Draft,
    personal: Personal,
    wrong: Option<Phrase>,
) -> Result<Response, Refused> {
    let Opened { console, who, moments, assignment, .. } = opened;
    let (t, settings) = (moments.t, &console.api.reviews);
    let (decision, verification) = assignment.case().ok_or_else(Refused::not_found)?;
    let personal = if who.has(Scope::MaterialRead) { personal } else { Personal::NotForYou };
    let purposes = reveal::purposes(settings, who.language, &draft.purpose);
    let about = (verification, decision);
    let mut layout = opened.layout().await?.wide();
    if matches!(personal, Personal::Shown { .. }) {
        layout.refresh = Some((person::SHOWN_FOR.as_secs(), opened.here.clone()));
    }
    if let Some(wrong) = wrong {
        layout.say(Tone::Failed, wrong.to_string());
    }
    let mut faces = opened.faces(true).await?;
    // The whole card stands for its portrait: a page makes few requests.
    if matches!(&personal, Personal::Shown { card, .. } if !card.is_empty()) {
        faces.pictures.retain(|picture| picture.part.is_empty());
    }
    page(&DecidePage {
        t,
        layout,
        form_token: who.form_token.clone(),
        here: opened.here.clone(),
        faces,
        claim: opened.claim(),
        judged: judgement_in_words(t, judgement),
        outcomes: verdict_form::outcomes(t, who.language, settings, console.api.four_eyes, draft),
        draft_note: draft.note(),
        undo_seconds: settings.undo.as_secs(),
        facts: facts::of(console, who, moments, about, personal, purposes).await?,
    })
}

/// The verdict is given, and can still be undone.
async fn given_page(opened: &Opened, verdict: &Verdict) -> Result<Response, Refused> {
    let Opened { console, who, moments, .. } = opened;
    let t = moments.t;
    let reason = reasons::name(&console.api.reviews.reasons, &verdict.reason, who.language);
    let text = match verdict.commits_in {
        Some(left) => t.case.pending.with("time", moments.clock(moments.now + left)),
        None => t.case.committing.with("time", ""),
    };
    let text = text.with("outcome", t.words.outcome(verdict.outcome)).with("reason", reason);
    let sentences = vec![("", text.to_string())];
    finished(opened, t.case.given_title, sentences, None, None).await
}

pub(super) async fn ended_page(opened: &Opened, ended: Ended) -> Result<Response, Refused> {
    let t = opened.moments.t;
    let assignments = opened.console.api.store.assignments();
    if let Some(feedback) = assignments.feedback(opened.assignment.id, opened.who.user).await? {
        return feedback_page(opened, feedback).await;
    }
    let mut sentences = vec![("", frame::ended(t, ended).to_string())];
    if let (Ended::DecisionChanged | Ended::Lapsed, Some((_, verification))) =
        (ended, opened.assignment.case())
    {
        sentences.extend(now_decided(opened, verification).await?.map(|text| ("", text)));
    }
    finished(opened, t.case.ended_title, sentences, None, None).await
}

/// The current decision, unless it is a review.
async fn now_decided(
    opened: &Opened,
    verification: VerificationId,
) -> Result<Option<String>, Refused> {
    let (t, store) = (opened.moments.t, &opened.console.api.store);
    let found = store.verifications().find(verification).await?;
    let decision = found.and_then(|found| found.decision);
    let Some(decision) = decision.filter(|it| it.decision.outcome != Outcome::Review) else {
        return Ok(None);
    };
    let review = store.timeline().events_of(verification).await?;
    let by = timeline_person(review, decision.id);
    let who = by.unwrap_or_else(|| match decision.by {
        DecidedBy::Policy => t.words.by_policy.to_string(),
        DecidedBy::Person => t.words.by_person.to_string(),
    });
    let text = t
        .case
        .now_decided
        .with("outcome", t.words.decided(decision.decision.outcome))
        .with("who", who)
        .with("time", opened.moments.full(decision.decided_at));
    Ok(Some(text.to_string()))
}

/// The person whose review made a decision.
fn timeline_person(events: Vec<Event>, decision: DecisionId) -> Option<String> {
    events.into_iter().find_map(|event| match event.what {
        What::Reviewed(review) if review.decision == Some(decision) => review.person,
        _ => None,
    })
}

/// The answer to a golden pair, or to a case that had been decided before.
async fn feedback_page(opened: &Opened, feedback: Feedback) -> Result<Response, Refused> {
    let t = opened.moments.t;
    let judged = |judgement: Judgement| {
        let text = t.case.you_judged.with("judgement", judgement_in_words(t, judgement));
        ("muted", text.to_string())
    };
    match feedback {
        Feedback::Golden { judgement, same_person } => {
            let answer = if same_person { t.words.same_person } else { t.words.different_persons };
            let (tone, text) = match judgement.says_same() {
                Some(same) if same == same_person => ("good", t.case.golden_right),
                Some(_) => ("bad", t.case.golden_wrong),
                None => ("", t.case.golden_unsure),
            };
            let sentences =
                vec![(tone, text.with("answer", answer).to_string()), judged(judgement)];
            let faces = opened.faces(true).await?;
            let explained = Some(t.case.golden_explained);
            finished(opened, t.case.golden_title, sentences, explained, Some(faces)).await
        }
        Feedback::Again { judgement, outcome, first } => {
            let outcome = t.case.again_outcome.with("outcome", t.words.decided(outcome));
            let mut sentences = vec![("", outcome.to_string()), judged(judgement)];
            sentences.extend(first.map(|first| {
                let text = t.case.first_judged.with("judgement", judgement_in_words(t, first));
                ("muted", text.to_string())
            }));
            let explained = Some(t.case.again_explained);
            finished(opened, t.case.again_title, sentences, explained, None).await
        }
    }
}

async fn finished(
    opened: &Opened,
    title: Phrase,
    sentences: Vec<(&'static str, String)>,
    explained: Option<Phrase>,
    faces: Option<Faces>,
) -> Result<Response, Refused> {
    let layout = opened.layout().await?;
    page(&EndedPage {
        t: layout.t,
        form_token: opened.who.form_token.clone(),
        layout,
        title,
        sentences,
        explained,
        faces,
    })
}
