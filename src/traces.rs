//! Spans: a request, the fetch that it caused with its call, its decision and its write, and the
//! images after that.
//!
//! They are made only while traces are exported (`telemetry`), and all of them are made here, so
//! that this file is the closed list of their names and attributes. Nothing from outside is among
//! these but the ids of the caller's trace.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing::field::{Empty, display};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::domain::ids::VerificationId;
use crate::domain::trace::TraceParent;
use policy::decision::Decision;

/// The target of all spans, and of nothing else: the exporter selects by it.
pub const TARGET: &str = "verdict_span";

/// One request. `caller` is the span it is part of, if the caller says so.
pub fn request(
    method: &'static str,
    route: &str,
    caller: impl FnOnce() -> Option<TraceParent>,
) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        verdict.code = Empty,
        verdict.verification = Empty,
    );
    if !span.is_disabled() {
        join(&span, caller());
    }
    span
}

/// Records the response; `code` is the code of the problem, or empty.
pub fn answered(request: &Span, status: u16, code: &'static str) {
    request.record("http.response.status_code", status);
    if !code.is_empty() {
        request.record("verdict.code", code);
    }
    if status >= 500 {
        request.record("otel.status_code", "error");
    }
}

/// Within a request: which verification it is about.
pub fn concerns(verification: VerificationId) {
    let request = Span::current();
    if !request.is_disabled() {
        request.record("verdict.verification", display(verification));
    }
}

/// One attempt to fetch. Without a request that is traced there is no span either.
pub fn fetch(cause: Option<TraceParent>, verification: VerificationId, attempt: i32) -> Span {
    let Some(cause) = cause else { return Span::none() };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "fetch",
        otel.kind = "consumer",
        verdict.verification = %verification,
        verdict.attempt = attempt,
        verdict.class = Empty,
        verdict.outcome = Empty,
        verdict.written = Empty,
    );
    join(&span, Some(cause));
    span
}

/// Within a fetch: the call to the provider.
pub fn call(fetch: &Span) -> Span {
    part(fetch, || {
        tracing::info_span!(
            target: TARGET, parent: fetch, "call", otel.kind = "client", verdict.class = Empty
        )
    })
}

/// The class of what came.
pub fn called(fetch: &Span, call: &Span, class: &'static str) {
    fetch.record("verdict.class", class);
    call.record("verdict.class", class);
}

/// Within a fetch: the decision.
pub fn decide(fetch: &Span) -> Span {
    part(fetch, || {
        tracing::info_span!(
            target: TARGET,
            parent: fetch,
            "decide",
            verdict.outcome = Empty,
            verdict.reasons = Empty,
        )
    })
}

/// Records the decision. The codes of reasons come from our own policy.
pub fn decided(fetch: &Span, decide: &Span, decision: &Decision) {
    if decide.is_disabled() {
        return;
    }
    let codes: Vec<&str> = decision.reasons.iter().map(|reason| reason.code.as_str()).collect();
    fetch.record("verdict.outcome", decision.outcome.as_str());
    decide.record("verdict.outcome", decision.outcome.as_str());
    decide.record("verdict.reasons", codes.join(","));
}

/// Within a fetch: result, decision and next step being written.
pub fn write(fetch: &Span) -> Span {
    part(fetch, || tracing::info_span!(target: TARGET, parent: fetch, "write"))
}

/// Records the outcome of the write.
pub fn written(fetch: &Span, written: &'static str) {
    fetch.record("verdict.written", written);
}

/// One answer's images.
pub fn images(cause: Option<TraceParent>, verification: VerificationId) -> Span {
    let Some(cause) = cause else { return Span::none() };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "images",
        otel.kind = "consumer",
        verdict.verification = %verification,
    );
    join(&span, Some(cause));
    span
}

/// The span as others may be part of it; `None` where nothing is recorded.
pub fn parent(span: &Span) -> Option<TraceParent> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    (context.is_valid() && context.is_sampled()).then(|| TraceParent {
        trace: u128::from_be_bytes(context.trace_id().to_bytes()),
        span: u64::from_be_bytes(context.span_id().to_bytes()),
        sampled: true,
    })
}

fn part(fetch: &Span, make: impl FnOnce() -> Span) -> Span {
    if fetch.is_disabled() { Span::none() } else { make() }
}

fn join(span: &Span, parent: Option<TraceParent>) {
    let Some(parent) = parent else { return };
    let context = SpanContext::new(
        TraceId::from(parent.trace),
        SpanId::from(parent.span),
        if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::default(),
    );
    // Fails only for a span that already has children; this one is new.
    let _ = span.set_parent(Context::new().with_remote_span_context(context));
}
