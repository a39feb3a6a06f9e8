//! Spans on their way to a collector, by OTLP over HTTP (protobuf).
//!
//! In batches, on a thread of the exporter's own. A collector that is slow or away costs spans, which
//! are counted, and nothing else: what waits for it is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::causes::{self, Cause};
use crate::traces;

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The collector's address, path included.
    pub endpoint: Url,
    /// The share of traces that begin here and are recorded. A caller decides about its own traces.
    pub sample: f64,
}

/// Spans that may wait for the collector: some seconds of a busy process, a few MiB.
const QUEUE: usize = 8192;
/// Spans sent at once, at most.
const BATCH: usize = 512;
/// Until what there is is sent, if a batch is not full before.
const EVERY: Duration = Duration::from_secs(2);
/// For one batch to be taken.
const SENDING: Duration = Duration::from_secs(5);
/// For the last ones, at the end of the process.
const FLUSH: Duration = Duration::from_secs(2);

/// The export; nothing where none is configured.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    pub(super) fn start(settings: &Settings) -> Result<Self, String> {
        let cannot = |why: &str| format!("traces cannot be exported: {why}");
        let client = client().map_err(cannot)?;
        let sending = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(SENDING)
            .build()
            .map_err(|error| cannot(causes::of(&error).unwrap_or(Cause::BadUrl).says()))?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter =
            Counted { sending, waiting: Arc::clone(&waiting), failing: AtomicBool::new(false) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        // Not from the environment: the list of exported attributes is closed.
        let resource = Resource::builder_empty()
            .with_service_name("verdict")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample)));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_span_processor(Bounded { batches, waiting })
            .build();
        Ok(Self(Some(provider)))
    }

    /// Takes our spans, and nothing that a library makes.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = Targets::new().with_target(traces::TARGET, LevelFilter::INFO);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.0.as_ref()?.tracer("verdict"))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false);
        Some(layer.with_filter(ours))
    }

    /// Sends what there is, within a short time. For the end of the process.
    pub async fn flush(self) {
        if let Some(provider) = self.0 {
            let flushing =
                tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH));
            let _ = flushing.await;
        }
    }
}

/// Created on a separate thread, because a blocking client cannot be created within a runtime.
fn client() -> Result<reqwest::blocking::Client, &'static str> {
    let made = std::thread::spawn(|| {
        reqwest::blocking::Client::builder()
            .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
            .timeout(SENDING)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
    });
    match made.join() {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(_)) | Err(_) => Err("the HTTP client cannot be set up"),
    }
}

fn dropped(spans: usize) {
    ::metrics::counter!("verdict_traces_dropped_total")
        .increment(u64::try_from(spans).unwrap_or(u64::MAX));
}

/// Lets in only so many spans as the queue behind it holds: the library drops the rest too, but
/// does not say how many.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let room = |waiting| (waiting < QUEUE).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok() {
            self.batches.on_end(span);
        } else {
            dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what the collector did not take.
#[derive(Debug)]
struct Counted<E> {
    sending: E,
    waiting: Arc<AtomicUsize>,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let sent = self.sending.export(batch).await;
        // Once for each time it begins or ends; the error is not told, because it quotes the URL.
        match (sent.is_ok(), self.failing.swap(sent.is_err(), Ordering::Relaxed)) {
            (false, false) => tracing::warn!("trace collector unavailable: spans dropped"),
            (true, true) => tracing::info!("trace collector available again"),
            _ => {}
        }
        if sent.is_err() {
            dropped(spans);
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.sending.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sending.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.sending.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use opentelemetry::trace::{Span as _, Tracer as _};

    use super::*;

    /// A collector that accepts nothing until it is released.
    #[derive(Debug)]
    struct Stuck {
        until: Mutex<Receiver<()>>,
        took: Arc<AtomicUsize>,
    }

    impl SpanExporter for Stuck {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            // Closed: it takes everything from now on.
            let _ = self.until.lock().unwrap().recv();
            self.took.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn what_a_slow_collector_does_not_take_is_bounded_and_counted() {
        const SPANS: usize = QUEUE + 3 * BATCH;
        let (go, until) = channel();
        let took = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = Counted {
            sending: Stuck { until: Mutex::new(until), took: Arc::clone(&took) },
            waiting: Arc::clone(&waiting),
            failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded { batches, waiting: Arc::clone(&waiting) })
            .build();
        let tracer = provider.tracer("test");
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            for _ in 0..SPANS {
                tracer.start("span").end();
            }
        });
        assert!(waiting.load(Ordering::Relaxed) <= QUEUE);
        drop(go);
        provider.shutdown_with_timeout(Duration::from_secs(10)).unwrap();
        let text = handle.render();
        let line = text.lines().find(|line| line.starts_with("verdict_traces_dropped_total "));
        let counted: usize = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        // One batch may have been on its way.
        assert!((2 * BATCH..=3 * BATCH).contains(&counted), "{counted}");
        assert_eq!(took.load(Ordering::Relaxed) + counted, SPANS);
    }
}
