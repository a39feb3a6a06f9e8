//! Nothing of a person is on any page of the console, in any header, cookie or address, or in the log
//! at its most detailed, before it is revealed; and each reveal is on record exactly once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use verdict::domain::scope::Scope;

use crate::attacks::console::{ACTIONS, FIELDS, PAGES};
use crate::harness::{
    Database, Options, Process, Receiver, Reply, Setting, callback, eventually, mark_in_bytes, now,
    spellings,
};
use crate::signing_in::{Browser, PASSWORD, Page, add, invitation};

const NAME: &str = "卡纳里";
const NUMBER: &str = "110101198707070777";
const MOBILE: &str = "13912345678";
const WHY: (&str, &str) = ("purpose", "decide-case");
/// These show a person, or hand out a file about one; they are tried at the end.
const REVEALS: [&str; 3] = ["/reveal", "/persons", "/persons/export"];

/// Every kind of user: its name and its rights.
const USERS: [(&str, &[Scope]); 7] = [
    ("everything", &Scope::ALL),
    ("reviewer", &[Scope::ReviewsWrite, Scope::ImagesRead, Scope::MaterialRead]),
    ("blind-reviewer", &[Scope::ReviewsWrite]),
    ("operator", &[Scope::OperationsRead, Scope::VerificationsWrite, Scope::WebhooksWrite]),
    ("support", &[Scope::DecisionsRead, Scope::ResultsRead, Scope::MaterialRead]),
    ("auditor", &[Scope::AuditRead, Scope::DecisionsRead]),
    ("nobody", &[]),
];

struct Walk {
    setting: Setting,
    process: Process,
    owner: Database,
    verification: String,
    endpoint: String,
    marks: Vec<String>,
}

impl Walk {
    async fn new(folder: &std::path::Path) -> Self {
        let images = format!("store = \"file://{}\"", folder.display());
        let more = "[log]\nfilter = \"trace\"\n[console]\nlisten = \"127.0.0.1:0\"
            [reviews]\ngolden_share = 0\nagain_share = 0\n
            [webhooks]\nallow_private = [\"127.0.0.1\"]"
            .to_owned();
        let options = Options { images, more, fixed_clock: false, ..Options::default() };
        let setting = Setting::new(options).await;
        let owner = setting.database.clone();
        let process = setting.serve().await;
        let (verification, endpoint) = (String::new(), String::new());
        let mut walk = Self { setting, process, owner, verification, endpoint, marks: Vec::new() };
        walk.prepare().await;
        walk
    }

    /// Cases of both products, one of them of a person whose every datum is known here.
    async fn prepare(&mut self) {
        for biz_id in ["pass-80", "pass-81", "pass-82", "pass-83", "pass-84", "invalidbiz"] {
            let callback = callback(biz_id, now());
            assert_eq!(self.process.post(&self.setting.client, callback).await, Some(202));
        }
        let start = json!({
            "product": "face-verify", "biz_type": "1000000006", "biz_id": "passu1",
            "product_code": "ID_PLUS", "cert_type": "IDENTITY_CARD", "cert_name": NAME,
            "cert_no": NUMBER, "mobile": MOBILE, "user_id": "canary-user-4711",
            "meta_info": { "deviceType": "ios", "token": "CANARY-DEVICE" }, "ip": "203.0.113.77"
        });
        self.sends("/verifications", &start).await;
        let receiver = Receiver::start().await;
        let endpoint = json!({ "url": receiver.url(), "start": "beginning" });
        self.endpoint = self.sends("/webhook-endpoints", &endpoint).await.id();
        let pool = self.owner.pool().await;
        eventually("the pictures are stored", || async {
            let stored = "select count(*) from images where state = 'archived' and kind = 'face'";
            let stored: i64 = sqlx::query_scalar(stored).fetch_one(&pool).await.unwrap();
            (stored >= 5).then_some(())
        })
        .await;
        let found = "/v1/verifications?biz_type=test&biz_id=pass-80";
        let found = self.setting.get(self.process.http, found).await;
        found.json["items"][0]["id"].as_str().unwrap().clone_into(&mut self.verification);
        let path = format!("/v1/verifications/{}/material", self.verification);
        let why = [("verdict-purpose", "test")];
        let person = self.setting.ask("GET", self.process.http, &path, &why).await.json;
        let card = &person["id_card"];
        let mut marks: BTreeSet<&str> = [NAME, NUMBER, MOBILE].into();
        marks.extend(["canary-user-4711", "CANARY-DEVICE", "203.0.113.77"]);
        for datum in [&person["name"], &person["number"], &card["address"], &card["authority"]] {
            marks.extend(datum.as_str());
        }
        assert!(marks.len() >= 9, "{person}");
        self.marks = marks.iter().flat_map(|mark| spellings(mark)).collect();
    }

    async fn sends(&self, path: &str, body: &Value) -> Reply {
        let request = self.setting.client.post(format!("http://{}/v1{path}", self.process.http));
        let request = request.header("content-type", "application/json");
        let request = request.bearer_auth(&self.setting.api_key).body(body.to_string());
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply
    }

    /// A new user with these rights, signed in.
    async fn visitor(&self, name: &str, scopes: &[Scope]) -> Visitor {
        let store = self.owner.store();
        let user = add(&store, name, scopes).await;
        let mut browser = Browser::of(self.process.console.expect("a console"));
        let link = invitation(&store, user).await;
        let chosen = browser.post(&link, &[("password", PASSWORD), ("again", PASSWORD)]).await;
        assert_eq!(chosen.status, 303, "{}", chosen.text);
        let token = browser.get("/sessions").await.form_token();
        let assignment = self.verification.clone();
        Visitor { browser, user: user.to_string(), token, assignment }
    }

    /// With ids of what there is.
    fn path(&self, pattern: &str, visitor: &Visitor) -> String {
        let id = match pattern.split('/').nth(1).unwrap_or_default() {
            "assignments" => &visitor.assignment,
            "users" => &visitor.user,
            "webhook-endpoints" => &self.endpoint,
            _ => &self.verification,
        };
        let mut path = String::new();
        for part in pattern.split_inclusive('/') {
            let bare = part.trim_end_matches('/');
            path += if bare.starts_with('{') { id } else { bare };
            path += &part[bare.len()..];
        }
        path
    }

    fn assert_nothing(&self, what: &str, page: &Page) {
        let headers = format!("{:?}", page.headers);
        for (part, text) in [("page", &page.text), ("headers", &headers)] {
            let found = self.marks.iter().find(|mark| text.contains(mark.as_str()));
            assert_eq!(found, None, "{what}: {part}");
            assert_eq!(mark_in_bytes(text.as_bytes(), &[]), None, "{what}: {part}");
        }
        assert!(page.status < 500, "{what}: {} {}", page.status, page.text);
    }

    async fn recorded(&self, action: &str) -> i64 {
        sqlx::query_scalar("select count(*) from audit where action = $1")
            .bind(action)
            .fetch_one(&self.owner.pool().await)
            .await
            .unwrap()
    }
}

struct Visitor {
    browser: Browser,
    user: String,
    token: String,
    /// The newest case in this person's hands.
    assignment: String,
}

impl Visitor {
    async fn claims(&mut self) {
        let next = self.posts("/cases/next", &[]).await;
        if let Some(id) = next.location.strip_prefix("/assignments/") {
            id.clone_into(&mut self.assignment);
        }
    }

    async fn posts(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let fields = [&[("form_token", self.token.as_str())], fields].concat();
        self.browser.post(path, &fields).await
    }
}

#[tokio::test]
async fn nothing_of_a_person_is_shown_before_it_is_revealed() {
    let folder = tempfile::TempDir::new().unwrap();
    let walk = Walk::new(folder.path()).await;
    let read_before = walk.recorded("material.read").await;
    let mut pages = 0;
    for (name, scopes) in USERS {
        let mut visitor = walk.visitor(name, scopes).await;
        visitor.claims().await;
        for (pattern, _) in PAGES {
            let path = walk.path(pattern, &visitor);
            let page = visitor.browser.get(&path).await;
            walk.assert_nothing(&format!("{name}: GET {path}"), &page);
            pages += usize::from(page.status == 200);
        }
        for (pattern, _) in ACTIONS {
            if REVEALS.iter().any(|reveal| pattern.ends_with(reveal)) || *pattern == "/sign-out" {
                continue;
            }
            visitor.claims().await;
            let path = walk.path(pattern, &visitor);
            let fields = [FIELDS, &[WHY, ("reason", "needs-expert"), ("state", "failed")]].concat();
            let page = visitor.posts(&path, &fields).await;
            walk.assert_nothing(&format!("{name}: POST {path}"), &page);
            // The page that it leads to, and the case after the judgement.
            let next = if page.location.is_empty() { path } else { page.location };
            let page = visitor.browser.get(&next).await;
            walk.assert_nothing(&format!("{name}: GET {next}"), &page);
        }
        let out = visitor.posts("/sign-out", &[]).await;
        walk.assert_nothing(&format!("{name}: signing out"), &out);
    }
    assert!(pages > 30, "only {pages} pages were shown");
    assert_eq!(walk.recorded("material.read").await, read_before, "nobody has revealed anything");
    reveals(&walk).await;

    let metrics = walk.setting.get(walk.process.operations, "/metrics").await.text;
    let Walk { process, marks, .. } = walk;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    let log = log.join("\n");
    assert_eq!(code, Some(0));
    for line in ["\"level\":\"DEBUG\"", "\"route\":\"/assignments/{id}/reveal\""] {
        assert!(log.contains(line), "{line} is not in the log");
    }
    for (what, text) in [("the log", &log), ("the metrics", &metrics)] {
        let found = marks.iter().find(|mark| text.contains(mark.as_str()));
        assert_eq!(found, None, "{what}");
        assert_eq!(mark_in_bytes(text.as_bytes(), &[]), None, "{what}");
    }
}

/// Each shows the person once, is on record once, and the next page shows nothing.
async fn reveals(walk: &Walk) {
    let path = format!("/v1/verifications/{}/material", walk.verification);
    let why = [("verdict-purpose", "test")];
    let person = walk.setting.ask("GET", walk.process.http, &path, &why).await.json;
    let number = person["number"].as_str().unwrap().to_owned();
    let mut visitor = walk.visitor("revealer", &Scope::ALL).await;
    visitor.claims().await;
    let case = format!("/assignments/{}", visitor.assignment);
    let early = visitor.posts(&format!("{case}/reveal"), &[WHY]).await;
    walk.assert_nothing("a reveal before the judgement", &early);
    visitor.posts(&format!("{case}/judge"), &[("judgement", "2")]).await;
    let page = format!("/verifications/{}", walk.verification);
    for (action, path, fields, shows) in [
        ("material.read", format!("{case}/reveal"), vec![WHY], "测试"),
        ("material.read", format!("{page}/reveal"), vec![WHY], number.as_str()),
        ("person.look-up", "/persons".to_owned(), vec![("number", &number), WHY], ""),
        (
            "person.export",
            "/persons/export".to_owned(),
            vec![("id", walk.verification.as_str()), WHY],
            number.as_str(),
        ),
    ] {
        let before = walk.recorded(action).await;
        let shown = visitor.posts(&path, &fields).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        if shows.is_empty() {
            walk.assert_nothing(&path, &shown);
        } else {
            assert!(shown.text.contains(shows), "{path}: {}", shown.text);
            assert_eq!(mark_in_bytes(format!("{:?}", shown.headers).as_bytes(), &[]), None);
        }
        assert_eq!(shown.headers["cache-control"], "no-store", "{path}");
        assert_eq!(walk.recorded(action).await, before + 1, "{path}");
        for after in [&case, &page] {
            let again = visitor.browser.get(after).await;
            walk.assert_nothing(&format!("{after} after {path}"), &again);
        }
    }
    for side in ["live", "reference"] {
        let before = walk.recorded("image.read").await;
        let request =
            visitor.browser.request(reqwest::Method::GET, &format!("{case}/images/{side}"));
        let picture = request.send().await.unwrap();
        assert_eq!(
            (picture.status().as_u16(), &picture.headers()["cache-control"]),
            (200, &"no-store".parse().unwrap())
        );
        assert_eq!(walk.recorded("image.read").await, before + 1, "{side}");
    }
}
