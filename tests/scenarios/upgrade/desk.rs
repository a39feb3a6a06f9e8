//! People at the console of the previous version: a session, a case that is assigned, and a user who may
//! not sign in. At the console of the new version the person is still signed in, and decides the case.

use serde_json::{Value, json};

use super::caller::{Caller, assert_contains, path_of};
use super::previous::{Made, Previous};
use crate::harness::Process;
use crate::signing_in::{Browser, PASSWORD};

pub const SCENE: &str = "desk";
const CASE: &str = "status-12-assigned";
const STATES: [&str; 4] = ["user", "user disabled", "session", "case assigned"];

pub struct Desk {
    browser: Browser,
    assignment: String,
    users: Value,
    form_token: String,
}

impl Desk {
    /// Whether the previous version has a console.
    pub fn is_there(previous: &Previous, made: &mut Made) -> bool {
        made.can(previous.has_command("users"), &STATES)
    }

    /// While there is no other case.
    pub async fn begin(caller: Caller<'_>, console: &Process, made: &mut Made) -> Self {
        let body = json!({ "biz_type": SCENE, "biz_id": CASE });
        assert_eq!(caller.reports(&body).await, 202);
        caller.comes_to((SCENE, CASE), "decided", Some("review")).await;

        let mut browser = Browser::of(console.console.expect("a console"));
        for name in ["anna", "bo"] {
            let said = caller.setting.must_run(&["users", "add", name, "--scopes", "all"]).await;
            let (_, token) = said.split_once("/invitations/").expect("a link");
            let token = token.split_whitespace().next().expect("a token");
            let link = format!("/invitations/{token}");
            let mut other = Browser::of(console.console.expect("a console"));
            let whose = if name == "anna" { &mut browser } else { &mut other };
            let chosen = whose.post(&link, &[("password", PASSWORD), ("again", PASSWORD)]).await;
            assert_eq!(chosen.status, 303, "{}", chosen.text);
        }
        caller.setting.must_run(&["users", "disable", "bo", "--purpose", "has left"]).await;
        let form_token = browser.get("/sessions").await.form_token();
        let taken = browser.post("/cases/next", &[("form_token", &form_token)]).await;
        assert!(taken.location.starts_with("/assignments/"), "{} {}", taken.status, taken.text);
        made.add(&STATES);
        let users = listed(caller).await;
        Self { browser, assignment: taken.location, users, form_token }
    }

    /// The case is decided by the person who has it.
    pub async fn goes_on(mut self, caller: Caller<'_>, console: &Process) {
        assert_contains("users", &listed(caller).await, &self.users);
        let console = console.console.expect("a console");
        assert_eq!(Browser::of(console).sign_in("bo", PASSWORD).await.status, 401);

        self.browser.origin = format!("http://{console}");
        let shown = self.browser.get(&self.assignment).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        let token = [("form_token", self.form_token.as_str())];
        let judged = [&token[..], &[("judgement", "4")]].concat();
        let judge = format!("{}/judge", self.assignment);
        assert_eq!(self.browser.post(&judge, &judged).await.status, 303);
        let verdict = [("outcome", "reject"), ("reason", "different-person"), ("note", "seen")];
        let verdict = [&token[..], &verdict].concat();
        let given = self.browser.post(&format!("{}/verdict", self.assignment), &verdict).await;
        assert_eq!(given.status, 303, "{}", given.text);
        let decided = caller.comes_to((SCENE, CASE), "decided", Some("reject")).await;
        let decisions = caller.get(&format!("{}/decisions", path_of(&decided))).await;
        assert_eq!(decisions["items"][1]["by"], "person");
    }
}

async fn listed(caller: Caller<'_>) -> Value {
    serde_json::from_str(&caller.setting.must_run(&["users", "list", "--json"]).await)
        .expect("JSON")
}
