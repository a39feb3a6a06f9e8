//! The data that remains of a verification after an erasure: part of every receipt.

use policy::product::Product;
use serde::Serialize;
use utoipa::ToSchema;

/// Products whose copy of a person the provider deletes on request.
pub const WITH_COPIES: [Product; 1] = [Product::FaceVerify];

/// Columns of one table that outlive an erasure, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Remaining {
    /// A table of Verdict's database.
    pub table: &'static str,
    /// The columns that may keep a value. Every other column of the table is null or empty.
    pub columns: &'static [&'static str],
    /// Why the columns are kept.
    pub purpose: &'static str,
}

/// The complete list. A test compares it with the columns of the database.
pub const REMAINING: [Remaining; 18] = [
    Remaining {
        table: "verifications",
        columns: &[
            "id",
            "biz_type",
            "biz_id",
            "product",
            "certify_id",
            "source",
            "state",
            "closed",
            "created_at",
            "updated_at",
            "callbacks",
            "attempts",
            "failures",
            "polls",
            "give_up_at",
            "woken_at",
            "result_id",
            "decision_id",
        ],
        purpose: "A late callback about the verification is recognized and refused.",
    },
    Remaining {
        table: "callbacks",
        columns: &[
            "source",
            "message_id",
            "verification_id",
            "received_at",
            "answer_state",
            "answer_attempts",
            "answer_decision_id",
        ],
        purpose: "That a callback came stays on record. Its message id is replaced by a random one.",
    },
    Remaining {
        table: "results",
        columns: &[
            "id",
            "verification_id",
            "attempt",
            "fetched_at",
            "http_status",
            "verify_status",
            "evidence",
            "error_class",
            "error_code",
            "simulated",
            "coarsened",
            "bucket_objects",
        ],
        purpose: "The calls to the provider are accounted for. The evidence holds the status, the \
                  scene and the number of attempts.",
    },
    Remaining {
        table: "starts",
        columns: &[
            "verification_id",
            "parameters",
            "callback_token",
            "call_token",
            "asked_at",
            "expires_at",
            "answered_at",
            "answer",
            "refused_code",
        ],
        purpose: "An order number is not started twice. Parameters and answer are sealed with the \
                  destroyed key, and nobody can read them.",
    },
    Remaining {
        table: "decisions",
        columns: &[
            "id",
            "verification_id",
            "result_id",
            "policy_digest",
            "outcome",
            "reasons",
            "decided_by",
            "decided_at",
            "position",
            "simulated",
            "xid",
        ],
        purpose: "The decision and its rules stay explainable. The reasons hold codes and \
                  rules, and nothing that was observed.",
    },
    Remaining {
        table: "shadow_decisions",
        columns: &[
            "decision_id",
            "verification_id",
            "policy_digest",
            "active_digest",
            "active_outcome",
            "outcome",
            "reasons",
            "decided_at",
        ],
        purpose: "Policies in shadow stay comparable, by outcome and reason code.",
    },
    Remaining {
        table: "reviews",
        columns: &[
            "id",
            "verification_id",
            "about",
            "outcome",
            "reason",
            "reviewer",
            "person",
            "reviewed_at",
            "decision_id",
        ],
        purpose: "The audit needs to know which reviewer decided. The note is gone.",
    },
    Remaining {
        table: "cases",
        columns: &[
            "decision_id",
            "verification_id",
            "biz_type",
            "opened_at",
            "closed_at",
            "escalated_at",
            "escalated_by",
            "escalation",
        ],
        purpose: "How long cases waited for a person stays countable.",
    },
    Remaining {
        table: "proposals",
        columns: &[
            "id",
            "call",
            "action",
            "subject",
            "key_id",
            "person",
            "purpose",
            "proposed_at",
            "closed_at",
            "seconded_by",
            "seconded_person",
        ],
        purpose: "The two persons who agreed to a refetch are on record.",
    },
    Remaining {
        table: "images",
        columns: &["result_id", "kind", "verification_id", "state", "reason", "settled_at"],
        purpose: "Until a worker has deleted the objects, then the rows go too.",
    },
    Remaining {
        table: "erasures",
        columns: &[
            "verification_id",
            "requested_at",
            "requested_by",
            "purpose",
            "unreadable_at",
            "completed_at",
            "coarsened_at",
            "digests_erased",
            "data_keys",
            "answers",
            "material",
            "callbacks",
            "images",
        ],
        purpose: "This receipt.",
    },
    Remaining {
        table: "legal_holds",
        columns: &[
            "id",
            "verification_id",
            "purpose",
            "placed_at",
            "placed_by",
            "lifted_at",
            "lifted_by",
        ],
        purpose: "Why the erasure had to wait, and who lifted the hold.",
    },
    Remaining {
        table: "provider_deletions",
        columns: &[
            "verification_id",
            "requested_at",
            "due_at",
            "attempts",
            "deleted_at",
            "bucket_objects",
        ],
        purpose: "When the provider deleted its copy, and what stays in your own bucket.",
    },
    Remaining {
        table: "event_notes",
        columns: &["position", "xid", "id", "kind", "verification_id", "decision_id", "at"],
        purpose: "The events of failures, expiries and erasures.",
    },
    Remaining {
        table: "events",
        columns: &[
            "logged_on",
            "number",
            "kind",
            "verification_id",
            "verification_sequence",
            "decision_id",
            "with_reference",
            "at",
            "id",
        ],
        purpose: "The event log has no gaps. Its events name the verification, its scene and \
                  its biz_id, which is no place for a name; their reference is null.",
    },
    Remaining {
        table: "webhook_pending",
        columns: &[
            "endpoint_id",
            "redelivery",
            "number",
            "verification_id",
            "state",
            "attempts",
            "first_at",
            "next_at",
        ],
        purpose: "Events that an endpoint has not accepted yet.",
    },
    Remaining {
        table: "webhook_attempts",
        columns: &[
            "id",
            "endpoint_id",
            "number",
            "event_id",
            "at",
            "attempt",
            "status",
            "error",
            "latency_ms",
            "answer",
            "next_at",
        ],
        purpose: "Requests to endpoints, for keep_deliveries_days. The beginning of what an \
                  endpoint answered is not shown any more. It is sealed with the key of the \
                  endpoint: whoever has both the database and vault.keys can open it.",
    },
    Remaining {
        table: "audit",
        columns: &[
            "position",
            "at",
            "actor",
            "action",
            "subject",
            "purpose",
            "details",
            "previous",
            "digest",
            "database_user",
        ],
        purpose: "Reading, erasing and changing data is on record.",
    },
];
