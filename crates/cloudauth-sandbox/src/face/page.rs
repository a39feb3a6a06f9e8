//! The page behind a `CertifyUrl`: a person opens it, passes, fails or leaves, and is sent back to
//! `ReturnUrl`. It works without scripts, so any browser or test can click through it.

use std::fmt::Write as _;

use axum::extract::{Path, RawForm, RawQuery, State};
use axum::response::Response;
use http::{HeaderValue, Method, header};
use url::Url;

use super::callback::with_parameters;
use super::script::Finding;
use super::sessions::NotSubmitted;
use crate::Sandbox;
use crate::question::{self, pairs};
use crate::reply::response;
use cloudauth::signing::percent_encode;
use cloudauth::wire;

/// Failures that the page offers.
const FAILURES: [(u32, &str); 11] = [
    (204, "faces differ"),
    (201, "name and number do not belong together"),
    (202, "identity not found"),
    (203, "no photo at the authority"),
    (205, "liveness risk"),
    (206, "business policy"),
    (207, "face differs from the card"),
    (209, "authority out of order"),
    (220, "no consent"),
    (221, "voice differs"),
    (222, "ordinary check failed"),
];

/// Without `form-action`: browsers apply it to the redirect to `ReturnUrl` as well. Any page may
/// embed `/h5iframe`.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'self'; script-src 'self'");

/// How the page tells what happened.
#[derive(Clone, Copy)]
enum Back {
    /// By a redirect to `ReturnUrl`.
    Redirect,
    /// By a message to the page around it.
    Message,
}

/// What the person does on the page.
enum Step {
    Submit(Finding),
    Leave,
}

impl Sandbox {
    /// The link of the page: short, or with everything in it.
    pub(super) fn certify_url(&self, base: &str, id: &str, expires: i64, short: bool) -> String {
        let sign = percent_encode(&self.0.links.sign("h5", id, expires));
        let target = format!("/h5?certifyId={id}&expires={expires}&sign={sign}");
        if !short {
            return format!("{base}{target}");
        }
        let name: String = self.0.nonces.next().chars().take(10).collect();
        self.memory().faces.shorten(&name, target);
        format!("{base}/s/{name}")
    }

    /// The `CertifyId` of a link, if it is one of ours.
    fn opened(&self, query: &[(String, String)]) -> Option<String> {
        let value = |name| question::value(query, name);
        let id = value("certifyId")?;
        let expires: i64 = value("expires")?.parse().ok()?;
        (value("sign")? == self.0.links.sign("h5", id, expires)).then(|| id.to_owned())
    }
}

/// The stylesheet of the pages.
pub(crate) async fn style() -> Response {
    response(200, "text/css;charset=utf-8", include_str!("page/page.css"))
}

/// The script of the embedded page's end.
pub(crate) async fn message() -> Response {
    response(200, "text/javascript;charset=utf-8", include_str!("page/message.js"))
}

/// A short link leads to the long one.
pub(crate) async fn short_link(
    State(sandbox): State<Sandbox>,
    Path(name): Path<String>,
) -> Response {
    let target = sandbox.memory().faces.long_link(&name).map(str::to_owned);
    match target {
        Some(target) => redirect(302, &target),
        None => page(404, "Unknown link", "<p>The simulated provider made no such link.</p>"),
    }
}

/// The page itself.
pub(crate) async fn hosted(
    state: State<Sandbox>,
    method: Method,
    query: RawQuery,
    form: RawForm,
) -> Response {
    answer(&state.0, &method, query, form, Back::Redirect)
}

/// The page inside another one.
pub(crate) async fn iframe(
    state: State<Sandbox>,
    method: Method,
    query: RawQuery,
    form: RawForm,
) -> Response {
    answer(&state.0, &method, query, form, Back::Message)
}

fn answer(
    sandbox: &Sandbox,
    method: &Method,
    RawQuery(query): RawQuery,
    RawForm(form): RawForm,
    back: Back,
) -> Response {
    let query = query.unwrap_or_default();
    let Some(id) = sandbox.opened(&pairs(query.as_bytes())) else {
        let about = "<p>This link was changed, or another provider made it.</p>";
        return page(403, "Signature error", about);
    };
    let now = sandbox.0.clock.now();
    if let Err(refusal) = sandbox.memory().faces.can_submit(&id, now) {
        return refused(refusal);
    }
    if method == Method::GET || method == Method::HEAD {
        return page(200, "Simulated verification", &choices(&id, &query, back));
    }
    // A GET's query is also its form; what the person does comes by POST alone.
    let Some(step) = read_step(&pairs(&form)) else {
        return page(400, "Unknown choice", "<p>Go back and press one of the buttons.</p>");
    };
    let (code, sub_code, reason) = match &step {
        Step::Submit(finding) if finding.passed => (1000, "Z5050", "success"),
        Step::Submit(_) => (2006, "Z5051", "fail"),
        Step::Leave => (1003, "Z5052", "system error"),
    };
    if let Step::Submit(finding) = step {
        let session = sandbox.memory().faces.submit(&id, finding.clone(), now);
        match session {
            Ok(session) => {
                let sandbox = sandbox.clone();
                tokio::spawn(async move { sandbox.call_back(&session, &finding).await });
            }
            Err(refusal) => return refused(refusal),
        }
    }
    let told = format!(
        r#"{{"code":{code},"subCode":"{sub_code}","reason":"{reason}","extInfo":{{"certifyId":"{id}"}}}}"#
    );
    let return_url = sandbox.memory().faces.get(&id).and_then(|s| s.return_url.clone());
    leave(back, return_url, told)
}

fn leave(back: Back, return_url: Option<Url>, told: String) -> Response {
    match (back, return_url) {
        (Back::Redirect, Some(url)) => {
            redirect(303, with_parameters(url, &[("response", told)]).as_str())
        }
        (Back::Message, _) => {
            let told = quick_xml::escape::escape(&told);
            let body = format!(
                r#"<input type="hidden" id="told" value="{told}"><script src="/h5.js"></script>"#
            );
            page(200, "Done", &body)
        }
        (Back::Redirect, None) => page(200, "Done", "<p>You may close this page.</p>"),
    }
}

fn read_step(form: &[(String, String)]) -> Option<Step> {
    let value = |name| question::value(form, name);
    Some(match value("result")? {
        "pass" => Step::Submit(Finding::PASS),
        "fail" => {
            let code = value("code").map_or(Some(204), |code| code.parse().ok())?;
            Step::Submit(Finding { passed: false, ..Finding::of(code) })
        }
        "leave" => Step::Leave,
        _ => return None,
    })
}

fn choices(id: &str, query: &str, back: Back) -> String {
    let action = match back {
        Back::Redirect => "/h5",
        Back::Message => "/h5iframe",
    };
    let mut options = String::new();
    for (code, meaning) in FAILURES {
        // Writing to a String cannot fail.
        let _ = write!(options, r#"<option value="{code}">{code}: {meaning}</option>"#);
    }
    let query = quick_xml::escape::escape(query);
    format!(
        r#"<p>Nobody is verified here. Choose what the provider finds.</p>
<form method="post" action="{action}?{query}">
<button id="pass" name="result" value="pass">Pass</button>
<div class="failing">
<label for="code">Why it fails</label>
<select id="code" name="code">{options}</select>
<button id="fail" name="result" value="fail">Fail</button>
</div>
<button id="leave" name="result" value="leave">Leave without a result</button>
</form>
<p class="about">CertifyId <code>{id}</code></p>"#
    )
}

fn refused(refusal: NotSubmitted) -> Response {
    let (status, title, about) = match refusal {
        NotSubmitted::Unknown => (404, "Unknown verification", "Its records are gone."),
        NotSubmitted::Expired => {
            (410, "Expired", "This link has expired: start a new verification.")
        }
        NotSubmitted::Used => {
            (410, "Already used", "A link is good for one submission: start a new verification.")
        }
    };
    page(status, title, &format!("<p>{about}</p>"))
}

fn page(http_status: u16, title: &str, body: &str) -> Response {
    let html = format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="/h5.css"></head>
<body><main>
<h1>{title}</h1>
{body}
</main></body></html>
"#
    );
    let mut page = marked(response(http_status, "text/html;charset=utf-8", html));
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    page
}

fn redirect(http_status: u16, target: &str) -> Response {
    let mut response = response(http_status, "text/plain", "");
    if let Ok(target) = HeaderValue::from_str(target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    marked(response)
}

fn marked(mut response: Response) -> Response {
    response.headers_mut().insert(wire::SIMULATED, HeaderValue::from_static("1"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A link of a page is a credential.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
