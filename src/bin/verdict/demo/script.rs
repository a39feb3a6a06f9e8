//! The demo's script: one callback for every outcome, and what must come of it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use policy::product::Product;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use verdict::domain::counted::counted;
use verdict::vault::callback_signature::sign;

use super::system::Demo;
use crate::output::say;

pub struct Case {
    product: Product,
    /// A description in the user's words.
    what: &'static str,
    /// Scripts the simulated provider: the `biz_id` of verify-result, the `certify_id` of
    /// face-verify.
    id: &'static str,
    /// `decided` and an outcome, or another state.
    expected: &'static str,
}

pub const CASES: [Case; 16] = [
    verify_result("passed with a strong score", "pass-97.53", "approve"),
    verify_result("passed, in the form of the older document", "strings-pass-96", "approve"),
    verify_result("passed, in XML", "xml-pass-95", "approve"),
    verify_result("passed, but the score is weak", "pass-58.2", "review"),
    verify_result("passed, but without any score", "pass-noscore", "review"),
    verify_result("the card's photo is blurred", "status-3", "retry"),
    verify_result("the government's photo service failed", "status-12", "review"),
    verify_result("the face is another one", "status-7", "reject"),
    verify_result("not finished at first, then passed", "unfinished-2-then-pass", "approve"),
    verify_result("throttled at first, then passed", "throttled-2-then-pass", "approve"),
    verify_result("the gateway stumbles, then passed", "html-1-then-pass", "approve"),
    verify_result("bad data: the provider knows no such scene", "invalidbiz", "failed"),
    face_verify("face-verify: passed", "fv-pass97-u1", "approve"),
    face_verify("face-verify: the face is another one", "fv-204-u1", "reject"),
    face_verify("face-verify: the device is risky", "fv-206-u1", "review"),
    face_verify(
        "face-verify: not finished at first, then passed",
        "fv-424-x2-then-pass-u1",
        "approve",
    ),
];

const fn verify_result(what: &'static str, id: &'static str, expected: &'static str) -> Case {
    Case { product: Product::VerifyResult, what, id, expected }
}

const fn face_verify(what: &'static str, id: &'static str, expected: &'static str) -> Case {
    Case { product: Product::FaceVerify, what, id, expected }
}

/// For one case to come to its end.
const PATIENCE: Duration = Duration::from_mins(2);

/// Posts all callbacks and tells the decisions as they fall; `true` if all were as expected.
pub async fn play(demo: &Demo) -> anyhow::Result<bool> {
    let client = Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let started = Instant::now();
    say(format_args!(
        "\n{} in; decisions come out:\n",
        counted(CASES.len(), "signed callback goes", "signed callbacks go")
    ));
    say(format_args!(
        "{:>9}  {:47} {:10} {:8} reasons",
        "after", "what happened", "state", "outcome"
    ));
    let mut waiting = JoinSet::new();
    for case in &CASES {
        let callback = signed(demo, &client, case);
        let (client, http, key) = (client.clone(), demo.http, demo.api_key.clone());
        waiting.spawn(async move {
            let verification = answer(callback, StatusCode::ACCEPTED).await?;
            let id = verification["id"].as_str().context("the answer has no id")?;
            let url = format!("http://{http}/v1/verifications/{id}?wait=15");
            anyhow::Ok((case, answer(client.get(url).bearer_auth(key), StatusCode::OK).await?))
        });
    }
    let mut as_expected = true;
    while let Some(done) = waiting.join_next().await {
        let (case, verification) = done??;
        let ended = row(case, &verification, started.elapsed());
        as_expected &= ended;
    }
    Ok(as_expected)
}

fn signed(demo: &Demo, client: &Client, case: &Case) -> RequestBuilder {
    let mut body = serde_json::json!({
        "product": case.product, "reference": "demo-user",
        "client": { "audit": "AUDIT_PASS", "code": "1", "platform": "android" }
    });
    let (scene, id_name) = match case.product {
        Product::VerifyResult => ("demo", "biz_id"),
        // The scenes of this product are numbers.
        Product::FaceVerify => ("1000000006", "certify_id"),
    };
    body["biz_type"] = scene.into();
    body[id_name] = case.id.into();
    let body = body.to_string();
    let id = format!("msg_{}", demo.ids.nonce());
    let timestamp = demo.clock.now().unix_timestamp();
    client
        .post(format!("http://{}/v1/callbacks/app", demo.http))
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", sign(&demo.secret, &id, timestamp, body.as_bytes()))
        .body(body)
}

async fn answer(request: RequestBuilder, expected: StatusCode) -> anyhow::Result<Value> {
    let answer = request.send().await.map_err(reqwest::Error::without_url)?;
    if answer.status() != expected {
        bail!("the service answered {} instead of {expected}", answer.status());
    }
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

fn row(case: &Case, verification: &Value, after: Duration) -> bool {
    let state = verification["state"].as_str().unwrap_or("?");
    let decision = &verification["decision"];
    let outcome = decision["outcome"].as_str().unwrap_or("-");
    let reasons: Vec<&str> =
        decision["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let as_expected = case.expected == if state == "decided" { outcome } else { state };
    let mark = if as_expected { "" } else { "  <- not as expected" };
    say(format_args!(
        "{:6} ms  {:47} {state:10} {outcome:8} {}{mark}",
        after.as_millis(),
        case.what,
        reasons.join(", ")
    ));
    as_expected
}
