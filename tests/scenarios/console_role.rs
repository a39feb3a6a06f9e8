//! A process of the console that works with the database role `verdict_console`: every page and
//! action works, and no right of the role is left over.

use std::collections::VecDeque;

use serde_json::{Value, json};
use verdict::app::Role;
use verdict::domain::scope::Scope;
use verdict::vault::totp::TotpSecret;

use crate::attacks::grants::not_needed;
use crate::harness::{
    Database, Options, Process, Receiver, Recorder, Reply, Setting, callback, eventually, now,
};
use crate::policies::milder;
use crate::roles::user;
use crate::signing_in::{Browser, PASSWORD, Page, add, invitation};

const CONSOLE: &str = "\n[console]\nlisten = \"127.0.0.1:0\"\n";
const MORE: &str = "[webhooks]\nallow_private = [\"127.0.0.1\"]
    [policies]\nfour_eyes = \"on\"\n[reviews]\ngolden_share = 0.5\nagain_share = 0.5\nundo_seconds = 60\n";
const FACE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/crates/cloudauth-sandbox/src/pictures/face-global.png");
const WHY: (&str, &str) = ("purpose", "decide-case");

/// Verifications and an endpoint, made by a process with other rights.
struct Prepared {
    endpoint: String,
    event: String,
    approved: String,
    /// A person has decided it.
    decided: String,
    number: String,
}

/// A person at the console of that process.
struct Desk {
    anna: Browser,
    token: String,
    owner: Database,
}

impl Desk {
    async fn shows(&mut self, path: &str) -> Page {
        let page = self.anna.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(!page.text.contains("Could not be read"), "{path}: {}", page.text);
        page
    }

    /// The answer, which is no refusal.
    async fn does(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let fields = [&[("form_token", self.token.as_str())], fields].concat();
        let page = self.anna.post(path, &fields).await;
        assert!([200, 303].contains(&page.status), "{path}: {} {}", page.status, page.text);
        assert!(!page.location.starts_with("/confirm"), "{path}: {}", page.location);
        page
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.owner.pool().await).await.unwrap();
    }
}

#[tokio::test]
async fn console_needs_only_its_own_role() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let options =
        Options { images, more: MORE.to_owned(), fixed_clock: false, ..Options::default() };
    let mut setting = Setting::new(options).await;
    let owner = setting.database.clone();
    let service = setting.serve().await;
    let receiver = Receiver::start().await;
    let prepared = prepared(&setting, &service, &receiver, &owner).await;

    let recorder = Recorder::default();
    setting.database = recorder.before(&user(&owner, "verdict_console").await).await;
    setting.options = Options {
        role: Role::Console,
        more: format!("{MORE}{CONSOLE}"),
        ..setting.options.clone()
    };
    let process = setting.serve().await;
    let mut desk = signed_in(&process, &owner).await;
    manages_people(&mut desk).await;
    keeps_own_sessions(&mut desk, &process).await;
    decides_cases(&mut desk).await;
    looks_at_verifications(&mut desk, &prepared).await;
    operates(&mut desk, &prepared).await;
    changes_policies(&mut desk, &process).await;
    compares_policies(&mut desk).await;
    desk.does("/sign-out", &[]).await;

    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    let log = log.join("\n");
    assert_eq!(code, Some(0), "{log}");
    let refused = ["SQLSTATE 42501", "SQLSTATE 23001"].iter().any(|code| log.contains(code));
    assert!(!refused, "something was refused: {log}");
    service.kill().await;
    assert_eq!(not_needed(&owner, "verdict_console", recorder.statements()).await, "");
}

async fn prepared(
    setting: &Setting,
    service: &Process,
    receiver: &Receiver,
    owner: &Database,
) -> Prepared {
    let at = service.http;
    let biz_ids =
        ["pass-97", "invalidbiz", "pass-80", "pass-81", "pass-82", "pass-83", "pass-84", "pass-85"];
    for biz_id in biz_ids {
        assert_eq!(service.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let pool = owner.pool().await;
    eventually("the pictures are stored", || async {
        let open = "select count(*) from images where state = 'archived' and kind = 'face'";
        let stored: i64 = sqlx::query_scalar(open).fetch_one(&pool).await.unwrap();
        (stored >= 7).then_some(())
    })
    .await;
    let id_of = async |biz_id: &str| {
        let path = format!("/v1/verifications?biz_type=test&biz_id={biz_id}");
        let found = setting.get(at, &path).await;
        found.json["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let (approved, decided) = (id_of("pass-97").await, id_of("pass-80").await);
    let material = format!("/v1/verifications/{approved}/material");
    let material = setting.ask("GET", at, &material, &[("verdict-purpose", "test")]).await;
    let send = async |path: &str, body: Value, key: &str| {
        let request = setting.client.post(format!("http://{at}/v1{path}")).bearer_auth(key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply
    };
    let bo = crate::harness::make_key_of(&owner.store(), "bo", &[Scope::ReviewsWrite]).await;
    let review = json!({ "outcome": "reject", "reason": "seen" });
    send(&format!("/verifications/{decided}/reviews"), review, &bo).await;
    let endpoint = json!({ "url": receiver.url(), "start": "beginning" });
    let endpoint = send("/webhook-endpoints", endpoint, &setting.api_key).await.id();
    let delivered = receiver.received(1).await;
    eventually("a delivery is recorded", || async {
        let recorded = "select exists (select from webhook_attempts where status = 204)";
        let recorded: bool = sqlx::query_scalar(recorded).fetch_one(&pool).await.unwrap();
        recorded.then_some(())
    })
    .await;
    let golden = ["golden", "add", "--live", FACE, "--reference", FACE, "--same"];
    let (code, _, error) = setting.run(&golden, "").await;
    assert_eq!(code, 0, "{error}");
    let event = delivered[0].id().to_owned();
    let number = material.json["number"].as_str().unwrap().to_owned();
    Prepared { endpoint, event, approved, decided, number }
}

async fn signed_in(process: &Process, owner: &Database) -> Desk {
    let store = owner.store();
    let user = add(&store, "anna", &Scope::ALL).await;
    let mut anna = Browser::of(process.console.expect("a console"));
    let link = invitation(&store, user).await;
    assert_eq!(anna.get(&link).await.status, 200);
    let chosen = anna.post(&link, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(chosen.status, 303, "{}", chosen.text);
    for (password, status) in [("not the password", 401), (PASSWORD, 303)] {
        assert_eq!(anna.sign_in("anna", password).await.status, status);
    }
    assert_eq!(anna.get("/").await.status, 303);
    let token = anna.get("/sessions").await.form_token();
    Desk { anna, token, owner: owner.clone() }
}

async fn manages_people(desk: &mut Desk) {
    desk.shows("/users").await;
    let new = [("name", "cy"), ("language", "zh"), ("zone", "UTC"), ("scopes", "reviews:write")];
    desk.does("/users", &new).await;
    let cy = desk.owner.store().users().find_by_name("cy").await.unwrap().unwrap().user.id;
    let page = format!("/users/{cy}");
    desk.shows(&page).await;
    desk.does(&format!("{page}/rights"), &[("scopes", "audit:read"), ("scenes", "test")]).await;
    for action in ["invite", "disable", "enable", "reset"] {
        desk.does(&format!("{page}/{action}"), &[]).await;
    }
}

async fn keeps_own_sessions(desk: &mut Desk, process: &Process) {
    // As if the last page had been a while ago.
    desk.sql("update user_sessions set seen_at = seen_at - interval '2 minutes'").await;
    let reading = [("language", "en"), ("theme", "dark"), ("zone", "UTC")];
    desk.does("/sessions/reading", &reading).await;
    let page = desk.shows("/sessions/codes").await.text;
    let secret = page.split("name=\"secret\" value=\"").nth(1).unwrap();
    let secret = secret.split('"').next().unwrap().to_owned();
    let code = TotpSecret::parse(&secret).unwrap().code_at(now());
    desk.does("/sessions/codes", &[("secret", &secret), ("code", &code)]).await;
    // As if half a minute had passed.
    desk.sql("update users set totp_last_step = 0 where totp_secret is not null").await;
    let mut other = Browser::of(process.console.expect("a console"));
    let code = TotpSecret::parse(&secret).unwrap().code_at(now());
    let typed = [("name", "anna"), ("password", PASSWORD), ("code", &code)];
    assert_eq!(other.post("/sign-in", &typed).await.status, 303);
    desk.does("/sessions/codes/remove", &[]).await;
    let password = [("current", PASSWORD), ("password", PASSWORD), ("again", PASSWORD)];
    // It ends the other session.
    desk.does("/sessions/password", &password).await;
    assert_eq!(other.sign_in("anna", PASSWORD).await.status, 303);
    let page = desk.shows("/sessions").await.text;
    let ends: Vec<&str> = page.split("action=\"").filter(|part| part.contains("/end\"")).collect();
    let newest = ends[0].split('"').next().unwrap().to_owned();
    desk.does(&newest, &[]).await;
    desk.shows("/confirm").await;
    desk.does("/confirm", &[("password", PASSWORD)]).await;
}

/// Claims until there was a golden pair, a decided case, and a case for each action.
async fn decides_cases(desk: &mut Desk) {
    let filters = "scene=test&age=late&held=";
    for held in ["free", "escalated", "second"] {
        desk.shows(&format!("/cases?{filters}{held}")).await;
    }
    let mut wanted = VecDeque::from(["skip", "escalate", "release", "renew", "verdict"]);
    let (mut golden, mut again) = (false, false);
    for round in 0.. {
        assert!(round < 60, "golden {golden}, again {again}, {wanted:?}");
        if golden && again && wanted.is_empty() {
            break;
        }
        let here = desk.does("/cases/next", &[]).await.location;
        assert!(here.starts_with("/assignments/"), "{here}");
        desk.shows(&here).await;
        for side in ["live", "reference"] {
            assert_eq!(desk.anna.get(&format!("{here}/images/{side}")).await.status, 200);
        }
        desk.does(&format!("{here}/judge"), &[("judgement", "4")]).await;
        let page = desk.shows(&here).await.text;
        golden |= page.contains("Wrong: The same person.");
        if !page.contains("/verdict\"") {
            again |= page.contains("Rejected");
            continue;
        }
        match wanted.pop_front() {
            None => {}
            Some("verdict") => decides(desk, &here).await,
            Some("escalate") => {
                let reason = [("reason", "needs-expert")];
                desk.does(&format!("{here}/escalate"), &reason).await;
            }
            Some(action) => drop(desk.does(&format!("{here}/{action}"), &[]).await),
        }
        desk.anna.post(&format!("{here}/release"), &[("form_token", &desk.token)]).await;
    }
    desk.shows("/cases").await;
    desk.shows("/reviewers").await;
}

/// With everything that can be done before.
async fn decides(desk: &mut Desk, here: &str) {
    desk.does(&format!("{here}/reveal"), &[WHY]).await;
    let verdict = [("outcome", "reject"), ("reason", "different-person"), ("note", "seen")];
    for _ in 0..2 {
        desk.does(&format!("{here}/verdict"), &verdict).await;
        desk.shows(here).await;
        let undone = desk.does(&format!("{here}/undo"), &[]).await;
        assert_eq!(undone.location, here);
    }
    desk.does(&format!("{here}/verdict"), &verdict).await;
    // As if another decision had been faster, of which the next page tells.
    desk.sql(
        "update assignments set ended_at = now(), ended_as = 'decision-changed'
         where ended_at is null and outcome is not null",
    )
    .await;
    assert!(desk.shows("/cases").await.text.contains("was not taken"));
}

async fn looks_at_verifications(desk: &mut Desk, prepared: &Prepared) {
    let Prepared { approved, decided, number, event, .. } = prepared;
    desk.shows("/verifications").await;
    desk.shows("/verifications?state=failed").await;
    for text in ["pass-97", approved.as_str(), event.as_str()] {
        assert!(
            [200, 303].contains(&desk.anna.get(&format!("/verifications?q={text}")).await.status)
        );
    }
    let page = format!("/verifications/{approved}");
    desk.shows(&page).await;
    assert!(desk.does(&format!("{page}/reveal"), &[WHY]).await.text.contains(number.as_str()));
    for action in ["hold", "lift-hold", "refetch"] {
        desk.does(&format!("{page}/{action}"), &[WHY]).await;
    }
    // A person has closed it.
    desk.does(&format!("/verifications/{decided}/refetch"), &[WHY]).await;
    let found = desk.does("/persons", &[("number", number), WHY]).await;
    assert!(found.text.contains(approved.as_str()), "{}", found.text);
    let exported = desk.does("/persons/export", &[("id", approved), WHY]).await;
    assert!(exported.text.contains(number.as_str()), "{}", exported.text);
    let erased = desk.does(&format!("{page}/erase"), &[("sure", "yes"), WHY]).await;
    assert_eq!(erased.location, format!("{page}?done=erased"));
    assert!(desk.shows(&erased.location).await.text.contains("Receipt of the erasure"));
}

async fn operates(desk: &mut Desk, prepared: &Prepared) {
    desk.shows("/operations").await;
    desk.shows("/operations/dead-letters").await;
    let all = [("all", "yes"), ("state", "failed"), ("sure", "yes"), WHY];
    desk.does("/operations/dead-letters", &all).await;
    let endpoint = format!("/webhook-endpoints/{}", prepared.endpoint);
    desk.shows(&endpoint).await;
    for action in ["pause", "resume", "test", "failed", prepared.event.as_str()] {
        desk.does(&endpoint, &[("do", action), WHY]).await;
    }
    for page in ["/audit", "/audit?action=user.&actor=anna&since=2026-01-01", "/audit/export"] {
        desk.shows(page).await;
    }
    assert!(desk.does("/audit/verify", &[]).await.text.contains("whole"));
}

/// A second person, who agrees to what the first proposes.
async fn second_person(process: &Process, owner: &Database) -> Desk {
    let store = owner.store();
    let user = add(&store, "dora", &Scope::ALL).await;
    let mut dora = Browser::of(process.console.expect("a console"));
    let link = invitation(&store, user).await;
    let chosen = dora.post(&link, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(chosen.status, 303, "{}", chosen.text);
    let token = dora.get("/sessions").await.form_token();
    Desk { anna: dora, token, owner: owner.clone() }
}

/// Reads the page of a change and sends its form; what came of it.
async fn changed(desk: &mut Desk, what: &str, policy: &str, scene: &str) -> String {
    let page =
        desk.shows(&format!("/policies/change?do={what}&policy={policy}&scene={scene}")).await;
    let (_, seen) = page.text.split_once("name=\"seen\" value=\"").expect("a form");
    let seen = seen.split('"').next().unwrap();
    let fields = [("do", what), ("policy", policy), ("scene", scene), ("seen", seen), WHY];
    desk.does("/policies/change", &fields).await.location
}

/// Each change of the policies in use, with four eyes where the configuration asks for them.
async fn changes_policies(desk: &mut Desk, process: &Process) {
    let mut second = second_person(process, &desk.owner.clone()).await;
    let milder = milder();
    for wanted in ["check", "store"] {
        desk.does("/policies/new", &[("text", &milder), ("do", wanted), WHY]).await;
    }
    let digest = sqlx::query_scalar("select digest from policies where name = 'milder'");
    let digest: String = digest.fetch_one(&desk.owner.pool().await).await.unwrap();
    desk.shows(&format!("/policies/{digest}")).await;
    desk.shows(&format!("/policies/{digest}/diff")).await;
    let tried = desk.does(&format!("/policies/{digest}/dry-run"), &[("q", "pass-81")]).await;
    assert!(tried.text.contains("The outcome"), "{}", tried.text);

    let done = "/policies?done=changed";
    for what in ["shadow", "end-shadow", "shadow"] {
        assert_eq!(changed(desk, what, &digest, "").await, done, "{what}");
    }
    for (what, scene) in [("promote", ""), ("activate", "test"), ("deactivate", "test")] {
        assert_eq!(changed(desk, what, &digest, scene).await, "/policies?done=proposed", "{what}");
        second.shows("/policies").await;
        assert_eq!(changed(&mut second, what, &digest, scene).await, done, "{what}");
    }
    assert_eq!(changed(desk, "roll-back", "", "").await, done);
    assert_eq!(changed(desk, "activate", &digest, "").await, "/policies?done=proposed");
    let list = desk.shows("/policies").await.text;
    let (_, proposal) = list.split_once("/policies/proposals/").expect("a proposal");
    let withdraw = format!("/policies/proposals/{}/withdraw", &proposal[..36]);
    assert_eq!(desk.does(&withdraw, &[WHY]).await.location, "/policies?done=withdrawn");
    desk.shows("/policies?scene=test").await;
}

async fn compares_policies(desk: &mut Desk) {
    let policy = sqlx::query_scalar("select digest from policies limit 1");
    let digest: String = policy.fetch_one(&desk.owner.pool().await).await.unwrap();
    for page in ["", "/new", &format!("/{digest}")] {
        desk.shows(&format!("/policies{page}")).await;
    }
    let backtests = format!("/policies/{digest}/backtests");
    desk.shows(&backtests).await;
    let started = desk.does(&backtests, &[WHY]).await;
    desk.shows(&started.location).await;
    // It may have ended by then, which is found in the same way.
    desk.does(&format!("{}/cancel", started.location), &[WHY]).await;
    desk.shows(&format!("/policies/{digest}/shadow")).await;
}
