//! Verifications in every state that the previous version leaves behind: the new one gives the same answers
//! about them, and completes what is open.

use cloudauth_sandbox::Scenario;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::caller::{Answers, Caller, assert_contains, path_of};
use super::previous::{Made, Previous};
use crate::harness::{Callback, eventually, now};

/// Its own scene: the load beside it has another one. Its images are archived.
pub const SCENE: &str = "states";

/// Verifications that the previous version has settled: `biz_id`, state, outcome.
const SETTLED: [(&str, &str, Option<&str>); 9] = [
    (APPROVED, "decided", Some("approve")),
    ("status-2-reject", "decided", Some("reject")),
    ("status-3-retry", "decided", Some("retry")),
    ("status-12-review", "decided", Some("review")),
    ("status-12-reviewed", "decided", Some("review")),
    ("pass-97-erased", "decided", Some("approve")),
    (HELD, "decided", Some("approve")),
    ("expired", "expired", None),
    ("invalidbiz", "failed", None),
];
const APPROVED: &str = "pass-97-approve";
const HELD: &str = "pass-97-held";
/// Verifications that it leaves open: not called for yet, polled once, and under a call at its stop.
const PENDING: &str = "pass-97-pending";
const UNFINISHED: &str = "quit-unfinished";
const UNDER_CALL: &str = "slow-2000-pass-97-called";

/// The verifications, and the answers of the previous version about them.
pub struct States {
    answers: Answers,
    /// A callback that was accepted, and the answer.
    accepted: (Callback, Value),
    /// The path of an image, and its bytes.
    image: (String, Vec<u8>),
    /// The material of a person under a legal hold.
    held: Option<String>,
}

pub fn pair(biz_id: &str) -> (&'static str, &str) {
    (SCENE, biz_id)
}

fn about(biz_id: &str) -> Value {
    json!({ "biz_type": SCENE, "biz_id": biz_id })
}

impl States {
    /// Brings one into each state, by processes of the previous version.
    pub async fn begin(
        caller: Caller<'_>,
        pool: &PgPool,
        previous: &Previous,
        made: &mut Made,
    ) -> Self {
        let accepted = Callback::signed(&about(APPROVED).to_string(), now());
        let accepted = (accepted.clone(), caller.post(accepted).await.json);
        for (biz_id, ..) in &SETTLED[1..] {
            assert_eq!(caller.reports(&about(biz_id)).await, 202);
        }
        let mut paths = Vec::new();
        for (biz_id, state, outcome) in SETTLED {
            let path = path_of(&caller.comes_to(pair(biz_id), state, outcome).await);
            match biz_id {
                "pass-97-erased" => {
                    caller.must(("DELETE", &format!("{path}/material")), "", 202).await;
                }
                "status-12-reviewed" => {
                    review(caller, &path).await;
                    paths.push(format!("{path}/reviews"));
                }
                _ => {}
            }
            paths.extend(["", "/decisions", "/results"].map(|part| format!("{path}{part}")));
        }
        made.add(&["approved", "rejected", "to be retried", "for review", "reviewed", "erased"]);
        made.add(&["expired", "failed"]);
        let image = first_image(caller).await;
        made.add(&["with images", "accepted callback"]);
        let held = made.can(previous.has_command("hold"), &["held"]);
        let held = if held { Some(hold(caller).await) } else { None };
        if held.is_some() {
            made.add(&["held"]);
        }
        leave_open(caller, pool).await;
        made.add(&["pending", "unfinished", "leased"]);
        Self { answers: Answers::of(caller, paths).await, accepted, image, held }
    }

    /// The previous worker gets its stop signal while a call is under way.
    pub async fn call_is_under_way(caller: Caller<'_>, pool: &PgPool) {
        assert_eq!(caller.reports(&about(UNDER_CALL)).await, 202);
        eventually("it is called for", || async {
            let leased = "select lease_token is not null from verifications where biz_id = $1";
            let leased = sqlx::query_scalar(leased).bind(UNDER_CALL).fetch_optional(pool).await;
            (leased.unwrap() == Some(true)).then_some(())
        })
        .await;
    }

    /// The new version answers about what is settled as the previous one did.
    pub async fn read_as_before(&self, caller: Caller<'_>, exactly: bool) {
        self.answers.are_those_of(caller, exactly).await;
        let (path, bytes) = &self.image;
        assert!(caller.bytes(path).await == *bytes, "{path} is another image");
    }

    /// New processes alone settle the open verifications, and take callbacks and reviews about settled
    /// ones.
    pub async fn go_on(&self, caller: Caller<'_>, pool: &PgPool) {
        for biz_id in [UNFINISHED, "status-3-retry"] {
            caller.setting.provider.set_scenario(biz_id, Scenario::parse("pass-97"));
        }
        sqlx::query("update verifications set due_at = now() where biz_id = any ($1)")
            .bind(&[PENDING, UNFINISHED][..])
            .execute(pool)
            .await
            .unwrap();
        // A new callback: it also wakes the worker.
        assert_eq!(caller.reports(&about("status-3-retry")).await, 202);
        for biz_id in [PENDING, UNFINISHED, UNDER_CALL, "status-3-retry"] {
            caller.comes_to(pair(biz_id), "decided", Some("approve")).await;
        }
        assert_eq!(decisions(caller, "status-3-retry", "approve").await, 2);
        // Closed: the provider is asked once, whatever comes.
        assert_eq!(caller.reports(&about(APPROVED)).await, 202);
        let (callback, answer) = &self.accepted;
        let again = caller.post(callback.clone()).await;
        assert_eq!(again.status, 202, "{again:?}");
        assert_contains("the answer to a callback", &again.json, answer);
        let open = caller.comes_to(pair("status-12-review"), "decided", Some("review")).await;
        review(caller, &path_of(&open)).await;
        assert_eq!(decisions(caller, "status-12-review", "reject").await, 2);
        assert_eq!(decisions(caller, APPROVED, "approve").await, 1);
        assert_eq!(caller.reports(&about("pass-97-erased")).await, 410);
        if let Some(material) = &self.held {
            caller.must(("DELETE", material), "", 409).await;
            cli_about_hold(caller, "lift", material).await;
            caller.must(("DELETE", material), "", 202).await;
        }
    }
}

/// Rejected by a person.
async fn review(caller: Caller<'_>, path: &str) {
    let body = r#"{ "outcome": "reject", "reason": "forged-card" }"#;
    caller.must(("POST", &format!("{path}/reviews")), body, 201).await;
}

async fn first_image(caller: Caller<'_>) -> (String, Vec<u8>) {
    let verification = caller.comes_to(pair(APPROVED), "decided", Some("approve")).await;
    let images = format!("{}/images", path_of(&verification));
    let are_settled = |listed: &Value| {
        let items = listed["items"].as_array().expect("a list");
        !items.is_empty() && items.iter().all(|image| image["state"] != "pending")
    };
    let listed = caller.get_until(&images, are_settled).await;
    let image = format!("{images}/{}", listed["items"][0]["kind"].as_str().expect("a kind"));
    let bytes = caller.bytes(&image).await;
    (image, bytes)
}

/// Places a legal hold; the path of what cannot be erased.
async fn hold(caller: Caller<'_>) -> String {
    let verification = caller.comes_to(pair(HELD), "decided", Some("approve")).await;
    let material = format!("{}/material", path_of(&verification));
    cli_about_hold(caller, "place", &material).await;
    caller.must(("DELETE", &material), "", 409).await;
    material
}

async fn cli_about_hold(caller: Caller<'_>, what: &str, material: &str) {
    let id = material.split('/').nth(3).expect("an id");
    let arguments = ["hold", what, "--verification", id, "--purpose", "court order 7"];
    caller.setting.must_run(&arguments).await;
}

async fn leave_open(caller: Caller<'_>, pool: &PgPool) {
    assert_eq!(caller.reports(&about(UNFINISHED)).await, 202);
    caller.comes_to(pair(UNFINISHED), "unfinished", None).await;
    sleeps(pool, UNFINISHED).await;
    assert_eq!(caller.reports(&about(PENDING)).await, 202);
    sleeps(pool, PENDING).await;
    // A worker may have been faster.
    let pending = "update verifications set state = 'pending' where biz_id = $1
         and not exists (select from results where verification_id = verifications.id)";
    sqlx::query(pending).bind(PENDING).execute(pool).await.unwrap();
}

/// Nobody calls for it before the test says so.
async fn sleeps(pool: &PgPool, biz_id: &str) {
    let later = "update verifications set due_at = now() + interval '1 hour', lease_token = null,
        lease_until = null where biz_id = $1";
    sqlx::query(later).bind(biz_id).execute(pool).await.unwrap();
}

/// How many there are once the newest has this outcome.
async fn decisions(caller: Caller<'_>, biz_id: &str, outcome: &str) -> usize {
    let verification = caller.comes_to(pair(biz_id), "decided", Some(outcome)).await;
    let all = caller.get(&format!("{}/decisions", path_of(&verification))).await;
    all["items"].as_array().expect("a list").len()
}
