//! The event log and webhook endpoints of the previous version: the log goes on in the same epoch without
//! a gap, and each endpoint gets every event in order, whatever state it was in.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::caller::{Caller, assert_contains};
use super::previous::{Made, Previous};
use super::states::SCENE;
use crate::harness::{Delivery, Receiver, ReceiverReply, eventually};

const ENDPOINTS: &str = "/v1/webhook-endpoints";
const STATES: [&str; 5] = [
    "endpoint with a backlog",
    "endpoint without one",
    "endpoint disabled",
    "endpoint paused",
    "log",
];

/// The section of the configuration, as far as the previous version knows it.
pub fn section(previous: &Previous) -> &'static str {
    let known = previous.api_has(ENDPOINTS);
    if known { "[webhooks]\nallow_private = [\"127.0.0.1\"]\n" } else { "" }
}

/// The log and the endpoints, as the previous version left them.
#[derive(Default)]
pub struct Events {
    endpoints: Vec<Endpoint>,
    /// The epoch, and the first events.
    log: Option<(Value, Vec<Value>)>,
}

struct Endpoint {
    path: String,
    /// `None`: it depends on the time of the last failure.
    status: Option<&'static str>,
    receiver: Receiver,
}

impl Events {
    /// Once there are decided verifications in the scene.
    pub async fn begin(caller: Caller<'_>, previous: &Previous, made: &mut Made) -> Self {
        if !made.can(previous.api_has(ENDPOINTS), &STATES) {
            return Self::default();
        }
        let mut endpoints = Vec::new();
        for (answer, status) in
            [(503, None), (204, Some("active")), (410, Some("disabled")), (204, Some("paused"))]
        {
            let receiver = Receiver::start().await;
            receiver.answer(move |_| ReceiverReply::Status(answer));
            let body = json!({
                "url": receiver.url(), "types": ["verification.decided"], "biz_types": [SCENE],
                "ordering": "strict", "start": "beginning",
            });
            let added = caller.must(("POST", ENDPOINTS), body.to_string(), 201).await;
            let path = format!("{ENDPOINTS}/{}", added["id"].as_str().expect("an id"));
            receiver.asked(1).await;
            if status == Some("paused") {
                caller.must(("POST", &format!("{path}/pause")), "", 200).await;
            }
            if let Some(status) = status {
                caller.get_until(&path, |endpoint| endpoint["status"] == status).await;
            }
            endpoints.push(Endpoint { path, status, receiver });
        }
        made.add(&STATES);
        Self { endpoints, log: Some(log(caller, 0).await) }
    }

    pub async fn read_as_before(&self, caller: Caller<'_>) {
        let Some((epoch, before)) = &self.log else { return };
        let (same_epoch, now) = log(caller, 0).await;
        assert_eq!(&same_epoch, epoch);
        for (now, before) in now.iter().zip(before) {
            assert_contains("event", now, before);
        }
        // A reader that had read half of it.
        let cursor = before.len() / 2;
        assert_eq!(log(caller, cursor).await.1[0], now[cursor]);
        for endpoint in &self.endpoints {
            if let Some(status) = endpoint.status {
                assert_eq!(caller.get(&endpoint.path).await["status"], status, "{}", endpoint.path);
            }
        }
    }

    /// The receivers acknowledge from now on, and an operator resumes the deliveries.
    pub async fn go_on(&self, caller: Caller<'_>) {
        for endpoint in &self.endpoints {
            endpoint.receiver.answer(|_| ReceiverReply::Status(204));
            if endpoint.status != Some("active") {
                let path = format!("{}/resume", endpoint.path);
                caller.must(("POST", &path), "", 200).await;
            }
        }
    }

    /// When nothing is open any more. Returns how many deliveries were repeated.
    pub async fn are_complete(&self, caller: Caller<'_>, pool: &PgPool) -> usize {
        // Decisions from before there was a log have no transaction, and no event.
        let counted = "select (select count(*) from decisions where xid is not null)
             + (select count(*) from event_notes)";
        let numbered = eventually("every event has a number", || async {
            let counted: i64 = sqlx::query_scalar(counted).fetch_one(pool).await.unwrap();
            let (_, all) = log(caller, 0).await;
            (i64::try_from(all.len()).unwrap() == counted).then_some(all)
        })
        .await;
        for (place, event) in (1..).zip(&numbered) {
            assert_eq!(event["sequence"], place, "a gap in the log");
        }
        let expected: Vec<i64> = numbered
            .iter()
            .filter(|event| {
                event["type"] == "verification.decided" && event["data"]["biz_type"] == SCENE
            })
            .map(|event| event["sequence"].as_i64().expect("a number"))
            .collect();
        let mut repeated = 0;
        for Endpoint { path, receiver, .. } in &self.endpoints {
            let got = eventually(&format!("{path} has every event"), || async {
                let got = receiver.acknowledged();
                let last = got.last().map(Delivery::sequence);
                (last.as_ref() == expected.last()).then_some(got)
            })
            .await;
            // A worker that loses its lease leaves deliveries to its successor, which repeats them.
            let mut firsts: Vec<i64> = Vec::new();
            for delivery in &got {
                if firsts.contains(&delivery.sequence()) {
                    repeated += 1;
                } else {
                    firsts.push(delivery.sequence());
                }
            }
            assert_eq!(firsts, expected, "{path}");
        }
        repeated
    }
}

/// The epoch, and all events after this one.
async fn log(caller: Caller<'_>, after: usize) -> (Value, Vec<Value>) {
    let mut after = json!(after);
    let mut events = Vec::new();
    loop {
        let page = caller.get(&format!("/v1/events?limit=1000&after={after}")).await;
        events.extend(page["items"].as_array().expect("a list").clone());
        after = page["next_after"].clone();
        if after.as_i64() >= page["head"].as_i64() {
            return (page["epoch"].clone(), events);
        }
    }
}
