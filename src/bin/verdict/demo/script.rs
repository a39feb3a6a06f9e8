//! The demo's script: one callback for every outcome, and what must come of it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use verdict::vault::webhook::sign;

use super::system::Demo;
use crate::output::say;

pub struct Case {
    /// A description in the user's words.
    what: &'static str,
    /// Scripts the simulated provider.
    biz_id: &'static str,
    /// `decided` and an outcome, or another state.
    expected: &'static str,
}

pub const CASES: [Case; 12] = [
    Case { what: "passed with a strong score", biz_id: "pass-97.53", expected: "approve" },
    Case {
        what: "passed, told in the older document's form",
        biz_id: "strings-pass-96",
        expected: "approve",
    },
    Case { what: "passed, told in XML", biz_id: "xml-pass-95", expected: "approve" },
    Case { what: "passed, but the score is weak", biz_id: "pass-58.2", expected: "review" },
    Case { what: "passed, but without any score", biz_id: "pass-noscore", expected: "review" },
    Case { what: "the card's photo is blurred", biz_id: "status-3", expected: "retry" },
    Case { what: "the government's photo service failed", biz_id: "status-12", expected: "review" },
    Case { what: "the face is another one", biz_id: "status-7", expected: "reject" },
    Case {
        what: "not finished at first, then passed",
        biz_id: "unfinished-2-then-pass",
        expected: "approve",
    },
    Case {
        what: "throttled at first, then passed",
        biz_id: "throttled-2-then-pass",
        expected: "approve",
    },
    Case {
        what: "the gateway stumbles, then passed",
        biz_id: "html-1-then-pass",
        expected: "approve",
    },
    Case {
        what: "bad data: the provider knows no such scene",
        biz_id: "invalidbiz",
        expected: "failed",
    },
];

/// For one case to come to its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Posts all callbacks and tells the decisions as they fall; `true` if all were as expected.
pub async fn play(demo: &Demo) -> anyhow::Result<bool> {
    let client = Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let started = Instant::now();
    say(format_args!("\n{} signed callbacks go in; decisions come out:\n", CASES.len()));
    say(format_args!(
        "{:>9}  {:45} {:10} {:8} reasons",
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
    let body = serde_json::json!({
        "biz_type": "demo", "biz_id": case.biz_id, "reference": "demo-user",
        "client": { "audit": "AUDIT_PASS", "code": "1", "platform": "android" }
    })
    .to_string();
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
        "{:6} ms  {:45} {state:10} {outcome:8} {}{mark}",
        after.as_millis(),
        case.what,
        reasons.join(", ")
    ));
    as_expected
}
