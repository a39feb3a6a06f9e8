//! A user, or anybody with a link, forges the return from the provider's page.

use serde_json::json;
use sqlx::PgPool;
use verdict::app::Role;

use super::waiting::{execute, is_due, sleeps, waiting};
use crate::harness::{Callback, Options, Reply, Setting, TestApp, eventually, now};
use crate::roles::user;

const DONE: &str = "https://app.example/done";
const OTHER: &str = "https://app.example/other?tab=1#/end";
const SHOP: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcCdzIG93biBiYWNrZW5k";
/// The source that owns what waits.
const OWNER: (&str, &str) = ("shop", SHOP);

/// Beside `app`, which has nowhere to return to: `mobile` and `shop`, which share nothing.
fn options(role: Role) -> Options {
    let more = format!(
        "[sources.mobile]\nsecrets = [\"whsec_dGhlIHNlY3JldCBvZiBtb2JpbGUncyBvd24gYmFja2VuZA==\"]\n\
         return_urls = [\"{DONE}\", \"{OTHER}\"]\ngroup = \"ours\"\n\
         [sources.shop]\nsecrets = [\"{SHOP}\"]\nreturn_urls = [\"https://shop.example/\"]\n\
         [sources.partner]\nsecrets = [\"whsec_dGhlIHNlY3JldCBvZiBhIHBhcnRuZXIncyBiYWNrZW5k\"]\n\
         return_urls = [\"https://partner.example/\"]\nscenes = [\"other\"]\ngroup = \"ours\"\n"
    );
    Options { role, more, ..Options::default() }
}

/// Accepts only: nothing moves on by itself.
async fn app() -> TestApp {
    TestApp::start_with(options(Role::Api)).await
}

fn response(certify_id: &str) -> String {
    let response = json!({ "code": 1000, "extInfo": { "certifyId": certify_id } }).to_string();
    let encoded = url::form_urlencoded::byte_serialize(response.as_bytes()).collect::<String>();
    format!("response={encoded}")
}

async fn returns(app: &TestApp, source: &str, query: &str) -> Reply {
    app.ask_as_stranger("GET", &format!("/v1/returns/{source}?{query}")).await
}

#[track_caller]
fn location(reply: &Reply) -> &str {
    assert_eq!((reply.status, reply.text.as_str()), (303, ""), "{reply:?}");
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    reply.headers["location"].to_str().unwrap()
}

/// Every row that a return could change.
async fn rows(pool: &PgPool) -> Vec<String> {
    let all = "select v::text from verifications v union all select c::text from callbacks c
               union all select a::text from audit a order by 1";
    sqlx::query_scalar(all).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn return_leads_only_to_listed_addresses() {
    let app = app().await;
    let encoded = |to: &str| {
        format!("to={}", url::form_urlencoded::byte_serialize(to.as_bytes()).collect::<String>())
    };
    for (query, target) in [
        (String::new(), DONE),
        (response("unknown"), DONE),
        (encoded(DONE), DONE),
        (encoded(OTHER), OTHER),
        (format!("{}&{}", encoded(OTHER), response("unknown")), OTHER),
    ] {
        assert_eq!(location(&returns(&app, "mobile", &query).await), target, "{query}");
    }
    for to in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "https://app.example@evil.example/done",
        "https://app.example.evil.example/done",
        "https://app.example/done/../../evil",
        "https://app.example/done?next=https://evil.example",
        "http://app.example/done",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://shop.example/",
        "\r\nlocation: https://evil.example/",
        "\u{0}",
    ] {
        assert_eq!(location(&returns(&app, "mobile", &encoded(to)).await), DONE, "{to:?}");
    }
    let twice = format!("{}&{}", encoded(OTHER), encoded("https://evil.example/"));
    assert_eq!(location(&returns(&app, "mobile", &twice).await), DONE);
    // Nothing listed, or no such source.
    for source in ["app", "nobody", "Mobile", "%F0%9F%98%80", "%00"] {
        returns(&app, source, &encoded(DONE)).await.assert_problem(404, "not-found");
    }
    let posted = app.ask_as_stranger("POST", "/v1/returns/mobile").await;
    posted.assert_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn forged_returns_change_nothing_and_are_not_told_apart() {
    let app = app().await;
    let pool = app.database.pool().await;
    waiting(&app, &pool, OWNER, "sha7").await;
    waiting(&app, &pool, OWNER, "sha9").await;
    execute(&pool, "update verifications set source = 'mobile' where certify_id = 'sha9'").await;
    let before = rows(&pool).await;
    let of_mobile = [
        response("sha8"),
        response("sha7"),
        format!("{}&{}", response("sha7"), response("sha7")),
        "response=%7B".to_owned(),
        "response=null".to_owned(),
        "response=%FF%FE".to_owned(),
        "response=%00".to_owned(),
        format!("response={}", "%7B%22a%22%3A".repeat(300)),
        response(&"s".repeat(5_000)),
        response("sha7' or '1'='1"),
    ];
    for query in of_mobile {
        assert_eq!(location(&returns(&app, "mobile", &query).await), DONE, "{query}");
        let partner = location(&returns(&app, "partner", &query).await).to_owned();
        assert_eq!(partner, "https://partner.example/", "{query}");
    }
    // Of the same group, and its scenes leave this one out.
    let partner = returns(&app, "partner", &response("sha9")).await;
    assert_eq!(location(&partner), "https://partner.example/");
    assert_eq!(rows(&pool).await, before, "nothing was stored or changed");
    let metrics = app.client.get(format!("http://{}/metrics", app.operations)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    for outcome in ["unknown", "refused", "unreadable"] {
        let counted = format!("verdict_wakeups_total{{by=\"return\",outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&counted), "{outcome}: {metrics}");
    }
    assert!(!metrics.contains("sha7"));
}

#[tokio::test]
async fn replayed_return_wakes_at_most_once_in_5_seconds() {
    let app = app().await;
    let pool = app.database.pool().await;
    let id = waiting(&app, &pool, OWNER, "sha7").await;
    let expected = format!("https://shop.example/?verification_id={id}");
    let give_up = "select give_up_at::text from verifications";
    let before: String = sqlx::query_scalar(give_up).fetch_one(&pool).await.unwrap();
    let query = response("sha7");
    let together = (0..20).map(|_| returns(&app, "shop", &query));
    for reply in futures_util::future::join_all(together).await {
        assert_eq!(location(&reply), expected);
    }
    assert!(is_due(&pool, "sha7").await);
    let callbacks = "select callbacks from verifications";
    let count: i32 = sqlx::query_scalar(callbacks).fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2, "the callback and one return");

    sleeps(&pool, "sha7").await;
    execute(&pool, "update verifications set woken_at = now() - interval '3 s'").await;
    assert_eq!(location(&returns(&app, "shop", &response("sha7")).await), expected);
    assert!(!is_due(&pool, "sha7").await, "it was woken a moment ago");
    execute(&pool, "update verifications set woken_at = now() - interval '6 s'").await;
    let head = app.ask_as_stranger("HEAD", &format!("/v1/returns/shop?{}", response("sha7"))).await;
    assert_eq!(location(&head), expected);
    assert!(is_due(&pool, "sha7").await);
    let later: String = sqlx::query_scalar(give_up).fetch_one(&pool).await.unwrap();
    assert_eq!(later, before, "a stranger does not keep it alive");

    // One that has settled stays as it is.
    for state in ["decided", "expired", "failed", "erased"] {
        let set = format!(
            "alter table verifications disable trigger user;
             update verifications set state = '{state}', woken_at = null, due_at = null,
                 closed = {};
             alter table verifications enable trigger user",
            state == "decided"
        );
        execute(&pool, &set).await;
        let before = rows(&pool).await;
        assert_eq!(location(&returns(&app, "shop", &response("sha7")).await), expected);
        assert_eq!(rows(&pool).await, before, "{state}");
    }
}

/// Both have read that it may be woken when the first one wakes it.
#[tokio::test]
async fn two_processes_wake_at_most_once_in_5_seconds() {
    let app = app().await;
    let other = app.another(options(Role::Api), app.http).await;
    let pool = app.database.pool().await;
    waiting(&app, &pool, OWNER, "sha7").await;
    let mut holder = pool.begin().await.unwrap();
    let lock = "select id from verifications for update";
    sqlx::query(lock).execute(&mut *holder).await.unwrap();
    let query = response("sha7");
    let both =
        async { tokio::join!(returns(&app, "shop", &query), returns(&other, "shop", &query)) };
    let released = async {
        eventually("both wait for the row", || async {
            let waiting = "select count(*) = 2 from pg_stat_activity where wait_event_type = 'Lock'
                and datname = current_database()";
            let both: bool = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
            both.then_some(())
        })
        .await;
        holder.commit().await.unwrap();
    };
    tokio::join!(both, released);
    eventually("it is due", || async { is_due(&pool, "sha7").await.then_some(()) }).await;
    // Behind both: rows are locked in turn.
    execute(&pool, "select id from verifications for update").await;
    let callbacks = "select callbacks from verifications";
    let count: i32 = sqlx::query_scalar(callbacks).fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2, "the callback and one return");
}

#[tokio::test]
async fn user_who_returns_gets_the_decision_at_once() {
    // Without the return it would be asked for in ten minutes.
    let app = TestApp::start_with(options(Role::All).patient()).await;
    let body = json!({ "product": "face-verify", "biz_type": "1000000006",
        "certify_id": "fv-424-x1-then-pass97-u1" });
    let callback = Callback::signed(&body.to_string(), app.clock.now());
    let id = app.post(callback).await.id();
    eventually("it is unfinished", || async {
        let now = app.get(&format!("/v1/verifications/{id}")).await;
        (now.json["state"] == "unfinished").then_some(())
    })
    .await;
    execute(&app.database.pool().await, "update verifications set source = 'shop'").await;
    let reply = returns(&app, "shop", &response("fv-424-x1-then-pass97-u1")).await;
    assert_eq!(location(&reply), format!("https://shop.example/?verification_id={id}"));
    assert_eq!(app.settled(&id).await["state"], "decided");
}

#[tokio::test]
async fn process_that_only_ingests_wakes_and_logs_nothing_of_the_url() {
    let mut setting =
        Setting::new(Options { fixed_clock: false, vault_keys: &[], ..options(Role::Api) }).await;
    let pool = setting.database.pool().await;
    setting.database = user(&setting.database, "verdict_ingest").await;
    let process = setting.serve().await;
    let body = json!({ "product": "face-verify", "biz_type": "1000000006",
        "certify_id": "canary7" });
    let callback = Callback::signed(&body.to_string(), now());
    assert_eq!(process.post(&setting.client, callback).await, Some(202));
    execute(&pool, "update verifications set source = 'mobile'").await;
    sleeps(&pool, "canary7").await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    for path in ["mobile", "nobody-canary", "app"] {
        let query = format!("{}&to=https://canary.example/&canary=canary", response("canary7"));
        let url = format!("http://{}/v1/returns/{path}?{query}", process.http);
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status() == 303, path == "mobile", "{path}");
    }
    assert!(is_due(&pool, "canary7").await);
    process.signal("TERM").await;
    let (_, log) = process.ended().await;
    let log = log.join("\n");
    assert!(log.contains("/v1/returns/{source}"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}
