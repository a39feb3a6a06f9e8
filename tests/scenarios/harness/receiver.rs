//! A receiver of webhooks that answers as the test configures it, and records the deliveries.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::eventually;

/// One request to the receiver.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub headers: HeaderMap,
    pub body: String,
    pub json: Value,
    /// The status of the answer; 0: not answered yet.
    pub answered: u16,
}

impl Delivery {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().expect("visible")
    }

    /// `webhook-id`.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn biz_id(&self) -> &str {
        self.json["data"]["biz_id"].as_str().unwrap_or("")
    }

    pub fn sequence(&self) -> i64 {
        self.json["sequence"].as_i64().unwrap_or(0)
    }

    /// Whether the public library finds it signed with this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let library = standardwebhooks::Webhook::new(secret).expect("a good secret");
        let at = self.header("webhook-timestamp").parse().expect("a number");
        let expected = library.sign(self.id(), at, self.body.as_bytes()).expect("signed");
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// With this header.
    With(u16, &'static str, &'static str),
    /// Not before this.
    When(CancellationToken, u16),
    /// Not at all.
    Never,
}

type Manner = Box<dyn Fn(&Delivery) -> Reply + Send + Sync>;

/// Clones share everything.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    manner: Mutex<Manner>,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Receiver {
    /// Acknowledges everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let manner: Manner = Box::new(|_| Reply::Status(204));
        let inner = Arc::new(Inner { manner: Mutex::new(manner), deliveries: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, inner }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers so from now on.
    pub fn answer(&self, manner: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) {
        *self.inner.manner.lock().expect("whole") = Box::new(manner);
    }

    /// Every request so far, in the order in which they came.
    pub fn all(&self) -> Vec<Delivery> {
        self.inner.deliveries.lock().expect("whole").clone()
    }

    /// Those that were acknowledged.
    pub fn acknowledged(&self) -> Vec<Delivery> {
        let mut all = self.all();
        all.retain(|delivery| (200..300).contains(&delivery.answered));
        all
    }

    /// Waits until so many requests have come.
    pub async fn asked(&self, many: usize) -> Vec<Delivery> {
        eventually(&format!("{many} requests come"), || async {
            Some(self.all()).filter(|all| all.len() >= many)
        })
        .await
    }

    /// Waits until so many are acknowledged.
    pub async fn received(&self, many: usize) -> Vec<Delivery> {
        eventually(&format!("{many} events are acknowledged"), || async {
            Some(self.acknowledged()).filter(|all| all.len() >= many)
        })
        .await
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 1 << 20).await else { return 400.into_answer() };
    let body = String::from_utf8(body.to_vec()).expect("text");
    let json = serde_json::from_str(&body).expect("JSON");
    let mut delivery = Delivery { headers: head.headers, body, json, answered: 0 };
    let reply = (inner.manner.lock().expect("whole"))(&delivery);
    delivery.answered = match reply {
        Reply::Status(status) | Reply::With(status, ..) | Reply::When(_, status) => status,
        Reply::Never => 0,
    };
    inner.deliveries.lock().expect("whole").push(delivery);
    match reply {
        Reply::Status(status) => status.into_answer(),
        Reply::With(status, name, value) => {
            let mut response = status.into_answer();
            response.headers_mut().insert(name, value.parse().expect("a value"));
            response
        }
        Reply::When(event, status) => {
            event.cancelled().await;
            status.into_answer()
        }
        Reply::Never => std::future::pending().await,
    }
}

trait IntoAnswer {
    fn into_answer(self) -> Response;
}

impl IntoAnswer for u16 {
    fn into_answer(self) -> Response {
        http::StatusCode::from_u16(self).expect("a status").into_response()
    }
}
