//! Logs and metrics.
//!
//! Logs hold fields of a closed list, never values from outside; a panic is reported by its place
//! alone, because its message may quote what it choked on.

use std::io::Write;
use std::sync::{Mutex, OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// How to log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One JSON object per line, or text for people.
    pub json: bool,
    /// Directives as in `RUST_LOG`.
    pub filter: String,
}

/// Where logs go.
#[derive(Debug)]
pub enum Output {
    /// Standard output: the service.
    Stdout,
    /// Standard error: commands whose output is their result.
    Stderr,
    /// A file: the demo.
    File(std::fs::File),
}

/// These print URLs and headers when asked to be talkative; ours may hold signatures.
const NEVER_TALKATIVE: [&str; 5] = ["hyper", "hyper_util", "reqwest", "rustls", "h2"];

/// Starts logging, once per process.
pub fn init(settings: &Settings, output: Output) -> Result<(), String> {
    let mut filter =
        EnvFilter::try_new(&settings.filter).map_err(|_| "is not a log filter".to_owned())?;
    for target in NEVER_TALKATIVE {
        if let Ok(directive) = format!("{target}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let writer = match output {
        Output::Stdout => BoxMakeWriter::new(std::io::stdout),
        Output::Stderr => BoxMakeWriter::new(std::io::stderr),
        Output::File(file) => BoxMakeWriter::new(Mutex::new(file)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = if settings.json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
        // Also where no log is set up; a closed stderr must not make a second panic.
        let _ = writeln!(std::io::stderr(), "verdict: internal error at {place}");
    }));
    Ok(())
}

/// The process's metrics. Installed at the first call.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        // Half a millisecond to 10 seconds: from a cached read to a provider's timeout.
        let seconds =
            [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Another recorder is there already only if a test brought one.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    })
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "verdict_http_requests_total",
        "Requests by route, method, status and problem code"
    );
    describe_histogram!("verdict_http_request_seconds", "Time to answer a request, by route");
    describe_counter!("verdict_callbacks_total", "Accepted callbacks: new or repeated");
    describe_counter!("verdict_provider_calls_total", "Calls to the provider by class of answer");
    describe_histogram!("verdict_provider_call_seconds", "Time of a call to the provider");
    describe_counter!(
        "verdict_fetches_total",
        "Fetches by what became of their write: committed or fenced"
    );
    describe_counter!("verdict_decisions_total", "Decisions by outcome");
    describe_counter!(
        "verdict_breaker_trips_total",
        "How often calling the provider was stopped or a probe failed, by reason"
    );
    describe_gauge!(
        "verdict_breaker_open",
        "1 while calls to the provider are stopped for this reason"
    );
    describe_gauge!(
        "verdict_due",
        "Verifications due now, in a worker's hands or not; counted up to 10,000"
    );
    describe_gauge!(
        "verdict_oldest_due_seconds",
        "How long the oldest due verification has been due"
    );
    describe_gauge!("verdict_database_connections", "Connections of this process");
    describe_counter!(
        "verdict_put_off_total",
        "Fetches put off because their answer could not be sealed or written"
    );
    describe_counter!(
        "verdict_decisions_refused_total",
        "Decisions, or shadows of them, that the database refused for their data: the answer is kept, without a decision the verification is failed"
    );
    describe_gauge!(
        "verdict_tasks",
        "Follow-up work to be done: answers whose images are to be archived, verifications whose images are to be deleted; counted up to 10,000"
    );
    describe_gauge!(
        "verdict_image_time_left_seconds",
        "Until the nearest deadline of links that are not followed yet; below 0 it is over, NaN: there are none"
    );
    describe_counter!("verdict_images_total", "Images by what became of them");
    describe_counter!("verdict_image_downloads_total", "Links followed, by outcome");
    describe_histogram!("verdict_images_kept_seconds", "From an answer to its last image kept");
    describe_counter!(
        "verdict_shadow_decisions_total",
        "Decisions of a policy in shadow, by whether they agree with what counts"
    );
    describe_counter!(
        "verdict_activations_refused_total",
        "Activations that this version could not follow"
    );
    describe_gauge!(
        "verdict_score_drift_psi",
        "Population stability index of a score, the last week against the four before: 0.1 is worth a look, 0.25 an alarm; NaN: too little to compare"
    );
    describe_gauge!(
        "verdict_score_drift_alarm",
        "1 while the population stability index of a score is 0.25 or more: scores are not distributed as they were"
    );
    describe_counter!("verdict_image_reads_total", "Images shown");
    describe_gauge!("verdict_persons_with_faces", "Persons whose faces are kept");
    describe_gauge!(
        "verdict_persons_alarm",
        "1 when the faces of at least so many persons are kept"
    );
    describe_counter!("verdict_panics_total", "Panics caught in requests");
}
