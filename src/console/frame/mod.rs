//! The frame around the pages of somebody who is signed in: what they may open, what can be undone,
//! and what they have not been told yet.

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
use layout::{Layout, Person, Section, Tone, Undo, milliseconds};
use moments::Moments;

/// Times as this person reads them.
pub fn moments(console: &Console, who: &SignedIn) -> Moments {
    let now = console.api.clock.now();
    Moments { zone: who.zone.clone(), now, t: Texts::of(who.language) }
}

/// The frame of a page of this section.
pub fn of(console: &Console, who: &SignedIn, section: Section) -> Layout {
    let moments = moments(console, who);
    let person = Person { name: who.name.clone(), form_token: who.form_token.clone() };
    Layout::of(person, (who.language, who.theme), &moments, |scope| who.has(scope), section)
}

/// The same with what a reviewer has to know: what can be undone, and what was not taken.
pub async fn of_reviewer(
    console: &Console,
    who: &SignedIn,
    section: Section,
) -> Result<Layout, Refused> {
    let moments = moments(console, who);
    let mut layout = of(console, who, section);
    if who.has(Scope::ReviewsWrite) {
        add_undo(&mut layout, console, who, &moments).await?;
        tell(&mut layout, console, who).await?;
    }
    Ok(layout)
}

/// The newest verdict, as long as it can be undone.
async fn add_undo(
    layout: &mut Layout,
    console: &Console,
    who: &SignedIn,
    moments: &Moments,
) -> Result<(), Refused> {
    let Some(pending) = console.api.store.assignments().pending(who.user).await? else {
        return Ok(());
    };
    let t = layout.t;
    layout.undo = Some(Undo {
        action: format!("/assignments/{}/undo", pending.assignment),
        form_token: who.form_token.clone(),
        what: t.frame.undo_given.with("outcome", t.words.outcome(pending.outcome)),
        until: moments.clock(moments.now + pending.commits_in),
        left: milliseconds(pending.commits_in),
    });
    Ok(())
}

/// Verdicts that were not taken: said once.
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

/// What became of an assignment.
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
