//! Policies of the previous version: active in a scene, in shadow, proposed, tried on the past. The new
//! version decides by them, and carries on what was begun.

use serde_json::{Value, json};

use super::caller::{Answers, Caller};
use super::keys::Keys;
use super::previous::{Made, Previous};
use crate::policies::milder_than;

/// A scene with its own policy, and one for which a policy is proposed.
const LENIENT: &str = "lenient";
const PROPOSED: &str = "proposed";
/// Enough for the milder policy only.
const SCORE: &str = "pass-75";

const FOUR_EYES: &str = "policies.four_eyes";

/// The section of the configuration, as far as the previous version knows it.
pub fn section(previous: &Previous) -> &'static str {
    if previous.api_has(FOUR_EYES) { "[policies]\nfour_eyes = \"on\"\n" } else { "" }
}

pub struct Policies {
    milder: String,
    is_proposed: bool,
    answers: Answers,
}

impl Policies {
    pub async fn begin(
        caller: Caller<'_>,
        keys: &Keys,
        previous: &Previous,
        made: &mut Made,
    ) -> Self {
        let default = caller.get_until("/v1/policies", |all| !all["items"][0].is_null()).await;
        let default = default["items"][0]["digest"].as_str().expect("a digest").to_owned();
        let text = caller.get(&format!("/v1/policies/{default}")).await["text"].clone();
        let milder = milder_than(text.as_str().expect("a text"));
        let milder = caller.must(("POST", "/v1/policies"), milder, 201).await;
        let milder = milder["digest"].as_str().expect("a digest").to_owned();
        let shadow = format!("/v1/policies/{milder}/shadow");
        caller.must(("POST", &shadow), "", 204).await;
        let is_proposed = made.can(previous.api_has(FOUR_EYES), &["policy proposed"]);
        if is_proposed {
            activate(caller.with_key(&keys.anna), &milder, LENIENT, 202).await;
            activate(caller.with_key(&keys.anna), &milder, PROPOSED, 202).await;
            made.add(&["policy proposed"]);
        }
        activate(caller.with_key(&keys.bo), &milder, LENIENT, 204).await;
        decides(caller, LENIENT, "approve").await;
        decides(caller, PROPOSED, "review").await;
        made.add(&["policy active", "policy in shadow"]);
        let backtest = backtest(caller, &milder).await;
        made.add(&["backtest"]);
        let paths = vec![
            "/v1/policies".to_owned(),
            format!("/v1/policies/{milder}"),
            format!("/v1/policies/{milder}/diff/{default}"),
            backtest,
        ];
        Self { milder, is_proposed, answers: Answers::of(caller, paths).await }
    }

    pub async fn read_as_before(&self, caller: Caller<'_>, exactly: bool) {
        self.answers.are_those_of(caller, exactly).await;
    }

    pub async fn go_on(&self, caller: Caller<'_>, keys: &Keys) {
        decides(caller, LENIENT, "approve").await;
        if self.is_proposed {
            activate(caller.with_key(&keys.bo), &self.milder, PROPOSED, 204).await;
            decides(caller, PROPOSED, "approve").await;
        }
        backtest(caller, &self.milder).await;
        caller.setting.must_run(&["policy", "replay", "--full-speed"]).await;
    }
}

async fn activate(caller: Caller<'_>, digest: &str, scene: &str, status: u16) {
    let body = json!({ "biz_type": scene }).to_string();
    caller.must(("POST", &format!("/v1/policies/{digest}/activate")), body, status).await;
}

/// The outcome of a low score in this scene, as soon as it is the expected one: an activation takes a
/// moment.
async fn decides(caller: Caller<'_>, scene: &str, expected: &str) {
    for n in 0.. {
        let biz_id = format!("{SCORE}-{expected}-{}-{n}", caller.http.port());
        let body = json!({ "biz_type": scene, "biz_id": biz_id });
        assert_eq!(caller.reports(&body).await, 202);
        let path = format!("/v1/verifications?biz_type={scene}&biz_id={biz_id}");
        let decided = caller.get_until(&path, |found| found["items"][0]["state"] == "decided");
        let outcome = &decided.await["items"][0]["decision"]["outcome"];
        if outcome == expected {
            return;
        }
        assert!(n < 100, "{outcome} in {scene}, not {expected}");
    }
}

/// Tries the policy on the past; the path of the report, which is complete.
async fn backtest(caller: Caller<'_>, digest: &str) -> String {
    let path = format!("/v1/policies/{digest}/backtests");
    let started = caller.must(("POST", &path), "{}", 202).await;
    let path = format!("/v1/backtests/{}", started["id"].as_str().expect("an id"));
    let done = caller.get_until(&path, |run: &Value| run["state"] != "running").await;
    assert_eq!(done["state"], "done", "{done}");
    path
}
