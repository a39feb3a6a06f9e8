//! The console against people without the right, other sites, ended sessions and replayed forms.

use std::path::Path;

use policy::visible;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::domain::scope::Scope;

use crate::harness::{Callback, Options, PATIENCE, Reply, TestApp, callback, eventually};
use crate::signing_in::{Browser, CONSOLE, PASSWORD, add, invitation, signed_in, with_console};

/// Pages and actions, and the right that each needs; `None`: everybody's own.
pub const PAGES: &[(&str, Option<Scope>)] = &[
    ("/sessions", None),
    ("/sessions/codes", None),
    ("/confirm", None),
    ("/users", Some(Scope::UsersWrite)),
    ("/users/{user}", Some(Scope::UsersWrite)),
    ("/cases", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/images/live", Some(Scope::ReviewsWrite)),
    ("/reviewers", Some(Scope::AuditRead)),
    ("/verifications", Some(Scope::DecisionsRead)),
    ("/verifications/{any}", Some(Scope::DecisionsRead)),
    ("/verifications/{any}/images/face", Some(Scope::DecisionsRead)),
    ("/persons", Some(Scope::MaterialRead)),
    ("/policies", Some(Scope::PoliciesWrite)),
    ("/policies/new", Some(Scope::PoliciesWrite)),
    ("/policies/change", Some(Scope::PoliciesWrite)),
    ("/policies/{any}", Some(Scope::PoliciesWrite)),
    ("/policies/{any}/diff", Some(Scope::PoliciesWrite)),
    ("/policies/{any}/dry-run", Some(Scope::PoliciesWrite)),
    ("/operations", Some(Scope::OperationsRead)),
    ("/operations/dead-letters", Some(Scope::OperationsRead)),
    ("/webhook-endpoints/{any}", Some(Scope::OperationsRead)),
    ("/audit", Some(Scope::AuditRead)),
    ("/audit/export", Some(Scope::AuditRead)),
    ("/policies/{any}/backtests", Some(Scope::PoliciesWrite)),
    ("/policies/{any}/shadow", Some(Scope::PoliciesWrite)),
    ("/backtests/{any}", Some(Scope::PoliciesWrite)),
];
pub const ACTIONS: &[(&str, Option<Scope>)] = &[
    ("/sign-out", None),
    ("/confirm", None),
    ("/sessions/reading", None),
    ("/sessions/password", None),
    ("/sessions/codes", None),
    ("/sessions/codes/remove", None),
    ("/sessions/{session}/end", None),
    ("/users", Some(Scope::UsersWrite)),
    ("/users/{user}/rights", Some(Scope::UsersWrite)),
    ("/users/{user}/invite", Some(Scope::UsersWrite)),
    ("/users/{user}/disable", Some(Scope::UsersWrite)),
    ("/users/{user}/enable", Some(Scope::UsersWrite)),
    ("/users/{user}/reset", Some(Scope::UsersWrite)),
    ("/cases/next", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/judge", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/verdict", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/undo", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/renew", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/skip", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/release", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/escalate", Some(Scope::ReviewsWrite)),
    ("/assignments/{user}/reveal", Some(Scope::ReviewsWrite)),
    ("/verifications/{any}/refetch", Some(Scope::VerificationsWrite)),
    ("/verifications/{any}/hold", Some(Scope::ErasuresWrite)),
    ("/verifications/{any}/lift-hold", Some(Scope::ErasuresWrite)),
    ("/verifications/{any}/erase", Some(Scope::ErasuresWrite)),
    ("/verifications/{any}/reveal", Some(Scope::DecisionsRead)),
    ("/persons", Some(Scope::MaterialRead)),
    ("/persons/export", Some(Scope::MaterialRead)),
    ("/policies/new", Some(Scope::PoliciesWrite)),
    ("/policies/change", Some(Scope::PoliciesWrite)),
    ("/policies/{any}/dry-run", Some(Scope::PoliciesWrite)),
    ("/policies/proposals/{any}/withdraw", Some(Scope::PoliciesWrite)),
    // One, the chosen ones and all of a code are the same form.
    ("/operations/dead-letters", Some(Scope::OperationsRead)),
    ("/webhook-endpoints/{any}", Some(Scope::WebhooksWrite)),
    ("/audit/verify", Some(Scope::AuditRead)),
    ("/policies/{any}/backtests", Some(Scope::PoliciesWrite)),
    ("/backtests/{any}/cancel", Some(Scope::PoliciesWrite)),
];

/// Paths that need nobody who is signed in.
const OPEN: &[&str] = &[
    "/assets/{name}",
    "/sign-in",
    "/sign-in/oidc",
    "/sign-in/oidc/return",
    "/sign-in/demo/{token}",
    "/invitations/{token}",
    // Leads on to the first page that the person may open.
    "/",
];

// `{any}` is an id that nothing has: the missing right is found before any search.

/// Fields that every action takes, so that only the right is missing.
pub const FIELDS: &[(&str, &str)] = &[
    ("name", "eve"),
    ("language", "en"),
    ("theme", "auto"),
    ("zone", "UTC"),
    ("scopes", "users:write"),
    ("current", "x"),
    ("password", "x"),
    ("again", "x"),
    ("secret", "x"),
    ("code", "x"),
    ("judgement", "1"),
    ("do", "roll-back"),
    ("seen", "1"),
];

fn with_token(token: &str) -> Vec<(&str, &str)> {
    std::iter::once(("form_token", token)).chain(FIELDS.iter().copied()).collect()
}

struct Attack {
    app: TestApp,
    /// Signed in, without any right.
    browser: Browser,
    victim: String,
    session: String,
}

impl Attack {
    async fn new() -> Self {
        let app = with_console().await;
        let (_, victim) = signed_in(&app, "victim", &[Scope::UsersWrite]).await;
        let (browser, _) = signed_in(&app, "eve", &[]).await;
        let session: uuid::Uuid = sqlx::query_scalar(
            "select s.id from user_sessions s join users u on u.id = s.user_id
             where u.name = 'victim'",
        )
        .fetch_one(app.store.pool())
        .await
        .unwrap();
        Self { app, browser, victim: victim.to_string(), session: session.to_string() }
    }

    fn path(&self, pattern: &str) -> String {
        let pattern = pattern.replace("{user}", &self.victim).replace("{any}", &self.victim);
        pattern.replace("{session}", &self.session)
    }

    /// Everything that an action could change.
    async fn state(&self) -> String {
        let state: String = sqlx::query_scalar(
            "select jsonb_build_array(
                 (select jsonb_agg(to_jsonb(u) order by u.id) from users u),
                 (select jsonb_agg(to_jsonb(i) - 'used_at' order by i.digest) from user_invitations i),
                 (select jsonb_agg(to_jsonb(s) - 'seen_at' order by s.id) from user_sessions s),
                 (select jsonb_agg(a.id order by a.id) from policy_activations a),
                 (select count(*) from policies), (select count(*) from proposals))::text",
        )
        .fetch_one(self.app.store.pool())
        .await
        .unwrap();
        state
    }
}

/// Every `.route(…)` below `src/console`: the path, and whether it answers GET and POST.
fn routes() -> Vec<(String, bool, bool)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for route in text.split(".route(").skip(1) {
                let (_, route) = route.split_once('"').unwrap();
                let (path, rest) = route.split_once('"').unwrap();
                // Up to the next call on the router.
                let handlers = rest.split([';', '\n']).take(4).collect::<String>();
                let handlers = handlers.split(".route(").next().unwrap();
                let handlers = handlers.split(".merge(").next().unwrap();
                let (get, post) = (handlers.contains("get("), handlers.contains("post("));
                assert!(get || post, "{path}: with which method?");
                found.push((path.to_owned(), get, post));
            }
        }
    }
    found
}

/// Whether a pattern of a table is about this route: a parameter fits every part.
fn is_about(pattern: &str, route: &str) -> bool {
    let (pattern, route): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), route.split('/').collect());
    pattern.len() == route.len()
        && pattern.iter().zip(&route).all(|(one, other)| one == other || other.starts_with('{'))
}

#[test]
fn every_route_of_the_console_is_in_the_rights_tables() {
    let routes = routes();
    assert!(routes.len() > 40, "only {} routes: are they still written like this?", routes.len());
    let lists = |table: &[(&str, Option<Scope>)], route: &str| {
        table.iter().any(|(pattern, _)| is_about(pattern, route))
    };
    for (route, get, post) in &routes {
        if OPEN.contains(&route.as_str()) {
            continue;
        }
        assert!(!get || lists(PAGES, route), "GET {route} is not in PAGES");
        assert!(!post || lists(ACTIONS, route), "POST {route} is not in ACTIONS");
    }
    let serves = |pattern: &str, is_page: bool| {
        routes.iter().any(|(route, get, post)| {
            is_about(pattern, route) && if is_page { *get } else { *post }
        })
    };
    for (pattern, _) in PAGES {
        assert!(serves(pattern, true), "GET {pattern} is no page");
    }
    for (pattern, _) in ACTIONS {
        assert!(serves(pattern, false), "POST {pattern} is no action");
    }
}

#[tokio::test]
async fn nothing_is_shown_or_changed_without_the_right() {
    let mut attack = Attack::new().await;
    let token = attack.browser.get("/sessions").await.form_token();
    let before = attack.state().await;
    for (pattern, scope) in PAGES.iter().filter(|(_, scope)| scope.is_some()) {
        let path = attack.path(pattern);
        let page = attack.browser.get(&path).await;
        assert_eq!((page.status, page.code()), (403, "scope-missing"), "{pattern} {scope:?}");
        assert!(!page.text.contains("victim"), "{pattern}");
    }
    for (pattern, scope) in ACTIONS.iter().filter(|(_, scope)| scope.is_some()) {
        let path = attack.path(pattern);
        let fields = with_token(&token);
        let page = attack.browser.post(&path, &fields).await;
        assert_eq!((page.status, page.code()), (403, "scope-missing"), "{pattern} {scope:?}");
    }
    // Somebody else's session is not to be found.
    let path = attack.path("/sessions/{session}/end");
    let page = attack.browser.post(&path, &[("form_token", &token)]).await;
    assert_eq!(page.status, 404);
    assert_eq!(attack.state().await, before);
}

#[tokio::test]
async fn nothing_is_shown_or_changed_without_a_session() {
    let attack = Attack::new().await;
    let browser_with = |cookie: Option<String>| {
        let mut browser = Browser::at(&attack.app);
        browser.cookie = cookie;
        browser
    };
    let mut ended = browser_with(attack.browser.cookie.clone());
    let token = ended.get("/sessions").await.form_token();
    sqlx::raw_sql(
        "update user_sessions s set ended_at = now() from users u
         where u.id = s.user_id and u.name = 'eve'",
    )
    .execute(attack.app.store.pool())
    .await
    .unwrap();
    let invented = format!("__Host-verdict_session={}", "A".repeat(43));
    let mut invented = browser_with(Some(invented));
    let mut nobody = Browser::at(&attack.app);
    let before = attack.state().await;
    for browser in [&mut ended, &mut invented, &mut nobody] {
        for (pattern, _) in PAGES {
            let page = browser.get(&attack.path(pattern)).await;
            assert_eq!(page.status, 303, "{pattern}");
            assert!(page.location.starts_with("/sign-in?next="), "{pattern}: {}", page.location);
        }
        for (pattern, _) in ACTIONS {
            // The form is of the session that has ended.
            let fields = with_token(&token);
            let page = browser.post(&attack.path(pattern), &fields).await;
            assert_eq!((page.status, page.code()), (401, "signed-out"), "{pattern}");
        }
    }
    assert_eq!(attack.state().await, before);
}

#[tokio::test]
async fn forms_of_other_sites_and_other_sessions_change_nothing() {
    let mut attack = Attack::new().await;
    let token = attack.browser.get("/sessions").await.form_token();
    let mut other = Browser::at(&attack.app);
    other.sign_in("eve", PASSWORD).await;
    let others_token = other.get("/sessions").await.form_token();
    assert_ne!(token, others_token);
    let before = attack.state().await;
    let mut patterns: Vec<&str> = ACTIONS.iter().map(|(pattern, _)| *pattern).collect();
    let invitation = format!("/invitations/{}", "A".repeat(43));
    patterns.extend(["/sign-in", &invitation]);
    for pattern in patterns {
        let path = attack.path(pattern);
        let fields = with_token(&token);
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let bare = || {
            attack
                .browser
                .request(Method::POST, &path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone())
        };
        let origin = attack.browser.origin.clone();
        let port_differs = format!("{origin}0");
        let foreign = [
            bare(),
            bare().header("origin", "null"),
            bare().header("origin", "https://evil.example"),
            bare().header("origin", &port_differs),
            bare().header("origin", &origin).header("sec-fetch-site", "cross-site"),
            bare().header("origin", &origin).header("sec-fetch-site", "same-site"),
        ];
        for request in foreign {
            let page = attack.browser.send(request).await;
            assert_eq!((page.status, page.code()), (403, "other-origin"), "{pattern}");
        }
        let as_json = attack.browser.request(Method::POST, &path).header("origin", &origin);
        let as_json = as_json.header("content-type", "application/json").body("{}");
        assert_eq!(attack.browser.send(as_json).await.status, 415, "{pattern}");
        let as_text = attack.browser.request(Method::POST, &path).header("origin", &origin);
        let as_text = as_text.header("content-type", "text/plain").body(body.clone());
        assert_eq!(attack.browser.send(as_text).await.status, 415, "{pattern}");
    }
    for (pattern, _) in ACTIONS {
        let path = attack.path(pattern);
        for token in ["", "x", others_token.as_str()] {
            let fields = with_token(token);
            let page = attack.browser.post(&path, &fields).await;
            assert_eq!((page.status, page.code()), (403, "form-outdated"), "{pattern}");
        }
        let page = attack.browser.post(&path, FIELDS).await;
        assert_eq!((page.status, page.code()), (403, "form-outdated"), "{pattern}");
        let large = "x".repeat(70_000);
        let page = attack.browser.post(&path, &[("form_token", &token), ("name", &large)]).await;
        assert_eq!(page.status, 413, "{pattern}");
        // A change is never a link.
        let there = attack.browser.get(&path).await;
        assert!([200, 303, 403, 404, 405].contains(&there.status), "{pattern}: {}", there.status);
    }
    assert_eq!(attack.state().await, before);
}

#[tokio::test]
async fn every_answer_forbids_what_the_pages_do_not_need() {
    let mut attack = Attack::new().await;
    let user = add(&attack.app.store, "new", &[]).await;
    let link = invitation(&attack.app.store, user).await;
    let mut seen = 0;
    let pages = PAGES.iter().map(|(pattern, _)| attack.path(pattern)).collect::<Vec<_>>();
    for path in pages.iter().map(String::as_str).chain(["/", "/sign-in", &link, "/no-such-page"]) {
        let page = attack.browser.get(path).await;
        let header = |name: &str| page.headers[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
        assert!(policy.contains("require-trusted-types-for 'script'"), "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{path}");
        for forbidden in
            [" style=", " onclick=", "javascript:", "<style", "//fonts", "http-equiv=\"set"]
        {
            assert!(!page.text.contains(forbidden), "{path} has {forbidden}");
        }
        assert!(!page.text.contains("<script>"), "{path}");
        seen += 1;
    }
    assert_eq!(seen, PAGES.len() + 4);
}

#[tokio::test]
async fn forms_of_strangers_use_memory_of_their_own() {
    let options = Options {
        more: format!("{CONSOLE}\n[callbacks]\nunverified_bytes = 65536"),
        http: "first_byte_seconds = 60\nbody_read_seconds = 60\nheader_read_seconds = 60",
        ..Options::default()
    };
    let app = TestApp::start_with(options).await;
    let console = app.console.expect("a console");
    let head = |length: usize| {
        format!(
            "POST /sign-in HTTP/1.1\r\nhost: {console}\r\norigin: http://{console}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut large = TcpStream::connect(console).await.unwrap();
    large.write_all(head(65_536).as_bytes()).await.unwrap();
    let mut said = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, large.read(&mut said)).await;
    let length = read.expect("it waits for the body").unwrap();
    assert!(said[..length].starts_with(b"HTTP/1.1 413"), "refused unread");
    let mut hostile = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(console).await.unwrap();
        let half = head(16_384) + &"x".repeat(16_000);
        stream.write_all(half.as_bytes()).await.unwrap();
        hostile.push(stream);
    }
    let long = "x".repeat(15_000);
    eventually("the memory of strangers is used up", || async {
        let form = [("name", long.as_str()), ("password", "x")];
        (Browser::at(&app).post("/sign-in", &form).await.status == 503).then_some(())
    })
    .await;
    // A person signs in, and a caller sends a long body.
    signed_in(&app, "anna", &[]).await;
    let check = app.client.post(format!("http://{}/v1/policies/check", app.http));
    let policy = include_str!("../../config/policy.toml");
    let reply = Reply::read(check.bearer_auth(&app.api_key).body(policy).send().await.unwrap());
    let reply = reply.await;
    assert!(policy.len() > 4096 && reply.status < 500, "{reply:?}");
    drop(hostile);
}

#[tokio::test]
async fn invented_sessions_and_invitations_leave_the_database_to_others() {
    let app = with_console().await;
    let (console, pool) = (app.console.expect("a console"), app.database.pool().await);
    // Every look-up takes its connection for as long as this lock lasts.
    let mut holder = pool.begin().await.unwrap();
    let lock = "lock table user_sessions, user_invitations in access exclusive mode";
    sqlx::query(lock).execute(&mut *holder).await.unwrap();
    let strangers: Vec<_> = (0..40)
        .map(|n| {
            tokio::spawn(async move {
                let (mut browser, token) = (Browser::of(console), format!("{n:A>43}"));
                if n % 2 == 0 {
                    browser.cookie = Some(format!("__Host-verdict_session={token}"));
                    browser.get("/sessions").await.status
                } else {
                    browser.get(&format!("/invitations/{token}")).await.status
                }
            })
        })
        .collect();
    eventually("look-ups wait for the lock", || async {
        let waiting = "select count(*) >= 4 from pg_stat_activity where wait_event_type = 'Lock'
            and datname = current_database()";
        let waiting: bool = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
        waiting.then_some(())
    })
    .await;
    for n in 0..20 {
        let posted = app.post(callback(&format!("pass-{n}"), app.clock.now())).await;
        assert_eq!(posted.status, 202, "{posted:?}");
    }
    holder.rollback().await.unwrap();
    for stranger in strangers {
        // Signed out, over, or not looked up in time.
        let status = stranger.await.unwrap();
        assert!([303, 410, 503].contains(&status), "{status}");
    }
}

#[tokio::test]
async fn pages_hold_no_character_that_hides_or_reorders_others() {
    let app = with_console().await;
    let body = json!({ "biz_type": "test", "biz_id": "order\u{2066}\u{202e}7\u{200b}",
        "reference": "anna\u{202e}\u{feff}" });
    let posted = app.post(Callback::signed(&body.to_string(), app.clock.now())).await;
    assert_eq!(posted.status, 202, "{posted:?}");
    let (mut browser, _) = signed_in(&app, "anna", &Scope::ALL).await;
    let found = format!("/verifications/{}", posted.id());
    for path in ["/verifications", &found, "/cases", "/operations", "/audit"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(visible::is_text(&page.text), "{path}: {}", page.text);
    }
    let page = browser.get(&found).await.text;
    assert!(page.contains("order\u{fffd}\u{fffd}7\u{fffd}"), "{page}");
    // It is found by what it is, not by what is shown.
    let search = browser.get("/verifications?q=anna%E2%80%AE%EF%BB%BF").await;
    assert_eq!(search.location, found);
}

#[tokio::test]
async fn person_limited_to_scenes_lets_nobody_into_others() {
    let mut attack = Attack::new().await;
    let (mut limited, _) = signed_in(&attack.app, "limited", &[Scope::UsersWrite]).await;
    let limit = "update users set scenes = '{test}' where name = 'limited'";
    sqlx::raw_sql(limit).execute(attack.app.store.pool()).await.unwrap();
    let token = limited.get("/users").await.form_token();
    let before = attack.state().await;
    let new = |scenes: &'static str| {
        let mut fields = with_token(&token);
        fields.retain(|(name, _)| *name != "name");
        fields.extend([("name", "mallory"), ("scenes", scenes)]);
        fields
    };
    for scenes in ["", "other", "test, other"] {
        for path in ["/users", "/users/{user}/rights"] {
            let page = limited.post(&attack.path(path), &new(scenes)).await;
            assert_eq!((page.status, page.code()), (403, "other-scene"), "{path} {scenes}");
        }
    }
    // The victim reaches every scene: a link for it would be a way in.
    for action in ["rights", "invite", "reset", "disable", "enable"] {
        let path = attack.path(&format!("/users/{{user}}/{action}"));
        let page = limited.post(&path, &new("test")).await;
        assert_eq!((page.status, page.code()), (403, "other-scene"), "{action}");
    }
    assert_eq!(attack.state().await, before);
    let page = limited.post("/users", &new("test")).await;
    assert!(page.status == 200 && page.text.contains("/invitations/"), "{}", page.text);
    assert_eq!(attack.browser.get("/users").await.status, 403);
}
