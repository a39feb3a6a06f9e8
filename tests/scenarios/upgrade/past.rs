//! All that the previous version leaves behind, in every state.

use sqlx::PgPool;

use super::caller::Caller;
use super::events::Events;
use super::keys::{self, Keys};
use super::policies::Policies;
use super::previous::{Made, Previous};
use super::starts::Starts;
use super::states::States;
use crate::harness::{Setting, eventually};

pub struct Past {
    states: States,
    starts: Starts,
    policies: Policies,
    events: Events,
    audit_head: String,
}

impl Past {
    /// Made by processes and commands of the previous version.
    pub async fn begin(
        caller: Caller<'_>,
        keys: &Keys,
        pool: &PgPool,
        previous: &Previous,
        made: &mut Made,
    ) -> Self {
        let states = States::begin(caller, pool, previous, made).await;
        let starts = Starts::begin(caller, previous, made).await;
        let policies = Policies::begin(caller, keys, previous, made).await;
        let events = Events::begin(caller, previous, made).await;
        if previous.is_another {
            eventually("the audit has a checkpoint", || async {
                let has = "select exists (select from audit_checkpoints)";
                let has: bool = sqlx::query_scalar(has).fetch_one(pool).await.unwrap();
                has.then_some(())
            })
            .await;
        }
        let audit_head = audit_head(caller.setting).await;
        made.add(&["audit"]);
        Self { states, starts, policies, events, audit_head }
    }

    /// `exactly`: the same version asks again.
    pub async fn reads_as_before(&self, caller: Caller<'_>, keys: &Keys, exactly: bool) {
        keys.are_known(caller).await;
        self.states.read_as_before(caller, exactly).await;
        self.starts.read_as_before(caller, exactly).await;
        self.policies.read_as_before(caller, exactly).await;
        self.events.read_as_before(caller).await;
    }

    /// New processes alone carry on what was begun.
    pub async fn goes_on(&self, caller: Caller<'_>, keys: &Keys, pool: &PgPool) {
        self.states.go_on(caller, pool).await;
        self.starts.go_on(caller, pool).await;
        self.policies.go_on(caller, keys).await;
        self.events.go_on(caller).await;
    }

    /// When nothing is open any more. Returns how many deliveries were repeated.
    pub async fn is_complete(&self, caller: Caller<'_>, pool: &PgPool) -> usize {
        // A key of an older version may lack the right to read events.
        let (_, key) = keys::create(caller.setting, "new", false).await;
        let repeated = self.events.are_complete(caller.with_key(&key), pool).await;
        let verify = ["audit", "verify", "--strict", "--expect", &self.audit_head];
        caller.setting.must_run(&verify).await;
        let (_, said, error) = caller.setting.run(&["doctor"], "").await;
        assert!(said.contains("schema"), "{said}{error}");
        // Postgres of the tests is not durable.
        let is_fault = |line: &&str| line.starts_with("FAILED") && !line.contains(" durability ");
        assert_eq!(said.lines().find(is_fault), None, "{said}");
        repeated
    }
}

/// The newest row and its digest, as the binary of `setting` prints them.
async fn audit_head(setting: &Setting) -> String {
    let said = setting.must_run(&["audit", "verify"]).await;
    let is_head = |word: &&str| {
        word.split_once(':').is_some_and(|(_, digest)| {
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    said.split_whitespace().rfind(is_head).expect("a head").to_owned()
}
