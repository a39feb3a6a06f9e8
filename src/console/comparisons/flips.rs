//! Decisions with another outcome, as far as the person may see them.
//!
//! The right to policies shows which verifications they are, as in the API. Only
//! people who may read decisions see the evidence. Reviewers do not see it for an open case, because
//! they judge the faces first.

use uuid::Uuid;

use super::numbers::grouped;
use super::shown::{FlipShown, reasons_shown};
use crate::console::frame::moments::Moments;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::Texts;
use crate::console::verifications::list::visible;
use crate::console::verifications::one::{is_open_for, outcome_text};
use crate::domain::ids::VerificationId;
use crate::domain::scope::Scope;
use crate::domain::verification::Verification;
use crate::policies::past::Flip;
use policy::decision::Outcome;

/// Rows of a page.
pub(super) const PAGE: usize = 20;

/// One page of them, as `flips_section.html` shows it.
pub(super) struct Listed {
    pub(super) total: String,
    /// `None`: too much else waits.
    pub(super) rows: Option<Vec<FlipShown>>,
    pub(super) first_page: Option<String>,
    pub(super) next_page: Option<String>,
}

impl Listed {
    /// `here`: the address of the page. `after` and `next`: the place that it begins at, and that the
    /// next one does.
    pub(super) fn new(
        total: u64,
        rows: Option<Vec<FlipShown>>,
        here: &str,
        (after, next): (Option<Uuid>, Option<Uuid>),
    ) -> Self {
        Self {
            total: grouped(total),
            rows,
            first_page: after.map(|_| format!("{here}#flips")),
            next_page: next.map(|next| format!("{here}?after={next}#flips")),
        }
    }
}

pub(super) async fn rows(
    console: &Console,
    who: &SignedIn,
    moments: &Moments,
    flips: &[Flip],
) -> Result<Vec<FlipShown>, Refused> {
    let ids: Vec<VerificationId> = flips.iter().map(|flip| flip.verification).collect();
    let found =
        if who.has(Scope::DecisionsRead) { visible(console, who, &ids).await? } else { Vec::new() };
    let of = |flip: &Flip| found.iter().find(|found| found.id == flip.verification);
    Ok(flips.iter().map(|flip| row(flip, of(flip), who, moments)).collect())
}

fn row(flip: &Flip, found: Option<&Verification>, who: &SignedIn, moments: &Moments) -> FlipShown {
    let t = &moments.t.comparison;
    let mut shown = plain(moments.t, flip, moments.zone.minute(flip.at));
    shown.machine = Moments::machine(flip.at);
    shown.hidden = match found {
        None => Some(t.hidden_right),
        Some(found) => is_open_for(who, found).then_some(t.hidden_open),
    };
    if let Some(found) = found {
        found.biz_id.as_str().clone_into(&mut shown.verification);
        shown.href = Some(format!("/verifications/{}", found.id));
    }
    shown
}

/// With everything that is known of it.
pub(super) fn plain(t: &'static Texts, flip: &Flip, at: String) -> FlipShown {
    let outcome = |outcome: Outcome| (t.words.outcome(outcome), outcome_text(t, outcome).1);
    FlipShown {
        at,
        machine: Moments::machine(flip.at),
        verification: flip.verification.to_string(),
        href: None,
        old: outcome(flip.old),
        old_reason: flip.old_reason.clone(),
        new: outcome(flip.new),
        reasons: reasons_shown(&flip.reasons, flip.new),
        hidden: None,
    }
}
