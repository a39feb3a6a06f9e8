//! A trace collector for the service's exporter: stores all spans that it receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

/// Runs until the test ends. Clones see the same.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        let take = move |body: Bytes| async move { kept.lock().expect("no panic").push(body) };
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, bodies }
    }

    /// Configuration that exports to it.
    pub fn configuration(&self) -> String {
        format!("[traces]\nendpoint = \"http://{}/v1/traces\"\n", self.address)
    }

    /// Everything that came, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.bodies.lock().expect("no panic").concat()
    }

    /// All spans that came.
    pub fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().expect("no panic");
        let requests = bodies.iter().map(|body| {
            ExportTraceServiceRequest::decode(body.clone()).expect("a request of this kind")
        });
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

/// An attribute as text; empty where it is not there.
pub fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
