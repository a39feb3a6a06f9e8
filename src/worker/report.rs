//! Logs and counts the outcome of a fetch.

use std::time::Duration;

use tracing::Span;

use super::backoff::millis;
use super::fetched::Fetched;
use crate::causes::Cause;
use crate::domain::trace::TraceParent;
use crate::domain::verification::State;
use crate::store::claims::Claimed;
use crate::store::completions::Written;
use crate::traces;

pub fn report(claimed: &Claimed, fetched: &Fetched, took: Duration, written: Written, span: &Span) {
    let outcome = fetched.decision.as_ref().map(|decision| decision.decision.outcome.as_str());
    let written = match written {
        Written::Committed => "committed",
        Written::Fenced => "fenced",
    };
    traces::written(span, written);
    tracing::info!(
        verification = %claimed.id,
        attempt = claimed.attempt,
        class = fetched.class,
        cause = fetched.cause.map(Cause::code),
        code = fetched.result.error.as_ref().and_then(|error| error.code.as_deref()),
        verify_status = fetched.result.evidence.as_ref().and_then(|evidence| evidence.verify_status),
        outcome,
        state = fetched.consequence.next.state.map(State::as_str),
        again_in_ms = fetched.consequence.next.due_in.map(millis),
        call_ms = millis(took),
        written,
        trace = claimed.trace.map(TraceParent::trace_id),
        "fetch"
    );
    metrics::counter!("verdict_fetches_total", "written" => written).increment(1);
    if written == "committed" {
        count_decision(fetched);
    }
}

fn count_decision(fetched: &Fetched) {
    if let Some(decision) = &fetched.decision {
        let outcome = decision.decision.outcome.as_str();
        metrics::counter!("verdict_decisions_total", "outcome" => outcome).increment(1);
        for reason in &decision.decision.reasons {
            let (code, outcome) = (reason.code.clone(), reason.outcome.as_str());
            metrics::counter!(
                "verdict_decision_reasons_total", "code" => code, "outcome" => outcome)
            .increment(1);
        }
        if let Some(shadow) = &fetched.shadow {
            let agrees = if shadow.decision.outcome.as_str() == outcome { "yes" } else { "no" };
            metrics::counter!("verdict_shadow_decisions_total", "agrees" => agrees).increment(1);
        }
    }
}
