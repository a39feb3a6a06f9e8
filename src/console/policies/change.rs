//! `/policies/change`: says in words what a change of the policies in use would change, and makes it:
//! activate, start or stop a shadow, promote it, roll back, remove a scene's policy. Proposals that
//! wait for a second person are agreed to here, and closed.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::one;
use super::parts::{Named, is_seen};
use super::sentences::{self, Back, Deed, Now};
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::purposes::required;
use crate::console::refused::{Reason, Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::callback::BizType;
use crate::domain::review::Reviewer;
use crate::domain::scope::Scope;
use crate::http::activations::{Outcome, carry_out};
use crate::http::problem::{Code, Problem};
use crate::policies::operations::{Applied, Change, PolicyError};
use crate::store::proposals::{OpenProposal, Voter};

/// A change as a link or a form names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default, rename = "do")]
    what: String,
    #[serde(default)]
    policy: String,
    /// Empty: scenes without their own policy.
    #[serde(default)]
    scene: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Carry {
    #[serde(default, rename = "do")]
    what: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    scene: String,
    #[serde(default)]
    purpose: String,
    /// The newest change when the page was made.
    seen: i64,
}

/// A change that the person may make.
struct Checked {
    deed: Deed,
    scene: String,
    /// Of those that name one.
    policy: Option<Named>,
}

impl Checked {
    fn change(&self) -> Change<'_> {
        let scene = self.scene.as_str();
        let policy = self.policy.as_ref().map_or("", |policy| &policy.digest);
        match self.deed {
            Deed::Activate => Change::Activate { scene, policy },
            Deed::Shadow => Change::Shadow { scene, policy },
            Deed::EndShadow => Change::EndShadow { scene },
            Deed::Promote => Change::Promote { scene },
            Deed::RollBack => Change::RollBack { scene },
            Deed::Deactivate => Change::Deactivate { scene },
        }
    }
}

#[derive(Template)]
#[template(path = "policy_change.html")]
struct ChangePage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    title: Phrase,
    what: &'static str,
    policy: Option<Named>,
    scene: String,
    seen: i64,
    sentences: Vec<String>,
    /// Of another person, which this one would agree to.
    proposal: Option<Proposal>,
    /// `None`: there is nothing to do, or nothing for this person.
    button: Option<Phrase>,
    purpose: String,
}

struct Proposal {
    who: String,
    purpose: String,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Query(Wanted { what, policy, scene }): Query<Wanted>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let checked = checked(&console, &who, &what, &policy, &scene).await?;
    // Here already: what is typed below would be lost on the way.
    who.must_have_confirmed()?;
    let layout = frame::of(&console, &who, Section::Policies);
    page(&build(&console, &who, checked, layout).await?)
}

/// `POST /policies/change`.
pub(super) async fn carry(
    State(console): State<Console>,
    who: SignedIn,
    Form(form): Form<Carry>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let checked = checked(&console, &who, &form.what, &form.policy, &form.scene).await?;
    who.must_have_confirmed()?;
    let purpose = required(&form.purpose)?;
    // The page described another change than the one that would be made now.
    if console.api.store.policies().newest_activation().await? != form.seen {
        let mut layout = frame::of(&console, &who, Section::Policies);
        layout.say(Tone::Failed, layout.t.policies.changed_meanwhile.to_string());
        let mut shown = build(&console, &who, checked, layout).await?;
        purpose.clone_into(&mut shown.purpose);
        return Ok(marked(page(&shown)?, http::StatusCode::CONFLICT, "policies-changed"));
    }
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    let voter = Voter { by: Reviewer::User(who.user), person: &who.name };
    let voter = std::future::ready(Ok(voter));
    let done = match carry_out(&console.api, &checked.change(), voter, &context).await? {
        Outcome::Proposed(_) => "proposed",
        Outcome::Applied(Applied::Now(_)) => "changed",
        Outcome::Applied(Applied::Already) => "already",
    };
    let what: &str = checked.deed.into();
    tracing::info!(user = %who.user, action = what, "policy change in the console");
    Ok(see(&format!("/policies?done={done}")))
}

/// As the API checks it, in the same order: the scene is the person's, the policy known to them.
async fn checked(
    console: &Console,
    who: &SignedIn,
    what: &str,
    policy: &str,
    scene: &str,
) -> Result<Checked, Refused> {
    let deed: Deed = what.parse().map_err(|_| Refused::not_found())?;
    let scene = scene.trim();
    if !scene.is_empty() && BizType::parse(scene).is_err() {
        return Err(Problem::invalid_field().into());
    }
    if scene.is_empty() && deed == Deed::Deactivate {
        return Err(Problem::invalid_field().into());
    }
    who.must_reach(scene)?;
    let policy = match deed {
        Deed::Activate | Deed::Shadow => Some(one::named(console, who, policy).await?),
        _ => None,
    };
    Ok(Checked { deed, scene: scene.to_owned(), policy })
}

async fn build(
    console: &Console,
    who: &SignedIn,
    Checked { deed, scene, policy }: Checked,
    layout: Layout,
) -> Result<ChangePage, Refused> {
    let (t, moments) = (layout.t, frame::moments(console, who));
    let seen = console.api.store.policies().newest_activation().await?;
    let now = now(console, who, &scene, deed).await?;
    let checked = Checked { deed, scene, policy };
    let said = sentences::of(t, deed, &checked.scene, checked.policy.as_ref(), &now);
    let open = match &said {
        Ok(_) => open_proposal(console, &checked.change()).await?,
        Err(_) => None,
    };
    let is_nothing = said.is_err();
    let mut sentences = said.unwrap_or_else(|nothing| vec![nothing.to_string()]);
    let needs_two = console.api.policies_need_two && checked.change().needs_two_persons();
    let is_own = open.as_ref().is_some_and(|open| open.person == who.name);
    let button = match (is_nothing, needs_two, &open) {
        (true, ..) => None,
        (_, true, Some(_)) if is_own => None,
        (_, true, Some(_)) => Some(t.policies.confirm_agree),
        (_, true, None) => Some(t.policies.propose),
        (_, false, _) => Some(title(t, deed)),
    };
    if needs_two && !is_nothing && !is_own {
        let two = if open.is_some() { t.policies.says_carry_out } else { t.policies.says_two };
        sentences.push(two.to_string());
    }
    let proposal = open.map(|open| proposal(&open, is_own, &moments));
    Ok(ChangePage {
        form_token: who.form_token.clone(),
        title: title(t, deed),
        what: deed.into(),
        policy: checked.policy,
        scene: checked.scene,
        seen,
        sentences,
        proposal,
        button,
        purpose: String::new(),
        t,
        layout,
    })
}

fn proposal(open: &OpenProposal, is_own: bool, moments: &Moments) -> Proposal {
    let t = &moments.t.policies;
    let said = if is_own { t.proposed_by_you } else { t.proposed_by };
    let who = said.with("person", &open.person).with("time", moments.full(open.proposed_at));
    Proposal { who: who.to_string(), purpose: open.purpose.clone().unwrap_or_default() }
}

const fn title(t: &'static Texts, deed: Deed) -> Phrase {
    let t = &t.policies;
    match deed {
        Deed::Activate => t.activate,
        Deed::Shadow => t.start_shadow,
        Deed::EndShadow => t.end_shadow,
        Deed::Promote => t.promote,
        Deed::RollBack => t.roll_back,
        Deed::Deactivate => t.deactivate,
    }
}

/// The policies in use that the change affects.
async fn now(console: &Console, who: &SignedIn, scene: &str, deed: Deed) -> Result<Now, Refused> {
    let in_use = console.api.policies().in_use(&who.scenes).await.map_err(Problem::from)?;
    let target = match deed {
        Deed::RollBack => console.api.store.policies().rollback_target(scene).await?,
        _ => None,
    };
    let back = match target {
        None => Back::Nowhere,
        Some(None) => Back::General,
        // By the scene's own history, which the person may know.
        Some(Some(digest)) => {
            let all = console.api.store.policies().list().await?;
            let name = all.into_iter().find(|of| of.digest == digest).map(|of| of.name);
            Back::To(Named { digest, name: name.unwrap_or_default() })
        }
    };
    Ok(Now::of(&in_use, scene, back))
}

/// The open proposal of exactly this change, where it needs two persons.
async fn open_proposal(
    console: &Console,
    change: &Change<'_>,
) -> Result<Option<OpenProposal>, Refused> {
    if !console.api.policies_need_two {
        return Ok(None);
    }
    let policy = match console.api.policies().to_agree_on(change).await {
        Ok(policy) => policy,
        Err(PolicyError::NothingToChange) => None,
        Err(error) => return Err(Problem::from(error).into()),
    };
    let Some(call) = policy.as_deref().and_then(|policy| change.call(policy)) else {
        return Ok(None);
    };
    Ok(console.api.store.proposals().of_call(&call).await?)
}

#[derive(Debug, Deserialize)]
pub(super) struct Withdraw {
    #[serde(default)]
    purpose: String,
}

/// `POST /policies/proposals/{id}/withdraw`: the proposer takes it back, or another person turns it
/// down. Either way it is on record, and nobody can agree to it any more.
pub(super) async fn withdraw(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<Withdraw>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let id: Uuid = id.parse().map_err(|_| Refused::not_found())?;
    let proposals = console.api.store.proposals();
    let open = proposals.about_policies().await?;
    let Some(found) = open.iter().find(|of| of.id == id) else {
        return Err(Reason::Problem(Code::ProposalClosed).into());
    };
    match found.detail("biz_type") {
        None if who.scenes.are_limited() => return Err(Refused::not_found()),
        Some(scene) if !is_seen(&who.scenes, scene) => return Err(Refused::not_found()),
        Some(scene) => who.must_reach(scene)?,
        None => {}
    }
    let purpose = required(&form.purpose)?;
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    if !proposals.withdraw(id, &context).await? {
        return Err(Reason::Problem(Code::ProposalClosed).into());
    }
    Ok(see("/policies?done=withdrawn"))
}
