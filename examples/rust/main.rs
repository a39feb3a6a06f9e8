//! Posts a signed callback and prints the decision:
//! `cargo run --example rust -- BIZ_TYPE BIZ_ID [--start]`
//!
//! With `--start` it first starts a verification of face-verify; `BIZ_ID` is then a new order number.
//!
//! In your project: anyhow, reqwest, `serde_json`, standardwebhooks, time, tokio, uuid.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![expect(clippy::disallowed_methods, reason = "a caller has clocks and ids of its own")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use time::OffsetDateTime;
use uuid::Uuid;

#[tokio::main]
async fn main() -> ExitCode {
    match verify().await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn verify() -> anyhow::Result<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (biz_type, biz_id, starts) = match arguments.as_slice() {
        [biz_type, biz_id] => (biz_type, biz_id, false),
        [biz_type, biz_id, flag] if flag == "--start" => (biz_type, biz_id, true),
        _ => bail!("usage: rust BIZ_TYPE BIZ_ID [--start]"),
    };
    let (url, api_key) = (setting("VERDICT_URL")?, setting("VERDICT_API_KEY")?);
    let source = std::env::var("VERDICT_SOURCE").unwrap_or_else(|_| "app".to_owned());
    let webhook = Webhook::new(&setting("VERDICT_SECRET")?)?;
    // Longer than the service holds a request below.
    let client = Client::builder().timeout(Duration::from_secs(40)).build()?;
    let mut callback = json!({ "biz_type": biz_type, "biz_id": biz_id });
    if starts {
        callback["product"] = "face-verify".into();
    }
    let body = callback.to_string();
    // The same id for every try: what was accepted already is not accepted twice.
    let id = format!("msg_{}", Uuid::new_v4().simple());

    if starts {
        let start = start(callback)?;
        // Nothing is started twice: a repetition gets the same answer.
        persist(|| {
            let post = client.post(format!("{url}/v1/verifications")).bearer_auth(&api_key);
            Ok(post.header("content-type", "application/json").body(start.clone()))
        })
        .await?;
        // The app goes on with `certify_id` of the answer, and tells your backend when the user has
        // finished. Then:
    }
    let mut verification = persist(|| {
        // Signed anew for every try: an old timestamp is refused.
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let request = client
            .post(format!("{url}/v1/callbacks/{source}"))
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", webhook.sign(&id, now, body.as_bytes())?);
        Ok(request.body(body.clone()))
    })
    .await?;
    let id = verification["id"].as_str().context("the answer has no id")?;
    // Held until there is something to tell, 30 seconds at most.
    let one = format!("{url}/v1/verifications/{id}?wait=30");
    while matches!(verification["state"].as_str(), Some("pending" | "unfinished")) {
        verification = persist(|| Ok(client.get(&one).bearer_auth(&api_key))).await?;
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let decision = &verification["decision"];
    let reasons: Vec<String> =
        decision["reasons"].as_array().into_iter().flatten().map(text).collect();
    let reasons = if reasons.is_empty() { "-".to_owned() } else { reasons.join(",") };
    Ok(format!("{} {} {reasons}", text(&verification["state"]), text(&decision["outcome"])))
}

/// The body of a start. Name and number come from your database, `meta_info` from the SDK in the
/// app. They go into the body, never into a URL or a log.
fn start(mut body: Value) -> anyhow::Result<String> {
    body["product_code"] = "ID_PRO".into();
    body["cert_type"] = "IDENTITY_CARD".into();
    body["cert_name"] = setting("CERT_NAME")?.into();
    body["cert_no"] = setting("CERT_NO")?.into();
    body["meta_info"] = setting("META_INFO")?.into();
    Ok(body.to_string())
}

fn setting(name: &'static str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

/// The answer; asks again where that may help, with a new request each time.
async fn persist(request: impl Fn() -> anyhow::Result<RequestBuilder>) -> anyhow::Result<Value> {
    let mut pauses = [1, 2, 4, 8].into_iter();
    loop {
        let answer = once(request()?).await;
        let may_help = answer.as_ref().map_or(true, |(status, after, _)| {
            [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
                || status.is_server_error()
                || after.is_some()
        });
        if may_help && let Some(pause) = pauses.next() {
            let after = answer.ok().and_then(|(_, after, _)| after).unwrap_or(pause);
            tokio::time::sleep(Duration::from_secs(after)).await;
            continue;
        }
        let (status, _, body) = answer?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&body)?);
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("Verdict refused: {} {}", status.as_u16(), problem["code"].as_str().unwrap_or("-"));
    }
}

/// One request: the status, what Retry-After says, the body.
async fn once(request: RequestBuilder) -> reqwest::Result<(StatusCode, Option<u64>, Vec<u8>)> {
    let answer = request.send().await?;
    let after =
        answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((answer.status(), after, answer.bytes().await?.to_vec()))
}
