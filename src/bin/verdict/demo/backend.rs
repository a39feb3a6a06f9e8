//! A customer's backend, as small as it can be. It starts verifications whose page a browser opens,
//! and shows users who come back how they were decided.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use policy::product::Product;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;
use verdict::domain::ids::Ids;

/// Beyond the wait of a long poll.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long a page waits for a decision before it shows that there is none. In seconds.
const WAIT: u8 = 3;

/// No `form-action`: browsers apply it to redirects too, and a start leads to the provider.
const PAGES_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'self'; frame-ancestors 'none'");

#[derive(Clone)]
pub struct Backend {
    service: SocketAddr,
    api_key: String,
    ids: Ids,
    client: Client,
    /// The provider's page of each verification that this process started.
    pages: Arc<Mutex<HashMap<Uuid, String>>>,
}

impl Backend {
    pub fn new(service: SocketAddr, api_key: &str, ids: &Ids) -> anyhow::Result<Self> {
        Ok(Self {
            service,
            api_key: api_key.to_owned(),
            ids: ids.clone(),
            client: Client::builder().timeout(TIMEOUT).no_proxy().build()?,
            pages: Arc::default(),
        })
    }

    /// Serves the pages until the process ends.
    pub fn serve(&self, listener: TcpListener) {
        let router = Router::new()
            .route("/", get(welcome))
            .route("/start", post(start))
            .route("/done", get(done))
            .route("/style.css", get(style))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// Starts a verification; the address of its page.
    pub async fn start(&self) -> anyhow::Result<String> {
        let body = json!({
            "product": Product::FaceVerify,
            // The scenes of this product are numbers.
            "biz_type": "1000000006",
            "biz_id": format!("demo{}", self.ids.nonce().chars().take(12).collect::<String>()),
            "product_code": "ID_PRO",
            "cert_type": "IDENTITY_CARD",
            "cert_name": "测试甲",
            "cert_no": "110101190001011009",
            "meta_info": r#"{"deviceType":"h5"}"#,
            "certify_url_type": "H5",
            "return_url": self.url("/v1/returns/app"),
            "source": "app",
        });
        let request = self.client.post(self.url("/v1/verifications"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let started = self.ask(request.body(body.to_string()), StatusCode::CREATED).await?;
        let page = started["certify_url"].as_str().context("the answer has no page")?;
        let id = started["verification"]["id"].as_str().context("the answer has no id")?;
        self.pages().insert(id.parse()?, page.to_owned());
        Ok(page.to_owned())
    }

    /// Reads a verification from Verdict, once it is decided.
    async fn verification(&self, id: Uuid) -> anyhow::Result<Value> {
        let url = self.url(&format!("/v1/verifications/{id}?wait={WAIT}"));
        self.ask(self.client.get(url), StatusCode::OK).await
    }

    async fn ask(&self, request: RequestBuilder, expected: StatusCode) -> anyhow::Result<Value> {
        let answer = request.bearer_auth(&self.api_key).send().await;
        let answer = answer.map_err(reqwest::Error::without_url)?;
        if answer.status() != expected {
            bail!("the service answered {} instead of {expected}", answer.status());
        }
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service)
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, String>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn welcome() -> Response {
    let body = "<p>Verdict starts a verification at the simulated provider. Your browser goes to its \
        page and comes back here.</p>";
    page("Verify a person", body, Refresh::Never)
}

async fn start(State(backend): State<Backend>) -> Response {
    match backend.start().await {
        Ok(page) => Redirect::to(&page).into_response(),
        Err(error) => failed(&error),
    }
}

/// The address in `return_urls`: Verdict adds the id that it knows the verification by.
async fn done(
    State(backend): State<Backend>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(id) = query.get("verification_id").and_then(|id| id.parse().ok()) else {
        return page("No verification", "<p>This return names none.</p>", Refresh::Never);
    };
    match backend.verification(id).await {
        Ok(verification) => {
            let link = backend.pages().get(&id).cloned();
            shown(&verification, link.as_deref())
        }
        Err(error) => failed(&error),
    }
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("backend/style.css")).into_response()
}

fn shown(verification: &Value, link: Option<&str>) -> Response {
    let text = |value: &Value| escaped(value.as_str().unwrap_or("-"));
    let (decision, id) = (&verification["decision"], text(&verification["id"]));
    match verification["state"].as_str() {
        Some("decided") => {
            let reasons = decision["reasons"].as_array().into_iter().flatten();
            let reasons: Vec<String> = reasons.map(text).collect();
            let body = format!(
                "<dl><dt>Decision</dt><dd id=\"outcome\">{}</dd><dt>Reasons</dt><dd>{}</dd>\
                 <dt>Verification</dt><dd>{id}</dd></dl>",
                text(&decision["outcome"]),
                reasons.join(", "),
            );
            page("Decided", &body, Refresh::Never)
        }
        Some("pending" | "unfinished") => {
            let link = link.map(|link| {
                format!(
                    "<p>Not finished? <a href=\"{}\">Back to the provider</a></p>",
                    escaped(link)
                )
            });
            let body = format!(
                "<p>The provider has no result yet. This page looks again by itself.</p>{}\
                 <dl><dt>Verification</dt><dd>{id}</dd></dl>",
                link.unwrap_or_default()
            );
            page("Not decided yet", &body, Refresh::Soon)
        }
        _ => {
            let body = format!(
                "<dl><dt>State</dt><dd>{}</dd><dt>Verification</dt><dd>{id}</dd></dl>",
                text(&verification["state"])
            );
            page("No decision", &body, Refresh::Never)
        }
    }
}

fn failed(error: &anyhow::Error) -> Response {
    let body = format!("<p>{}</p>", escaped(&error.to_string()));
    (StatusCode::BAD_GATEWAY, page("It did not work", &body, Refresh::Never)).into_response()
}

/// Whether a page loads itself again.
#[derive(Clone, Copy)]
enum Refresh {
    Never,
    Soon,
}

fn page(title: &str, body: &str, refresh: Refresh) -> Response {
    let refresh = match refresh {
        Refresh::Never => "",
        Refresh::Soon => "<meta http-equiv=\"refresh\" content=\"1\">\n",
    };
    let html =
        format!(include_str!("backend/page.html"), title = title, body = body, refresh = refresh);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, PAGES_POLICY),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, html).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
