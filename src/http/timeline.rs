//! `GET /v1/verifications/{id}/timeline`: everything that happened, causes before effects.

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::Scope;
use super::etag;
use super::openapi::{IfNoneMatch, VerificationPath, refusals};
use super::problem::Problem;
use crate::domain::answer::AnswerError;
use crate::domain::decision::DecidedBy;
use crate::domain::ids::{DecisionId, ResultId, ReviewId, VerificationId};
use crate::domain::timeline::{End, Event, Numbered, RemovedKind, What, in_causal_order};
use crate::store::{self, Store};
use policy::decision::Outcome;
use policy::evidence::Evidence;

/// What happened to one verification.
#[derive(Serialize, ToSchema)]
pub(super) struct TimelineView {
    verification_id: VerificationId,
    /// Causes before effects; of callbacks, deliveries and audit entries the newest 500.
    items: Vec<EventView>,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
struct EventView {
    /// By the clock of the process that wrote it; the order of the list is authoritative.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    what: WhatView,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum WhatView {
    /// The app's backend said that the user has finished: a hint.
    CallbackAccepted {
        source: String,
        message_id: String,
        #[serde(with = "time::serde::rfc3339::option")]
        occurred_at: Option<OffsetDateTime>,
        audit: Option<String>,
        code: Option<i32>,
        platform: Option<String>,
    },
    /// The provider answered, or refused.
    ProviderAnswered {
        result_id: ResultId,
        attempt: i32,
        request_id: Option<String>,
        http_status: u16,
        /// `VerifyStatus` of verify-result; `null` for face-verify.
        verify_status: Option<i32>,
        /// The status of verify-result as text, or the code of face-verify as sent.
        provider_code: Option<String>,
        /// Whether the provider says that the person passed; `null` as long as it does not say.
        passed: Option<bool>,
        error: Option<AnswerError>,
    },
    /// The policy decided, or a person.
    Decided {
        decision_id: DecisionId,
        result_id: ResultId,
        outcome: Outcome,
        reasons: Vec<String>,
        by: DecidedBy,
        policy: String,
        /// `sequence` of its event; `null` until the event is numbered.
        sequence: Option<i64>,
        /// `verification_sequence` of its event; `null` until the event is numbered.
        verification_sequence: Option<i32>,
    },
    /// It became a dead letter.
    Failed {
        /// `sequence` of its event; `null` until the event is numbered.
        sequence: Option<i64>,
        /// `verification_sequence` of its event; `null` until the event is numbered.
        verification_sequence: Option<i32>,
    },
    /// The person did not finish in time.
    Expired {
        /// `sequence` of its event; `null` until the event is numbered.
        sequence: Option<i64>,
        /// `verification_sequence` of its event; `null` until the event is numbered.
        verification_sequence: Option<i32>,
    },
    /// The person was erased.
    Erased {
        /// `sequence` of its event; `null` until the event is numbered.
        sequence: Option<i64>,
        /// `verification_sequence` of its event; `null` until the event is numbered.
        verification_sequence: Option<i32>,
    },
    /// An event of this verification was sent to a webhook endpoint.
    Delivered {
        endpoint_id: Uuid,
        /// `sequence` of the event.
        sequence: i64,
        /// The number of the attempt for this event, from 1.
        attempt: i32,
        /// HTTP status of the answer; `null`: none came.
        status: Option<i32>,
        /// Why it failed; `null`: it was acknowledged.
        error: Option<String>,
        latency_ms: i32,
    },
    /// A person reviewed the decision; without `decision_id` a second person has to agree.
    Reviewed {
        review_id: ReviewId,
        about: DecisionId,
        outcome: Outcome,
        reason: String,
        reviewer: String,
        person: Option<String>,
        decision_id: Option<DecisionId>,
    },
    /// An image was archived, purged or lost.
    ImageSettled { result_id: Uuid, kind: String, state: String, reason: Option<String> },
    /// The audit log has an entry: reading, refetching, erasing and so on.
    Recorded { action: String, actor: String, audit_position: i64 },
    /// Retention has removed a part of this history: results, decisions, or audit entries.
    RemovedByRetention {
        what: RemovedView,
        /// Everything from before this time is gone; `null`: not known.
        #[serde(with = "time::serde::rfc3339::option")]
        before: Option<OffsetDateTime>,
        /// For how many days it was kept at least; `null`: not known.
        after_days: Option<i32>,
    },
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum RemovedView {
    Results,
    Decisions,
    AuditEntries,
}

refusals!(TimelineRefusals = [NotFound] + API_KEY);

/// Everything that happened, causes before effects.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/timeline", operation_id = "get-timeline",
    tag = "verifications", params(VerificationPath, IfNoneMatch),
    responses(
        (status = 200, body = TimelineView, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        TimelineRefusals,
    ),
    security(("api-key" = ["results:read"])),
)]
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ResultsRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let timeline = view(&api.store, id).await?;
    if timeline.items.is_empty() {
        api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    etag::respond(&headers, &timeline)
}

/// Empty also if there is no such verification.
pub(super) async fn view(store: &Store, id: VerificationId) -> store::Result<TimelineView> {
    let events = store.timeline().events_of(id).await?;
    let items = in_causal_order(events).into_iter().map(EventView::from).collect();
    Ok(TimelineView { verification_id: id, items })
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let what = match event.what {
            What::CallbackAccepted(of) => WhatView::CallbackAccepted {
                source: of.source,
                message_id: of.message_id,
                occurred_at: of.occurred_at,
                audit: of.audit,
                code: of.code,
                platform: of.platform,
            },
            What::ProviderAnswered(of) => WhatView::ProviderAnswered {
                result_id: of.id,
                attempt: of.attempt,
                request_id: of.request_id,
                http_status: of.http_status,
                verify_status: of.evidence.as_ref().and_then(|evidence| evidence.verify_status),
                provider_code: of.evidence.as_ref().and_then(Evidence::code_as_text),
                passed: of.evidence.as_ref().and_then(Evidence::has_passed),
                error: of.error,
            },
            What::Decided(of, numbered) => WhatView::Decided {
                decision_id: of.id,
                result_id: of.result_id,
                outcome: of.decision.outcome,
                reasons: of.decision.codes(),
                by: of.by,
                policy: of.policy,
                sequence: numbered.map(|event| event.sequence),
                verification_sequence: numbered.map(|event| event.verification_sequence),
            },
            What::Ended(end, numbered) => ended(end, numbered),
            What::Delivered(of) => WhatView::Delivered {
                endpoint_id: of.endpoint,
                sequence: of.sequence,
                attempt: of.attempt,
                status: of.status,
                error: of.error,
                latency_ms: of.latency_ms,
            },
            What::Reviewed(of) => WhatView::Reviewed {
                review_id: of.id,
                about: of.about,
                outcome: of.outcome,
                reason: of.reason,
                reviewer: of.reviewer,
                person: of.person,
                decision_id: of.decision,
            },
            What::ImageSettled(of) => WhatView::ImageSettled {
                result_id: of.result,
                kind: of.kind,
                state: of.state,
                reason: of.reason,
            },
            What::Recorded(of) => WhatView::Recorded {
                action: of.action,
                actor: of.actor,
                audit_position: of.position,
            },
            What::Removed(of) => WhatView::RemovedByRetention {
                what: match of.kind {
                    RemovedKind::Results => RemovedView::Results,
                    RemovedKind::Decisions => RemovedView::Decisions,
                    RemovedKind::Audit => RemovedView::AuditEntries,
                },
                before: of.before,
                after_days: of.days,
            },
        };
        Self { at: event.at, what }
    }
}

fn ended(end: End, numbered: Option<Numbered>) -> WhatView {
    let sequence = numbered.map(|event| event.sequence);
    let verification_sequence = numbered.map(|event| event.verification_sequence);
    match end {
        End::Failed => WhatView::Failed { sequence, verification_sequence },
        End::Expired => WhatView::Expired { sequence, verification_sequence },
        End::Erased => WhatView::Erased { sequence, verification_sequence },
    }
}
