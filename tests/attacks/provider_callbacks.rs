//! The provider's own callback is an unsigned GET: anybody can send one.

use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::app::Role;
use verdict::domain::ids::Ids;

use super::waiting::{execute, is_due, sleeps, waiting};
use crate::harness::{Callback, Options, Reply, SECRET, Setting, TestApp, eventually, now};

/// The source that owns what waits.
const OWNER: (&str, &str) = ("app", SECRET);

async fn app() -> TestApp {
    TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await
}

async fn notify(app: &TestApp, query: &str) -> Reply {
    app.ask_as_stranger("GET", &format!("/v1/provider-callbacks/default{query}")).await
}

/// Waits until every callback sent so far is done: they are taken in turn, and this one is the last.
async fn all_done(app: &TestApp, pool: &PgPool) {
    let marker = format!("marker{}", Ids::random().nonce());
    waiting(app, pool, OWNER, &marker).await;
    notify(app, &format!("?certifyId={marker}&passed=200")).await;
    eventually("the last one is done", || async { is_due(pool, &marker).await.then_some(()) })
        .await;
}

/// Every row that a callback could change, but those of the markers.
async fn rows(pool: &PgPool) -> Vec<String> {
    let all = "with ours as (
                   select * from verifications where coalesce(certify_id, '') not like 'marker%')
               select v::text from ours v
               union all select c::text from callbacks c join ours v on v.id = c.verification_id
               union all select a::text from audit a order by 1";
    sqlx::query_scalar(all).fetch_all(pool).await.unwrap()
}

/// Everything of an answer but what names the request.
fn visible(reply: &Reply) -> (u16, String, Vec<(String, String)>) {
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (reply.status, reply.text.clone(), headers)
}

#[tokio::test]
async fn every_callback_gets_the_same_answer_and_strangers_change_nothing() {
    let app = app().await;
    let pool = app.database.pool().await;
    waiting(&app, &pool, OWNER, "sha7").await;
    let before = rows(&pool).await;
    let expected = visible(&notify(&app, "").await);
    assert_eq!((expected.0, expected.1.as_str()), (200, "success"));
    for query in [
        "?".to_owned(),
        "?certifyId=sha8&passed=200".to_owned(),
        "?certifyId=sha7&certifyId=sha8&passed=200".to_owned(),
        "?certifyId=&passed=200".to_owned(),
        "?certifyId=%00".to_owned(),
        "?certifyId=%FF".to_owned(),
        "?certifyId=sha7%27%20or%20true".to_owned(),
        format!("?certifyId={}", "s".repeat(9_000)),
        format!("?{}", "a=b&".repeat(1_500)),
        "?passed=T&subCode=200".to_owned(),
    ] {
        assert_eq!(visible(&notify(&app, &query).await), expected, "{query}");
    }
    for account in ["other", "Default", "%FF", "%00", "a%2Fb"] {
        let path = format!("/v1/provider-callbacks/{account}?certifyId=sha7&passed=200");
        assert_eq!(visible(&app.ask_as_stranger("GET", &path).await), expected, "{account}");
    }
    let head = app.ask_as_stranger("HEAD", "/v1/provider-callbacks/default").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let posted = app.ask_as_stranger("POST", "/v1/provider-callbacks/default").await;
    posted.assert_problem(405, "method-not-allowed");
    all_done(&app, &pool).await;
    // Of all tests in this process.
    let metrics = app.client.get(format!("http://{}/metrics", app.operations)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    for outcome in ["refused", "probe", "unreadable", "unknown", "made-due"] {
        let name = format!("verdict_wakeups_total{{by=\"provider\",outcome=\"{outcome}\"}} ");
        assert!(metrics.contains(&name), "{outcome}: {metrics}");
    }
    assert!(!metrics.contains("sha7"), "{metrics}");
    assert_eq!(rows(&pool).await, before, "nothing was stored or changed");
}

#[tokio::test]
async fn callback_wakes_at_most_once_in_5_seconds_and_its_verdict_is_not_believed() {
    let app = app().await;
    let pool = app.database.pool().await;
    let id = waiting(&app, &pool, OWNER, "sha7").await;
    let replay = "?CERTIFYID=sha7&passed=T&subCode=200";
    let all = futures_util::future::join_all((0..20).map(|_| notify(&app, replay))).await;
    assert!(all.iter().all(|reply| reply.status == 200));
    all_done(&app, &pool).await;
    assert!(is_due(&pool, "sha7").await);
    let callbacks = "select callbacks from verifications where certify_id = 'sha7'";
    let count: i32 = sqlx::query_scalar(callbacks).fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2, "the app's callback, and one of the provider");
    let now = app.get(&format!("/v1/verifications/{id}")).await.json;
    assert_eq!((&now["state"], now["decision"].is_null()), (&json!("pending"), true));

    sleeps(&pool, "sha7").await;
    execute(&pool, "update verifications set woken_at = now() - interval '3 s'").await;
    notify(&app, replay).await;
    all_done(&app, &pool).await;
    assert!(!is_due(&pool, "sha7").await, "it was woken a moment ago");
    execute(&pool, "update verifications set woken_at = now() - interval '6 s'").await;
    notify(&app, replay).await;
    all_done(&app, &pool).await;
    assert!(is_due(&pool, "sha7").await);
}

/// Sends all of them at once on one connection; each gets 200.
async fn answered_in_turn(http: std::net::SocketAddr, targets: &[String]) {
    let mut stream = TcpStream::connect(http).await.unwrap();
    let all = targets.iter().map(|target| format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
    stream.write_all(all.collect::<String>().as_bytes()).await.unwrap();
    let (mut text, mut buffer) = (String::new(), vec![0; 1 << 16]);
    while text.matches("HTTP/1.1 200 OK").count() < targets.len() {
        let read = stream.read(&mut buffer).await.unwrap();
        text += std::str::from_utf8(&buffer[..read]).unwrap();
        let others = text.matches("HTTP/1.1 ").count() - text.matches("HTTP/1.1 200").count();
        assert!(read > 0 && others == 0, "{text}");
    }
}

#[tokio::test]
async fn provider_is_answered_without_a_database_and_strangers_cannot_pile_up() {
    let mut setting =
        Setting::new(Options { role: Role::Api, fixed_clock: false, ..Options::default() }).await;
    let (database, network) = setting.database.behind_proxy().await;
    setting.database = database;
    let process = setting.serve().await;
    network.stall(true);
    let target = |certify_id: &str| {
        let query = format!("certifyId={certify_id}&callbackToken=canary-token&passed=204");
        format!("/v1/provider-callbacks/default?{query}")
    };
    let many = (0..300).map(|n| target(&format!("canary{n}"))).collect::<Vec<_>>();
    answered_in_turn(process.http, &many).await;
    network.stall(false);
    // One connection fills the 256 places only because no answer waits for its own.
    let metrics = setting.get(process.operations, "/metrics").await.text;
    let dropped = "verdict_wakeups_total{by=\"provider\",outcome=\"dropped\"}";
    assert!(metrics.contains(dropped), "{metrics}");
    // And it works again.
    eventually("a callback is taken", || async {
        let body = json!({ "product": "face-verify", "biz_type": "1", "certify_id": "sha7" });
        let posted = process.post(&setting.client, Callback::signed(&body.to_string(), now()));
        (posted.await == Some(202)).then_some(())
    })
    .await;
    let pool = setting.database.pool().await;
    sleeps(&pool, "sha7").await;
    eventually("the provider's callback makes it due", || async {
        answered_in_turn(process.http, &[target("sha7")]).await;
        is_due(&pool, "sha7").await.then_some(())
    })
    .await;
    process.signal("TERM").await;
    let (_, log) = process.ended().await;
    let log = log.join("\n");
    assert!(log.contains("/v1/provider-callbacks/{account}"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

/// As a start leaves it that asked for callbacks, with the digest of this token.
async fn started(pool: &PgPool, id: &str, token: Option<&str>) {
    let digest = token.map(|token| Sha256::digest(token).to_vec());
    sqlx::query(
        "insert into starts (verification_id, parameters, callback_token, call_token, asked_at,
             expires_at)
         values ($1::uuid, '\\x00', $2, gen_random_uuid(), now(), now() + interval '30 minutes')
         on conflict (verification_id) do update set callback_token = excluded.callback_token",
    )
    .bind(id)
    .bind(digest)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn verification_started_here_is_woken_only_with_its_own_token() {
    let app = app().await;
    let pool = app.database.pool().await;
    // As long as those of starts.
    let mine = "the-token-of-sha7-0123456789abcdef-12345678";
    let other = "the-token-of-sha9-0123456789abcdef-12345678";
    let id = waiting(&app, &pool, OWNER, "sha7").await;
    let of_other = waiting(&app, &pool, OWNER, "sha9").await;
    started(&pool, &id, Some(mine)).await;
    started(&pool, &of_other, Some(other)).await;
    let before = rows(&pool).await;
    let upper = mine.to_uppercase();
    let longer = format!("{mine}0");
    let shorter = &mine[..mine.len() - 1];
    let wrong = ["", "x", &mine[1..], shorter, other, upper.as_str(), longer.as_str(), "%00"];
    for token in wrong {
        let query = format!("?callbackToken={token}&certifyId=sha7&passed=200");
        assert_eq!(notify(&app, &query).await.status, 200);
    }
    notify(&app, "?certifyId=sha7&passed=200").await;
    notify(&app, &format!("?callbackToken={mine}&callbackToken=x&certifyId=sha7")).await;
    // The right token of another verification, and no `CertifyId` at all.
    notify(&app, &format!("?callbackToken={mine}&certifyId=sha9&passed=200")).await;
    notify(&app, &format!("?callbackToken={mine}&certifyId=shaX&passed=200")).await;
    notify(&app, &format!("?callbackToken={mine}&passed=200")).await;
    all_done(&app, &pool).await;
    assert_eq!(rows(&pool).await, before, "nothing was changed");
    // No callback was asked for.
    started(&pool, &of_other, None).await;
    notify(&app, &format!("?callbackToken={other}&certifyId=sha9&passed=200")).await;
    all_done(&app, &pool).await;
    assert_eq!(rows(&pool).await, before, "nothing was changed");

    notify(&app, &format!("?callbackToken={mine}&certifyId=sha7&passed=204")).await;
    all_done(&app, &pool).await;
    assert!(is_due(&pool, "sha7").await && !is_due(&pool, "sha9").await);
}

#[tokio::test]
async fn right_token_points_its_start_at_the_verification_that_has_the_id() {
    let app = app().await;
    let pool = app.database.pool().await;
    let id = waiting(&app, &pool, OWNER, "sha7").await;
    execute(&pool, "update verifications set certify_id = null, biz_id = 'order1'").await;
    started(&pool, &id, Some("the-token")).await;
    // Made by a callback with nothing but the id; in another scene; of another order number.
    let first = waiting(&app, &pool, OWNER, "sha8").await;
    waiting(&app, &pool, OWNER, "sha9").await;
    waiting(&app, &pool, OWNER, "shaA").await;
    execute(&pool, "update verifications set biz_type = '7' where certify_id = 'sha9'").await;
    execute(&pool, "update verifications set biz_id = 'order2' where certify_id = 'shaA'").await;
    let answered_by = async || {
        all_done(&app, &pool).await;
        app.get(&format!("/v1/verifications/{id}")).await.json["answered_by"].clone()
    };
    for certify_id in ["sha9", "shaA"] {
        notify(&app, &format!("?callbackToken=the-token&certifyId={certify_id}")).await;
    }
    notify(&app, "?callbackToken=another&certifyId=sha8").await;
    assert_eq!(answered_by().await, json!(null));
    sleeps(&pool, "sha8").await;
    execute(&pool, "update verifications set woken_at = null").await;
    notify(&app, "?callbackToken=the-token&certifyId=sha8").await;
    assert_eq!(answered_by().await, json!(first));
    let due = "select count(*) from verifications where id::text in ($1, $2) and due_at <= now()";
    let due: i64 = sqlx::query_scalar(due).bind(&id).bind(&first).fetch_one(&pool).await.unwrap();
    assert_eq!(due, 2, "one asks, the other expires");
}

#[tokio::test]
async fn right_token_teaches_the_certify_id_that_a_crash_lost() {
    let app = app().await;
    let pool = app.database.pool().await;
    let id = waiting(&app, &pool, OWNER, "sha7").await;
    execute(&pool, "update verifications set certify_id = null").await;
    started(&pool, &id, Some("the-token")).await;
    let known = async || {
        all_done(&app, &pool).await;
        app.get(&format!("/v1/verifications/{id}")).await.json["certify_id"].clone()
    };
    notify(&app, "?callbackToken=another&certifyId=sha8&passed=200").await;
    notify(&app, "?certifyId=sha8&passed=200").await;
    assert_eq!(known().await, json!(null));
    notify(&app, "?callbackToken=the-token&certifyId=sha8&passed=200").await;
    assert_eq!(known().await, "sha8");
    assert!(is_due(&pool, "sha8").await);
    // Learned once.
    notify(&app, "?callbackToken=the-token&certifyId=sha9&passed=200").await;
    assert_eq!(known().await, "sha8");
    // Too late.
    for state in ["expired", "failed", "erased"] {
        let set = format!(
            "alter table verifications disable trigger user;
             update verifications set certify_id = null, state = '{state}', due_at = null
                 where id = '{id}';
             alter table verifications enable trigger user"
        );
        execute(&pool, &set).await;
        let before = rows(&pool).await;
        notify(&app, "?callbackToken=the-token&certifyId=sha8&passed=200").await;
        all_done(&app, &pool).await;
        assert_eq!(rows(&pool).await, before, "{state}");
    }
}
