//! Logs, metrics and the export of traces.
//!
//! Logs hold fields of a closed list (docs/observability.md), never values from outside; a panic is
//! reported by its place alone, because its message may quote what it choked on.

pub mod export;
pub mod metrics;

use std::io::Write;
use std::sync::{Mutex, OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::traces;
use export::Traces;

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
const NEVER_TALKATIVE: [&str; 6] =
    ["hyper", "hyper_util", "reqwest", "rustls", "h2", "opentelemetry"];

/// Libraries that pass on what a server said (Postgres' notices, errors with its text or a URL in
/// it), with fields of their own. No filter makes them heard; we say ourselves what comes of it.
const NEVER_HEARD: [&str; 2] = ["sqlx", "object_store"];

/// Whether it is a log filter.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|_| "is not a log filter".to_owned())
}

/// Starts logging, once per process.
pub fn init(settings: &Settings, output: Output) -> Result<(), String> {
    init_with_traces(settings, output, None).map(drop)
}

/// Starts logging and, where there is somewhere to send them, the export of traces.
pub fn init_with_traces(
    settings: &Settings,
    output: Output,
    export: Option<&export::Settings>,
) -> Result<Traces, String> {
    let filter = filter(&settings.filter)?;
    let log = log_layer(settings.json, output);
    let traces = export.map(Traces::start).transpose()?.unwrap_or_default();
    // Without traces nobody asks for spans, so none are made. A second start in one process (tests)
    // keeps the first.
    let _ = match traces.layer() {
        Some(layer) => {
            let log = Layer::<Registry>::with_filter(log, filter);
            tracing_subscriber::registry().with(log).with(layer).try_init()
        }
        None => tracing_subscriber::registry().with(log).with(filter).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
        // Also where no log is set up; a closed stderr must not make a second panic.
        let _ = writeln!(std::io::stderr(), "verdict: internal error at {place}");
    }));
    Ok(traces)
}

/// What is logged. Spans are not: they are made for the export alone.
fn filter(directives: &str) -> Result<EnvFilter, String> {
    let mut filter =
        EnvFilter::try_new(directives).map_err(|_| "log.filter: is not a log filter".to_owned())?;
    let never = NEVER_TALKATIVE.map(|target| format!("{target}=warn"));
    for directive in never.into_iter().chain([format!("{}=off", traces::TARGET)]) {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    Ok(filter)
}

/// One line for each event.
fn log_layer<S>(json: bool, output: Output) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let writer = match output {
        Output::Stdout => BoxMakeWriter::new(std::io::stdout),
        Output::Stderr => BoxMakeWriter::new(std::io::stderr),
        Output::File(file) => BoxMakeWriter::new(Mutex::new(file)),
    };
    let layer =
        tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    let heard = filter_fn(|event| !NEVER_HEARD.iter().any(|name| event.target().starts_with(name)));
    if json {
        let layer = layer.json().flatten_event(true);
        layer.with_current_span(false).with_span_list(false).with_filter(heard).boxed()
    } else {
        layer.with_filter(heard).boxed()
    }
}

/// Which commit was built (build.rs).
pub const REVISION: &str = env!("VERDICT_BUILT_FROM");

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
        let _ = ::metrics::set_global_recorder(recorder);
        metrics::describe();
        ::metrics::gauge!("verdict_build_info",
            "version" => env!("CARGO_PKG_VERSION"), "revision" => REVISION)
        .set(1);
        handle
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// What is logged of these events, under this filter.
    fn logged(directives: &str, events: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let output = Output::File(file.reopen().unwrap());
        let log = tracing_subscriber::registry()
            .with(log_layer(true, output))
            .with(filter(directives).unwrap());
        tracing::subscriber::with_default(log, events);
        let mut text = String::new();
        file.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_the_database_and_its_library_say_is_not_passed_on() {
        for directives in ["info", "trace", "info,sqlx_core::pool::connection=info"] {
            let text = logged(directives, || {
                tracing::warn!(target: "sqlx_core::pool::connection", error = "canary", "tested");
                tracing::warn!(target: "sqlx_postgres::options::parse", value = "canary", "ignored");
                tracing::info!(target: "object_store::client::retry", "http://canary again");
                tracing::warn!("ours");
            });
            assert!(text.contains("ours") && !text.contains("canary"), "{directives}: {text}");
        }
    }
}
