//! Sends requests to a process of either version, and compares the answers of the two.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{Callback, Reply, Setting, eventually, now};

/// Sends requests to one process with one key.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub setting: &'a Setting,
    pub http: SocketAddr,
    pub key: &'a str,
}

impl<'a> Caller<'a> {
    /// With the key that may do everything.
    pub fn of(setting: &'a Setting, http: SocketAddr) -> Self {
        Self { setting, http, key: &setting.api_key }
    }

    pub fn with_key(self, key: &'a str) -> Self {
        Self { key, ..self }
    }

    pub async fn send(self, method: &str, path: &str, body: impl Into<String>) -> Reply {
        let (method, body) = (method.parse().expect("a method"), body.into());
        let kind = if body.starts_with('{') { "application/json" } else { "application/toml" };
        let request = self.setting.client.request(method, format!("http://{}{path}", self.http));
        let request = request.bearer_auth(self.key).header("verdict-purpose", "request 12");
        let request = if body.is_empty() { request } else { request.header("content-type", kind) };
        Reply::read(request.body(body).send().await.expect("an answer")).await
    }

    pub async fn post(self, callback: Callback) -> Reply {
        let url = format!("http://{}/v1/callbacks/{}", self.http, callback.source);
        let mut request = self.setting.client.post(url).body(callback.body);
        for (name, value) in callback.headers {
            request = request.header(name, value);
        }
        Reply::read(request.send().await.expect("an answer")).await
    }

    /// Posts a new callback; the status of the answer.
    pub async fn reports(self, body: &Value) -> u16 {
        self.post(Callback::signed(&body.to_string(), now())).await.status
    }

    /// The answer with this status.
    pub async fn must(
        self,
        (method, path): (&str, &str),
        body: impl Into<String>,
        status: u16,
    ) -> Value {
        let reply = self.send(method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        reply.json
    }

    /// The answer, however often a busy process has to be asked.
    pub async fn get(self, path: &str) -> Value {
        eventually(path, || async {
            let reply = self.send("GET", path, "").await;
            assert!([200, 503].contains(&reply.status), "{path}: {reply:?}");
            (reply.status == 200).then_some(reply.json)
        })
        .await
    }

    pub async fn bytes(self, path: &str) -> Vec<u8> {
        let request = self.setting.client.get(format!("http://{}{path}", self.http));
        let request = request.bearer_auth(self.key).header("verdict-purpose", "request 12");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.expect("a body").to_vec()
    }

    /// The answer as soon as it is as expected.
    pub async fn get_until(self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(path, || async { Some(self.get(path).await).filter(&is_so) }).await
    }

    /// The verification with this pair as soon as it has this state and outcome.
    pub async fn comes_to(
        self,
        (biz_type, biz_id): (&str, &str),
        state: &str,
        outcome: Option<&str>,
    ) -> Value {
        let path = format!("/v1/verifications?biz_type={biz_type}&biz_id={biz_id}");
        let is_so = |found: &Value| {
            let found = &found["items"][0];
            found["state"] == state && found["decision"]["outcome"].as_str() == outcome
        };
        self.get_until(&path, is_so).await["items"][0].clone()
    }
}

/// The path of a verification.
pub fn path_of(verification: &Value) -> String {
    format!("/v1/verifications/{}", verification["id"].as_str().expect("an id"))
}

/// The answers at these paths.
pub struct Answers(Vec<(String, Value)>);

impl Answers {
    pub async fn of(caller: Caller<'_>, paths: Vec<String>) -> Self {
        let mut answers = Vec::new();
        for path in paths {
            let answer = caller.get(&path).await;
            answers.push((path, answer));
        }
        Self(answers)
    }

    /// Another process answers the same. One of another version may add members.
    pub async fn are_those_of(&self, caller: Caller<'_>, exactly: bool) {
        for (path, before) in &self.0 {
            let now = caller.get(path).await;
            if exactly {
                assert_eq!(&now, before, "{path}");
            }
            assert_contains(path, &now, before);
        }
    }
}

/// `now` has every member and every item that `before` has. It may have further members, and other words
/// for people.
pub fn assert_contains(place: &str, now: &Value, before: &Value) {
    match (now, before) {
        (Value::Object(now), Value::Object(before)) => {
            let is_wording = |name: &str| name == "text" && place.ends_with(" failure");
            for (name, before) in before.iter().filter(|(name, _)| !is_wording(name)) {
                let now = now.get(name).unwrap_or(&Value::Null);
                assert_contains(&format!("{place} {name}"), now, before);
            }
        }
        (Value::Array(now), Value::Array(before)) => {
            assert_eq!(now.len(), before.len(), "{place}: {now:?} was {before:?}");
            for (index, (now, before)) in now.iter().zip(before).enumerate() {
                assert_contains(&format!("{place} {index}"), now, before);
            }
        }
        _ => assert_eq!(now, before, "{place}"),
    }
}
