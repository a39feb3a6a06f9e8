//! The frame around the pages of a person who is signed in: navigation by rights, the undo of a verdict,
//! and verdicts that had no effect.

pub mod around;
mod headers;
pub mod layout;
pub mod moments;
pub mod page;
mod refusal_texts;

use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::case::Ended;
use crate::domain::scope::Scope;
use crate::store::verdicts::PendingVerdict;
use layout::{Layout, Person, Section, Tone, Undo, milliseconds};
use moments::Moments;

/// Times as this person reads them.
pub fn moments(console: &Console, who: &SignedIn) -> Moments {
    let now = console.api.clock.now();
    Moments { zone: who.zone.clone(), now, t: Texts::of(who.language) }
}

/// The frame of a page of this section, with the undo of a verdict that waits.
pub fn of(console: &Console, who: &SignedIn, section: Section) -> Layout {
    let moments = moments(console, who);
    let person = Person { name: who.name.clone(), form_token: who.form_token.clone() };
    let how = (who.language, who.theme);
    let mut layout = Layout::of(person, how, &moments, |scope| who.has(scope), section);
    layout.undo = who.pending.map(|pending| undo(who, &pending, &moments));
    layout
}

/// The same with a message for each verdict that had no effect.
pub async fn of_reviewer(
    console: &Console,
    who: &SignedIn,
    section: Section,
) -> Result<Layout, Refused> {
    let mut layout = of(console, who, section);
    if who.has(Scope::ReviewsWrite) {
        tell(&mut layout, console, who).await?;
    }
    Ok(layout)
}

fn undo(who: &SignedIn, pending: &PendingVerdict, moments: &Moments) -> Undo {
    let t = moments.t;
    Undo {
        action: format!("/assignments/{}/undo", pending.assignment),
        form_token: who.form_token.clone(),
        what: t.frame.undo_given.with("outcome", t.words.outcome(pending.outcome)),
        until: moments.clock(moments.now + pending.commits_in),
        left: milliseconds(pending.commits_in),
    }
}

/// Verdicts that had no effect: each is reported once.
async fn tell(layout: &mut Layout, console: &Console, who: &SignedIn) -> Result<(), Refused> {
    let assignments = console.api.store.assignments();
    let untold = assignments.untold(who.user).await?;
    if untold.is_empty() {
        return Ok(());
    }
    for not_taken in &untold {
        let why = ended(layout.t, not_taken.ended);
        layout.say(Tone::Failed, layout.t.case.not_taken.with("why", why).to_string());
    }
    let told: Vec<_> = untold.iter().map(|not_taken| not_taken.assignment).collect();
    assignments.told(&told, who.user).await?;
    Ok(())
}

/// How an assignment ended, in words.
pub fn ended(t: &Texts, ended: Ended) -> Phrase {
    let case = &t.case;
    match ended {
        Ended::Decided => case.ended_decided,
        Ended::Proposed => case.ended_proposed,
        Ended::DecisionChanged => case.ended_changed,
        Ended::Erased => case.ended_erased,
        Ended::Judged => case.ended_judged,
        Ended::Skipped => case.ended_skipped,
        Ended::Released => case.ended_released,
        Ended::Escalated => case.ended_escalated,
        Ended::Lapsed => case.ended_lapsed,
    }
}
