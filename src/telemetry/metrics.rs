//! The metrics: every one there is, and what it says.

use ::metrics::{describe_counter, describe_gauge, describe_histogram};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; begins at 0 with the process.
    Counter,
    /// A current value.
    Gauge,
    /// A distribution of durations.
    Histogram,
}

impl Kind {
    /// As Prometheus says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its help text.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// All of them, in the order of docs/observability.md.
pub const METRICS: &[Metric] = &[
    gauge("verdict_build_info", &["version", "revision"], "1; the labels say what is running"),
    counter(
        "verdict_http_requests_total",
        &["route", "method", "status", "code"],
        "Requests by route, method, status and problem code",
    ),
    histogram("verdict_http_request_seconds", &["route"], "Time to answer a request, by route"),
    counter(
        "verdict_http_connections_evicted_total",
        &[],
        "Connections closed for new ones because they waited longest for their clients while all slots were taken",
    ),
    counter(
        "verdict_console_sign_ins_total",
        &["outcome"],
        "Attempts to sign in to the console that were checked: ok or refused",
    ),
    counter(
        "verdict_config_reloads_total",
        &["outcome"],
        "Changed configurations that were applied while serving, or refused because of a mistake",
    ),
    counter(
        "verdict_faults_total",
        &["service", "cause"],
        "Statements and requests that postgres, provider or object-store did not carry out, by cause (docs/causes.md)",
    ),
    counter("verdict_panics_total", &[], "Panics caught in requests"),
    counter("verdict_callbacks_total", &["outcome"], "Accepted callbacks: new or repeated"),
    counter(
        "verdict_callbacks_refused_total",
        &["source", "code"],
        "Refused callbacks by source and problem code; source is unknown for every name that is not configured",
    ),
    counter(
        "verdict_callback_hints_dropped_total",
        &["hint"],
        "Hints in callbacks that could not be read and were dropped, by member",
    ),
    counter(
        "verdict_wakeups_total",
        &["by", "outcome"],
        "Returns of users (return) and callbacks of the provider (provider) for face-verify: made-due, known (nothing to do, or woken within 5 s), unknown, refused (of another source or account), unreadable, probe (no parameters), dropped (too many at once) or failed (no database in time)",
    ),
    gauge(
        "verdict_verifications",
        &["state"],
        "Verifications that are pending, unfinished or failed; the first two counted among 10,000 that are due and 10,000 that will be, the last up to 10,000",
    ),
    gauge(
        "verdict_queue_depth",
        &["state"],
        "Verifications due now: waiting (due) or leased by a worker (leased); counted up to 10,000",
    ),
    gauge(
        "verdict_source_due",
        &["source"],
        "Verifications of a source that are due now, among the 10,000 that have been due for longest; unknown: all sources that this process does not have in its configuration",
    ),
    gauge("verdict_oldest_due_seconds", &[], "How long the oldest due verification has been due"),
    gauge(
        "verdict_leases",
        &["kind"],
        "Leases that this process holds: verifications to fetch, tasks, passes of retention, webhook endpoints",
    ),
    counter(
        "verdict_provider_deletions_total",
        &["class"],
        "Requests to delete the provider's copy of an erased person, by class of answer",
    ),
    counter(
        "verdict_provider_calls_total",
        &["product", "class"],
        "Calls made to the provider by product and class of answer",
    ),
    counter(
        "verdict_simulated_answers_total",
        &[],
        "Answers of a simulated provider: nobody is really verified by them",
    ),
    histogram("verdict_provider_call_seconds", &[], "Time of a call to the provider"),
    gauge(
        "verdict_budget_queries_per_second",
        &[],
        "Calls to the provider that the account allows in a second, all processes together",
    ),
    gauge(
        "verdict_budget_ahead_seconds",
        &[],
        "How far ahead of now calls are already granted; 0: there is room",
    ),
    gauge("verdict_breaker_open", &["cause"], "1 while the breaker is open for this cause"),
    counter(
        "verdict_breaker_trips_total",
        &["cause"],
        "How often the breaker opened or a probe failed, by cause",
    ),
    counter(
        "verdict_fetches_total",
        &["written"],
        "Fetches by the outcome of their write: committed or fenced",
    ),
    counter(
        "verdict_fetches_rescheduled_total",
        &[],
        "Fetches rescheduled because their result could not be sealed or written",
    ),
    counter(
        "verdict_decisions_refused_total",
        &[],
        "Decisions, or shadow decisions, that the database refused for their data: the result is stored, and without a decision the verification is failed",
    ),
    counter("verdict_decisions_total", &["outcome"], "Decisions by outcome"),
    gauge(
        "verdict_cases",
        &["biz_type"],
        "Cases that wait for a person, by scene; other: all scenes without a separate target; counted up to 10,000 a scene",
    ),
    gauge(
        "verdict_cases_late",
        &["biz_type"],
        "Cases that have waited longer than the target of their scene",
    ),
    gauge(
        "verdict_oldest_case_seconds",
        &["biz_type"],
        "How long the oldest case of a scene has waited; 0: there is none",
    ),
    counter(
        "verdict_assignments_total",
        &["kind", "ended"],
        "Cases and golden pairs that a reviewer finished or lost, by kind (review, golden, again) and by how they ended",
    ),
    counter("verdict_events_logged_total", &[], "Events that this process has numbered"),
    counter(
        "verdict_decision_reasons_total",
        &["code", "outcome"],
        "Reasons of decisions, by code and by the outcome of each",
    ),
    counter(
        "verdict_shadow_decisions_total",
        &["agrees"],
        "Decisions of a policy in shadow, by whether they agree with the decision that counts",
    ),
    counter(
        "verdict_activations_refused_total",
        &[],
        "Activations that this version could not apply",
    ),
    gauge(
        "verdict_score_drift_psi",
        &["score"],
        "Population stability index of a score, the last week against the four before: examine 0.1, alarm at 0.25; NaN: too little to compare",
    ),
    gauge(
        "verdict_score_drift_alarm",
        &["score"],
        "1 while the population stability index of a score is 0.25 or more: scores are not distributed as they were",
    ),
    gauge(
        "verdict_tasks",
        &["kind"],
        "Follow-up tasks in the queue: results whose images are to be archived, verifications whose images are to be deleted; counted up to 10,000",
    ),
    counter(
        "verdict_task_failures_total",
        &["kind"],
        "Attempts of follow-up tasks that failed and are retried, by kind; of images also those that wait for an object store that is unavailable or full",
    ),
    gauge(
        "verdict_image_time_left_seconds",
        &[],
        "Time until the nearest expiry of links that are not followed yet; below 0: expired, NaN: there are none",
    ),
    counter(
        "verdict_deliveries_total",
        &["outcome"],
        "Requests to webhook endpoints by outcome: acknowledged, or why not",
    ),
    histogram(
        "verdict_delivery_seconds",
        &[],
        "Time of a request to a webhook endpoint, the end of its answer included",
    ),
    counter(
        "verdict_dead_letters_total",
        &[],
        "Events that failed alone to the end of their schedule and wait for a redelivery",
    ),
    gauge(
        "verdict_dead_letters",
        &[],
        "Dead letters of all webhook endpoints; counted up to 10,000",
    ),
    gauge(
        "verdict_webhook_endpoints",
        &["status"],
        "Webhook endpoints that are active, failing, paused or disabled",
    ),
    gauge(
        "verdict_oldest_undelivered_seconds",
        &[],
        "How long ago the oldest event happened that an active or failing endpoint still has to be sent; 0: there is none",
    ),
    gauge("verdict_events_head", &[], "Number of the newest event in the log"),
    counter("verdict_images_total", &["state"], "Images by their final state"),
    counter("verdict_image_downloads_total", &["outcome"], "Links followed, by outcome"),
    histogram("verdict_images_kept_seconds", &[], "Time from a result to its last stored image"),
    counter("verdict_image_reads_total", &[], "Images read through the API"),
    counter("verdict_material_reads_total", &[], "Personal data read through the API"),
    counter("verdict_erasures_total", &[], "Erasures requested through the API"),
    gauge("verdict_persons_with_faces", &[], "Persons whose faces are stored"),
    gauge(
        "verdict_persons_alarm",
        &["threshold"],
        "1 when the faces of at least this many persons are stored",
    ),
    gauge(
        "verdict_vault_key_needed",
        &["key_id", "configured"],
        "1 while data needs this key-encryption key",
    ),
    counter(
        "verdict_audit_heads_total",
        &["witness", "outcome"],
        "Heads of the audit sent to a witness: signed, ahead, contradicts, unknown-log, no-answer, bad-answer",
    ),
    gauge(
        "verdict_audit_cosigned_age_seconds",
        &["witness"],
        "Age of the newest head of the audit that a witness signed; +Inf: none yet",
    ),
    gauge(
        "verdict_invariant_violations",
        &["invariant"],
        "Violations of this invariant: always 0; otherwise investigate",
    ),
    gauge(
        "verdict_database_connections",
        &["state"],
        "Connections of this process to the database: idle or busy",
    ),
    gauge(
        "verdict_database_connections_max",
        &[],
        "Connections to the database that this process may have",
    ),
    gauge(
        "verdict_database_tls_info",
        &["sslmode"],
        "1; the label says what protects connections to the database: local, verify-full, or the weaker sslmode that database.url spells",
    ),
    counter(
        "verdict_metrics_queries_failed_total",
        &["query"],
        "Metrics queries that failed or took too long: their gauges are older than they should be",
    ),
    counter(
        "verdict_traces_dropped_total",
        &[],
        "Spans dropped because the collector was unavailable or too slow",
    ),
];

pub(super) fn describe() {
    for metric in METRICS {
        let Metric { name, help, .. } = *metric;
        match metric.kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}
