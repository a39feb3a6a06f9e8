//! People sign in to the console: invited, by password and code, throttled, and out again.

use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use time::OffsetDateTime;
use verdict::domain::ids::{Ids, UserId};
use verdict::domain::scenes::Scenes;
use verdict::domain::scope::Scope;
use verdict::domain::user::{Language, Theme, User};
use verdict::domain::zone::Zone;
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::vault::token;
use verdict::vault::totp::TotpSecret;

use crate::harness::{Options, TestApp};

pub const PASSWORD: &str = "a horse, a staple";
pub const CONSOLE: &str = "[console]\nlisten = \"127.0.0.1:0\"";

/// A service with a console.
pub async fn with_console() -> TestApp {
    TestApp::start_with(Options { more: CONSOLE.to_owned(), ..Options::default() }).await
}

/// A browser: it keeps its cookie, follows nothing, and sends what browsers send.
pub struct Browser {
    client: reqwest::Client,
    pub origin: String,
    pub cookie: Option<String>,
}

/// An answer of the console.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// Where it leads to.
    pub location: String,
    pub text: String,
    pub headers: reqwest::header::HeaderMap,
}

impl Page {
    /// The hidden field of the forms on it.
    pub fn form_token(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"form_token\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    /// The code that a refusal shows.
    pub fn code(&self) -> &str {
        let (_, rest) = self.text.rsplit_once("<code>").unwrap_or_default();
        rest.split("</code>").next().unwrap_or_default()
    }
}

impl Browser {
    pub fn at(app: &TestApp) -> Self {
        Self::of(app.console.expect("a console"))
    }

    pub fn of(console: std::net::SocketAddr) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .build();
        Self { client: client.unwrap(), origin: format!("http://{console}"), cookie: None }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.origin));
        let request = request.header("accept-language", "en");
        let is_picture = path.contains("/images/");
        let request = if is_picture { request.header("sec-fetch-dest", "image") } else { request };
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub async fn send(&mut self, request: RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        for set in headers.get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            if pair.starts_with("__Host-verdict_session=") {
                self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
            }
        }
        let location = headers.get("location").map(|to| to.to_str().unwrap().to_owned());
        Page {
            status: response.status().as_u16(),
            location: location.unwrap_or_default(),
            text: response.text().await.unwrap(),
            headers,
        }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// As a page of the console posts it.
    pub fn posting(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", &self.origin)
            .header("sec-fetch-site", "same-origin")
            .body(body)
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = self.posting(path, fields);
        self.send(request).await
    }

    /// With the token of the page's form.
    pub async fn post_from(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.get(page).await.form_token();
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        self.post(path, &all).await
    }

    pub async fn sign_in(&mut self, name: &str, password: &str) -> Page {
        self.post("/sign-in", &[("name", name), ("password", password)]).await
    }
}

/// Adds a user with these rights who was not invited yet.
pub async fn add(store: &Store, name: &str, scopes: &[Scope]) -> UserId {
    let user = User {
        id: Ids::random().next(OffsetDateTime::UNIX_EPOCH),
        name: name.to_owned(),
        language: Language::En,
        theme: Theme::Auto,
        zone: Zone::UTC,
        scopes: scopes.to_vec(),
        scenes: Scenes::EVERY,
    };
    assert!(store.users().add(&user, &context()).await.unwrap());
    user.id
}

fn context() -> AuditContext {
    let at = OffsetDateTime::UNIX_EPOCH;
    AuditContext { actor: "cli:test".to_owned(), purpose: None, at }
}

/// The path of a new invitation.
pub async fn invitation(store: &Store, user: UserId) -> String {
    let token = token::generate().unwrap();
    store.users().invite(user, &token::digest(&token), &context()).await.unwrap();
    format!("/invitations/{}", *token)
}

/// A user who has chosen [`PASSWORD`], and the browser in which that was done.
pub async fn signed_in(app: &TestApp, name: &str, scopes: &[Scope]) -> (Browser, UserId) {
    let user = add(&app.store, name, scopes).await;
    let mut browser = Browser::at(app);
    let path = invitation(&app.store, user).await;
    let chosen = browser.post(&path, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!((chosen.status, chosen.location.as_str()), (303, "/"), "{}", chosen.text);
    assert!(browser.cookie.is_some());
    (browser, user)
}

async fn sql(app: &TestApp, statement: &'static str) {
    sqlx::raw_sql(statement).execute(app.store.pool()).await.unwrap();
}

#[tokio::test]
async fn invited_person_chooses_a_password_and_signs_in_with_it() {
    let app = with_console().await;
    let user = add(&app.store, "anna", &[Scope::UsersWrite]).await;
    let mut browser = Browser::at(&app);
    // Nobody signs in before a password was chosen, and pages lead to signing in.
    assert_eq!(browser.sign_in("anna", PASSWORD).await.status, 401);
    assert_eq!(browser.get("/users?a=b").await.location, "/sign-in?next=%2Fusers%3Fa%3Db");

    let older = invitation(&app.store, user).await;
    let path = invitation(&app.store, user).await;
    assert_eq!(browser.get(&older).await.status, 410);
    let shown = browser.get(&path).await;
    assert!(shown.status == 200 && shown.text.contains("Welcome, anna"), "{}", shown.text);
    // Nor does one work after its three days.
    sql(&app, "update user_invitations set expires_at = expires_at - interval '4 days'").await;
    assert_eq!(browser.get(&path).await.status, 410);
    let late = [("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(browser.post(&path, &late).await.status, 410);
    sql(&app, "update user_invitations set expires_at = expires_at + interval '4 days'").await;
    for (password, again) in [("short", "short"), (PASSWORD, "another one")] {
        let fields = [("password", password), ("again", again)];
        assert_eq!(browser.post(&path, &fields).await.status, 422);
    }
    let fields = [("password", PASSWORD), ("again", PASSWORD)];
    let chosen = browser.post(&path, &fields).await;
    assert_eq!((chosen.status, chosen.location.as_str()), (303, "/"));
    let set = chosen.headers["set-cookie"].to_str().unwrap();
    for attribute in ["__Host-", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(attribute) && !set.contains("Domain"), "{set}");
    }
    assert_eq!(browser.get("/").await.location, "/users");
    // The link works once.
    assert_eq!(Browser::at(&app).get(&path).await.status, 410);
    assert_eq!(Browser::at(&app).post(&path, &fields).await.status, 410);

    let mut other = Browser::at(&app);
    let fields = [("name", "anna"), ("password", PASSWORD), ("next", "/sessions"), ("code", "")];
    let signed_in = other.post("/sign-in", &fields).await;
    assert_eq!((signed_in.status, signed_in.location.as_str()), (303, "/sessions"));
    let sessions = other.get("/sessions").await;
    assert!(sessions.status == 200 && sessions.text.contains("this one"), "{}", sessions.text);
    assert_eq!(sessions.headers["cache-control"], "no-store");
    assert!(sessions.headers["content-security-policy"].to_str().unwrap().contains("'none'"));

    // Out again: the cookie is worth nothing any more.
    let cookie = other.cookie.clone();
    let out = other.post_from("/sessions", "/sign-out", &[]).await;
    assert_eq!((out.status, out.location.as_str()), (303, "/sign-in"));
    other.cookie = cookie;
    assert_eq!(other.get("/sessions").await.status, 303);
    let done: Vec<String> =
        sqlx::query_scalar("select action from audit where subject = $1 order by position")
            .bind(user.0)
            .fetch_all(app.store.pool())
            .await
            .unwrap();
    let expected = "user.add user.invite user.invite user.password user.sign-in user.sign-in \
                    user.sign-out";
    assert_eq!(done.join(" "), expected);
}

#[tokio::test]
async fn wrong_unknown_and_disabled_look_alike_and_wait_longer_each_time() {
    let app = with_console().await;
    let (_, disabled) = signed_in(&app, "bert", &[]).await;
    app.store.users().disable(disabled, &context()).await.unwrap();
    signed_in(&app, "anna", &[]).await;
    let mut browser = Browser::at(&app);
    let mut texts = Vec::new();
    for (name, password) in
        [("anna", "not the password"), ("nobody", "not the password"), ("bert", PASSWORD)]
    {
        let refused = browser.sign_in(name, password).await;
        assert_eq!(refused.status, 401, "{name}");
        texts.push(refused.text.replace(&format!("value=\"{name}\""), ""));
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    // After four, the name has to wait, whatever is typed, in every spelling; others need not.
    sql(&app, "update sign_in_failures set failures = 8").await;
    assert_eq!(browser.sign_in("anna", "not the password").await.status, 401);
    for name in ["anna", "ANNA"] {
        let early = browser.sign_in(name, PASSWORD).await;
        assert!(early.status == 401 && early.text.contains("Try again in"), "{}", early.text);
    }
    // The wait ends, and with it what was counted.
    sql(&app, "update sign_in_failures set next_at = now()").await;
    assert_eq!(browser.sign_in("anna", PASSWORD).await.status, 303);
    let left: i64 = sqlx::query_scalar("select count(*) from sign_in_failures")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert_eq!(left, 2);
}

/// The cookie by which a browser is known, as it sends it.
fn known(page: &Page) -> String {
    let all = page.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap());
    let mut marks = all.filter(|set| set.starts_with("__Host-verdict_known="));
    let set = marks.next().expect("a mark");
    for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(set.contains(attribute) && !set.contains("Domain"), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn strangers_who_fail_under_a_name_do_not_keep_the_person_out() {
    let app = with_console().await;
    let (mut session, _) = signed_in(&app, "anna", &[]).await;
    signed_in(&app, "bert", &[]).await;
    let mark_of = async |name: &str| known(&Browser::at(&app).sign_in(name, PASSWORD).await);
    let (annas, berts) = (mark_of("anna").await, mark_of("bert").await);
    let mut stranger = Browser::at(&app);
    assert_eq!(stranger.sign_in("anna", "not the password").await.status, 401);
    let wait = "update sign_in_failures set failures = 9, next_at = now() + interval '5 minutes'";
    sql(&app, wait).await;
    // Neither no mark, nor one of somebody else, nor a changed one makes a browser known.
    let changed = format!("{}{}", &annas[..annas.len() - 4], "AAAA");
    for mark in [None, Some(&berts), Some(&changed)] {
        stranger.cookie = mark.cloned();
        let early = stranger.sign_in("anna", PASSWORD).await;
        assert!(early.status == 401 && early.text.contains("Try again in"), "{}", early.text);
    }
    let mut own = Browser::at(&app);
    own.cookie = Some(annas.clone());
    assert_eq!(own.sign_in("ANNA", "not the password").await.status, 401);
    let entered = own.sign_in("anna", PASSWORD).await;
    assert_eq!(entered.status, 303, "{}", entered.text);
    // A session proves again who it is.
    let typed = [("password", PASSWORD), ("next", "/sessions")];
    let confirmed = session.post_from("/confirm", "/confirm", &typed).await;
    assert_eq!((confirmed.status, confirmed.location.as_str()), (303, "/sessions"));
    // Nobody guesses without limit from a known browser either, and the strangers' wait goes on.
    own.cookie = Some(annas);
    assert_eq!(own.sign_in("anna", "not the password").await.status, 401);
    sql(&app, wait).await;
    assert!(own.sign_in("anna", PASSWORD).await.text.contains("Try again in"));
}

#[tokio::test]
async fn sessions_end_when_idle_at_their_latest_when_ended_and_with_their_user() {
    let app = with_console().await;
    let (mut browser, user) = signed_in(&app, "anna", &[]).await;
    let mut other = Browser::at(&app);
    other.sign_in("anna", PASSWORD).await;
    assert_eq!(browser.get("/sessions").await.text.matches("/end\"").count(), 2);
    sql(&app, "update user_sessions set seen_at = now() - interval '14 minutes'").await;
    assert_eq!(browser.get("/sessions").await.status, 200);
    // The page has kept its own session from ending, and no other.
    sql(
        &app,
        "update user_sessions set seen_at = seen_at - interval '2 minutes'
         where seen_at < now() - interval '5 minutes'",
    )
    .await;
    assert_eq!(other.get("/sessions").await.status, 303);
    assert_eq!(browser.get("/sessions").await.status, 200);
    sql(&app, "update user_sessions set ends_at = now()").await;
    assert_eq!(browser.get("/sessions").await.status, 303);

    // A person can end their own other sessions, and no session of another person.
    browser.sign_in("anna", PASSWORD).await;
    other.sign_in("anna", PASSWORD).await;
    let (mut stranger, _) = signed_in(&app, "bert", &[]).await;
    let page = browser.get("/sessions").await.text;
    let path = page
        .split("action=\"")
        .find(|part| part.starts_with("/sessions/") && part.contains("/end\""));
    let path = path.unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(stranger.post_from("/sessions", &path, &[]).await.status, 404);
    let ended = browser.post_from("/sessions", &path, &[]).await;
    assert_eq!(ended.status, 303);
    let still = [browser.get("/sessions").await.status, other.get("/sessions").await.status];
    assert!(still.contains(&200) && still.contains(&303), "{still:?}");
    // A session ends with its user, even if the session itself was not ended.
    sql(&app, "update users set disabled_at = now() where name = 'bert'").await;
    assert_eq!(stranger.get("/sessions").await.status, 303);
    app.store.users().disable(user, &context()).await.unwrap();
    for one in [&mut browser, &mut other] {
        assert_eq!(one.get("/sessions").await.status, 303);
    }
}

#[tokio::test]
async fn one_time_codes_are_asked_for_and_count_once() {
    let app = with_console().await;
    let (mut browser, _) = signed_in(&app, "anna", &[]).await;
    let page = browser.get("/sessions/codes").await;
    let secret = page.text.split("name=\"secret\" value=\"").nth(1).unwrap();
    let secret = secret.split('"').next().unwrap().to_owned();
    let app_of_anna = TotpSecret::parse(&secret).unwrap();
    let token = page.form_token();
    let wrong = [("form_token", token.as_str()), ("secret", &secret), ("code", "000000x")];
    assert_eq!(browser.post("/sessions/codes", &wrong).await.status, 422);
    let code = app_of_anna.code_at(app.clock.now());
    let right = [("form_token", token.as_str()), ("secret", &secret), ("code", &code)];
    assert_eq!(browser.post("/sessions/codes", &right).await.status, 303);
    let kept: Vec<u8> = sqlx::query_scalar("select totp_secret from users")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert!(!kept.windows(20).any(|part| part == app_of_anna.bytes()), "not sealed");

    let mut other = Browser::at(&app);
    assert_eq!(other.sign_in("anna", PASSWORD).await.status, 401);
    let typed = |code: &str| {
        [("name", "anna"), ("password", PASSWORD)]
            .map(|(name, value)| (name, value.to_owned()))
            .into_iter()
            .chain([("code", code.to_owned())])
            .collect::<Vec<_>>()
    };
    let post = async |browser: &mut Browser, code: &str| {
        let typed = typed(code);
        let fields: Vec<(&str, &str)> = typed.iter().map(|(n, v)| (*n, v.as_str())).collect();
        browser.post("/sign-in", &fields).await.status
    };
    // The code that turned them on does not count again.
    assert_eq!(post(&mut other, &code).await, 401);
    app.clock.advance(std::time::Duration::from_secs(30));
    let next = app_of_anna.code_at(app.clock.now());
    assert_eq!(post(&mut other, &next).await, 303);
    assert_eq!(post(&mut Browser::at(&app), &next).await, 401);
}

#[tokio::test]
async fn people_are_managed_by_whoever_has_the_right_and_never_by_themselves() {
    let app = with_console().await;
    let (mut boss, own) = signed_in(&app, "boss", &[Scope::UsersWrite]).await;
    let new = [
        ("name", "王芳"),
        ("language", "zh"),
        ("zone", "Asia/Shanghai"),
        ("scopes", "reviews:write"),
        ("scopes", "images:read"),
        ("scenes", "a, b"),
    ];
    let added = boss.post_from("/users", "/users", &new).await;
    assert_eq!(added.status, 200, "{}", added.text);
    let (_, link) = added.text.split_once("/invitations/").expect("a link");
    let link = format!("/invitations/{}", link.split('"').next().unwrap());
    let mut invited = Browser::at(&app);
    let page = invited.get(&link).await.text;
    assert!(page.contains("欢迎您，王芳") && page.contains("lang=\"zh-Hans\""), "{page}");
    let fields = [("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(invited.post(&link, &fields).await.status, 303);
    // The same name again, in another spelling, is nobody new.
    let same = [("name", "BOSS"), ("language", "en"), ("zone", "UTC")];
    assert_eq!(boss.post_from("/users", "/users", &same).await.status, 422);

    let list = boss.get("/users").await.text;
    assert!(list.contains("王芳") && list.contains("a, b") && list.contains("Review cases"));
    let user = app.store.users().find_by_name("王芳").await.unwrap().unwrap().user.id;
    let page = format!("/users/{user}");
    let changed =
        boss.post_from(&page, &format!("{page}/rights"), &[("scopes", "audit:read")]).await;
    assert_eq!(changed.location, page);
    // The rights hold from the next page on.
    assert_eq!(invited.get("/").await.location, "/audit");
    assert_eq!(boss.post_from(&page, &format!("{page}/disable"), &[]).await.status, 303);
    assert_eq!(invited.get("/sessions").await.status, 303);
    assert_eq!(boss.post_from(&page, &format!("{page}/enable"), &[]).await.status, 303);
    let reset = boss.post_from(&page, &format!("{page}/reset"), &[]).await;
    assert!(reset.status == 200 && reset.text.contains("/invitations/"));
    assert_eq!(invited.sign_in("王芳", PASSWORD).await.status, 401);

    let page = format!("/users/{own}");
    let token = boss.get("/sessions").await.form_token();
    for action in ["rights", "disable", "reset", "invite"] {
        let fields = [("form_token", token.as_str()), ("scopes", "audit:read")];
        let refused = boss.post(&format!("{page}/{action}"), &fields).await;
        assert_eq!((refused.status, refused.code()), (403, "own-rights"), "{action}");
    }
    // After ten minutes an action that cannot be undone needs a new proof.
    sql(&app, "update user_sessions set confirmed_at = now() - interval '11 minutes'").await;
    let page = format!("/users/{user}");
    let asked = boss.post_from(&page, &format!("{page}/reset"), &[]).await;
    assert!(asked.status == 303 && asked.location.starts_with("/confirm?next="), "{asked:?}");
    let wrong = boss.post_from("/confirm", "/confirm", &[("password", "not it at all")]).await;
    assert_eq!(wrong.status, 403);
    let fields = [("password", PASSWORD), ("next", page.as_str())];
    assert_eq!(boss.post_from("/confirm", "/confirm", &fields).await.location, page);
    assert_eq!(boss.post_from(&page, &format!("{page}/reset"), &[]).await.status, 200);
}

#[tokio::test]
async fn callbacks_are_served_where_they_are_told_to_be_and_nowhere_else() {
    let http = "callbacks_listen = \"127.0.0.1:0\"";
    let app = TestApp::start_with(Options { http, ..Options::default() }).await;
    let callbacks = app.callbacks.expect("a listener of callbacks");
    let callback = || crate::harness::callback("order-1", app.clock.now());
    assert_eq!(app.post(callback()).await.status, 404);
    for path in ["/v1/provider-callbacks/default", "/v1/returns/app"] {
        assert_eq!(app.ask_as_stranger("GET", path).await.status, 404, "{path}");
    }
    let there = |path: &str| app.client.get(format!("http://{callbacks}{path}")).send();
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/v1/provider-callbacks/default", 200),
        ("/v1/verifications", 404),
        ("/v1/events", 404),
        ("/docs", 404),
        ("/metrics", 404),
    ] {
        assert_eq!(there(path).await.unwrap().status().as_u16(), status, "{path}");
    }
    let callback = callback();
    let mut request = app.client.post(format!("http://{callbacks}/v1/callbacks/app"));
    for (name, value) in callback.headers {
        request = request.header(name, value);
    }
    assert_eq!(request.body(callback.body).send().await.unwrap().status(), 202);
}
