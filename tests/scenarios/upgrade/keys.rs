//! API keys that the previous version made: the new one knows them, and the ended ones as ended.

use serde_json::Value;
use verdict::http::api_key_auth::Scope;

use super::caller::Caller;
use super::previous::{Made, Previous};
use crate::harness::{Setting, eventually};

pub struct Keys {
    /// Of a program that does everything that programs do.
    pub client: String,
    /// Of two persons, or of two programs where keys name no persons.
    pub anna: String,
    pub bo: String,
    revoked: String,
}

impl Keys {
    pub async fn begin(setting: &Setting, previous: &Previous, made: &mut Made) -> Self {
        let are_persons = made.can(previous.api_has("policies.four_eyes"), &["key of a person"]);
        if are_persons {
            made.add(&["key of a person"]);
        }
        let (_, client) = create(setting, "client", false).await;
        let (_, anna) = create(setting, "anna", are_persons).await;
        let (_, bo) = create(setting, "bo", are_persons).await;
        let (id, revoked) = create(setting, "revoked", false).await;
        setting.must_run(&["keys", "revoke", &id]).await;
        made.add(&["key", "key revoked"]);
        Self { client, anna, bo, revoked }
    }

    pub async fn are_known(&self, caller: Caller<'_>) {
        for key in [&self.client, &self.anna, &self.bo] {
            caller.with_key(key).get("/v1/policies").await;
        }
        // A process uses its list of keys for two seconds.
        eventually("the revoked key is refused", || async {
            let reply = caller.with_key(&self.revoked).send("GET", "/v1/policies", "").await;
            (reply.status == 401).then_some(())
        })
        .await;
    }
}

/// A key that does everything that programs do: its id, and the key. It is made by the binary of `setting`,
/// because only that one knows the schema of its time.
pub async fn create(setting: &Setting, name: &str, is_person: bool) -> (String, String) {
    // The binary refuses a scope that it does not know, and names those that it knows.
    let unknown = ["keys", "create", "--name", name, "--scopes", "of-the-future"];
    let (code, _, known) = setting.run(&unknown, "").await;
    assert_eq!(code, 2, "{known}");
    let known: Vec<&str> = known.split(|c: char| c != ':' && !c.is_alphanumeric()).collect();
    let scopes = Scope::ALL.into_iter().filter(|scope| !scope.is_for_people_only());
    // The older name of `erasures:write`.
    let scopes = scopes.map(Scope::as_str).chain(["admin"]);
    let scopes = scopes.filter(|scope| known.contains(scope)).collect::<Vec<_>>().join(",");
    let mut arguments = vec!["keys", "create", "--name", name, "--scopes", &scopes, "--json"];
    if is_person {
        arguments.extend(["--person", name]);
    }
    let made = setting.must_run(&arguments).await;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let member = |name: &str| made[name].as_str().expect("text").to_owned();
    (member("id"), member("key"))
}
