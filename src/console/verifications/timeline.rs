//! The timeline of a verification, a sentence for each event.

use crate::console::frame::moments::Moments;
use crate::console::texts::Texts;
use crate::domain::decision::DecidedBy;
use crate::domain::ids::DecisionId;
use crate::domain::timeline::{End, Event, Removed, RemovedKind, What, in_causal_order};
use crate::domain::verification::State;
use policy::evidence::Evidence;

#[derive(Debug)]
pub struct EventRow {
    pub at: String,
    pub machine: String,
    pub text: String,
}

/// Causes before effects. Reviews of `hidden`, and what users did, are left out: whoever has to agree
/// with the first reviewer sees nothing of them.
pub fn rows(events: Vec<Event>, moments: &Moments, hidden: Option<DecisionId>) -> Vec<EventRow> {
    let is_shown = |event: &Event| match (&event.what, hidden) {
        (What::Reviewed(review), Some(hidden)) => review.about != hidden,
        (What::Recorded(record), Some(_)) => {
            !record.action.contains("review") && !record.actor.starts_with("user:")
        }
        _ => true,
    };
    let events = in_causal_order(events).into_iter().filter(is_shown);
    events.map(|event| row(&event, moments)).collect()
}

fn row(event: &Event, moments: &Moments) -> EventRow {
    EventRow {
        at: moments.full(event.at),
        machine: Moments::machine(event.at),
        text: text(&event.what, moments),
    }
}

fn text(what: &What, moments: &Moments) -> String {
    let (facts, words) = (&moments.t.facts, &moments.t.words);
    match what {
        What::CallbackAccepted(callback) => {
            facts.callback.with("source", &callback.source).to_string()
        }
        What::ProviderAnswered(result) => match (&result.error, &result.evidence) {
            (Some(error), _) => {
                let code = error.code.as_deref().unwrap_or_default();
                let error = format!("{} {code}", error.class);
                facts.failed.with("error", error.trim_end()).to_string()
            }
            (None, evidence) => {
                let code = evidence.as_ref().and_then(Evidence::code_as_text);
                facts.answered.with("code", code.unwrap_or_else(|| "–".to_owned())).to_string()
            }
        },
        What::Decided(decided, _) => {
            let text = match decided.by {
                DecidedBy::Policy => facts.decided_by_policy,
                DecidedBy::Person => facts.decided_by_person,
            };
            text.with("outcome", words.decided(decided.decision.outcome))
                .with("reasons", decided.decision.codes().join(", "))
                .to_string()
        }
        What::Ended(end, _) => words
            .state(match end {
                End::Failed => State::Failed,
                End::Expired => State::Expired,
                End::Erased => State::Erased,
            })
            .to_string(),
        What::Delivered(delivery) => {
            facts.delivered.with("endpoint", delivery.endpoint).to_string()
        }
        What::Reviewed(review) => {
            let who = review.person.as_deref().unwrap_or(&review.reviewer);
            facts
                .reviewed
                .with("who", who)
                .with("outcome", words.decided(review.outcome))
                .with("reason", &review.reason)
                .to_string()
        }
        What::ImageSettled(image) => {
            let state = image_state(moments.t, &image.state, image.reason.as_deref());
            facts.image.with("kind", &image.kind).with("state", state).to_string()
        }
        What::Recorded(record) => facts
            .recorded
            .with("action", &record.action)
            .with("actor", actor(&record.actor))
            .to_string(),
        What::Removed(removed) => removed_text(removed, moments),
    }
}

fn removed_text(removed: &Removed, moments: &Moments) -> String {
    let facts = &moments.t.facts;
    let what = match removed.kind {
        RemovedKind::Results => facts.removed_results,
        RemovedKind::Decisions => facts.removed_decisions,
        RemovedKind::Audit => facts.removed_audit,
    };
    match (removed.before, removed.days) {
        (Some(before), Some(days)) => facts
            .removed_after
            .with("what", what)
            .with("time", moments.full(before))
            .with("days", days)
            .to_string(),
        _ => facts.removed.with("what", what).to_string(),
    }
}

/// The state of an image in words.
pub(super) fn image_state(t: &'static Texts, state: &str, reason: Option<&str>) -> String {
    let of = &t.verification;
    match state {
        "archived" => of.image_archived.to_string(),
        "digest" => of.image_digest.to_string(),
        "lost" => of.image_lost.with("reason", reason.unwrap_or_default()).to_string(),
        _ => of.image_pending.to_string(),
    }
}

/// The person of an actor, else the actor.
fn actor(actor: &str) -> &str {
    actor.split_once(" person:").map_or(actor, |(_, person)| person)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::user::Language;
    use crate::domain::zone::Zone;

    #[test]
    fn removed_parts_are_named_with_their_days() {
        let text = |language, days| {
            let moments = Moments {
                zone: Zone::parse("UTC").expect("a bundled zone"),
                now: datetime!(2026-11-27 08:30 UTC),
                t: Texts::of(language),
            };
            let before = Some(datetime!(2026-10-01 00:00 UTC));
            removed_text(&Removed { kind: RemovedKind::Results, before, days }, &moments)
        };
        let said = "Results of before 2026-10-01 00:00:00 removed by retention after 30 days";
        assert_eq!(text(Language::En, Some(30)), said);
        assert_eq!(text(Language::En, None), "Results removed by retention");
        let said = "2026-10-01 00:00:00 之前的返回记录已在 30 天保留期满后删除";
        assert_eq!(text(Language::Zh, Some(30)), said);
    }
}
