//! Sources, replicas and odd answers attack what the two products share: ids, keys and decisions.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use verdict::app::Role;
use verdict::domain::body_digest::BodyDigest;
use verdict::domain::ids::Ids;
use verdict::domain::source::SourceAccess;
use verdict::store::callbacks::{Accepted, Incoming};

use super::waiting::execute;
use crate::harness::{Callback, Options, Reply, TestApp, dump, eventually};

const SHOP: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcCdzIG93biBiYWNrZW5k";
const BANK: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgYmFuaydzIG93biBiYWNrZW5k";
const WINDOW: Duration = Duration::from_mins(40);

/// Accepts only: nothing moves on by itself.
async fn accepting(shop: &str, bank: &str) -> TestApp {
    let more = format!(
        "[sources.shop]\nsecrets = [\"{SHOP}\"]\n{shop}\n[sources.bank]\nsecrets = [\"{BANK}\"]\n{bank}\n"
    );
    TestApp::start_with(Options { role: Role::Api, more, ..Options::default() }).await
}

/// A message of this source, with this `webhook-id`.
async fn post_as(app: &TestApp, source: &str, id: &str, body: &Value) -> Reply {
    let secret = if source == "shop" { SHOP } else { BANK };
    let at = app.clock.now().unix_timestamp();
    let callback = Callback::signed_as(id, &body.to_string(), at, secret);
    app.post(Callback { source: source.to_owned(), ..callback }).await
}

/// A new message of this source.
async fn post(app: &TestApp, source: &str, body: &Value) -> Reply {
    post_as(app, source, &format!("msg_{}", Ids::random().nonce()), body).await
}

/// A new message of the source `app`.
async fn post_own(app: &TestApp, body: &Value) -> Reply {
    app.post(Callback::signed(&body.to_string(), app.clock.now())).await
}

fn by_certify_id(scene: &str, certify_id: &str) -> Value {
    json!({ "product": "face-verify", "biz_type": scene, "certify_id": certify_id })
}

fn by_order(scene: &str, biz_id: &str) -> Value {
    json!({ "product": "face-verify", "biz_type": scene, "biz_id": biz_id })
}

fn with(mut body: Value, member: &str, value: &str) -> Value {
    body[member] = value.into();
    body
}

/// A refusal that tells nothing: only its code and the request's own id.
#[track_caller]
fn assert_nothing_learned(reply: &Reply, body: &Value) {
    assert_eq!((reply.status, &reply.json["code"]), (409, &json!("other-source")), "{body}");
    assert_eq!(reply.json.get("detail"), None, "{body}");
    assert!(!reply.headers.contains_key("location"), "{body}");
}

async fn rows(pool: &PgPool) -> Vec<String> {
    let all = "select v::text as row from verifications v union all select c::text from callbacks c
               order by 1";
    sqlx::query_scalar(all).fetch_all(pool).await.unwrap()
}

const SCENE: &str = "1000000006";
const OTHER_SCENE: &str = "1000000007";

#[tokio::test]
async fn source_learns_nothing_of_a_certify_id_out_of_its_reach() {
    let app = accepting("", "").await;
    assert_eq!(post(&app, "shop", &by_certify_id(SCENE, "sha7")).await.status, 202);
    let pool = app.database.pool().await;
    let before = rows(&pool).await;
    for body in [
        by_certify_id(SCENE, "sha7"),
        by_order(SCENE, "sha7"),
        json!({ "biz_type": SCENE, "biz_id": "sha7" }),
        // In another scene, under another order number, with another id.
        by_certify_id(OTHER_SCENE, "sha7"),
        by_order(OTHER_SCENE, "sha7"),
        with(by_order(SCENE, "order1"), "certify_id", "sha7"),
        with(by_order(OTHER_SCENE, "order1"), "certify_id", "sha7"),
        with(by_order(SCENE, "sha7"), "certify_id", "sha8"),
    ] {
        assert_nothing_learned(&post(&app, "bank", &body).await, &body);
    }
    assert_eq!(rows(&pool).await, before, "nothing was kept or changed");
    // A refusal about the CertifyId does not hold against the order number.
    assert_eq!(post(&app, "bank", &by_order(SCENE, "order1")).await.status, 202);
}

/// A stranger who repeats a wrong callback does not cost a statement each time.
#[tokio::test]
async fn refusal_about_a_certify_id_is_remembered_for_a_moment() {
    let app = accepting("", "").await;
    assert_eq!(post(&app, "shop", &by_certify_id(SCENE, "sha7")).await.status, 202);
    let pool = app.database.pool().await;
    let body = with(by_order(SCENE, "order1"), "certify_id", "sha7");
    eventually("a refusal comes without the database", || async {
        assert_nothing_learned(&post(&app, "bank", &body).await, &body);
        // For the database nothing speaks against it any more.
        execute(&pool, "update verifications set certify_id = 'x' where biz_id = 'sha7'").await;
        let reply = post(&app, "bank", &body).await;
        execute(&pool, "delete from callbacks where source = 'bank'").await;
        execute(&pool, "delete from verifications where biz_id = 'order1'").await;
        execute(&pool, "update verifications set certify_id = 'sha7' where biz_id = 'sha7'").await;
        (reply.status == 409).then_some(())
    })
    .await;
    // It holds for this CertifyId alone.
    assert_eq!(post(&app, "bank", &by_order(SCENE, "order1")).await.status, 202);
}

/// The start commits its `CertifyId` while a callback with nothing else is under way.
#[tokio::test]
async fn callback_finds_the_start_that_learns_its_certify_id_meanwhile() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    let started = post(&app, "shop", &by_order(SCENE, "order1")).await;
    let mut start = pool.begin().await.unwrap();
    sqlx::query("update verifications set certify_id = 'sha7'").execute(&mut *start).await.unwrap();
    let body = by_certify_id(SCENE, "sha7");
    let (reply, ()) = tokio::join!(post(&app, "shop", &body), async {
        eventually("the callback waits for the start", || async {
            let waits = "select exists (select from pg_locks where not granted)";
            sqlx::query_scalar(waits).fetch_one(&pool).await.unwrap_or(false).then_some(())
        })
        .await;
        start.commit().await.unwrap();
    });
    assert_eq!((reply.status, reply.id()), (202, started.id()), "{reply:?}");
}

#[tokio::test]
async fn source_learns_nothing_of_scenes_that_it_may_not_post() {
    let group = "group = \"retail\"";
    let app = accepting(group, &format!("{group}\nscenes = [\"{OTHER_SCENE}\"]")).await;
    assert_eq!(post(&app, "shop", &by_certify_id(SCENE, "sha7")).await.status, 202);
    let shop = by_certify_id(OTHER_SCENE, "sha7");
    post(&app, "shop", &shop).await.assert_problem(409, "product-mismatch");
    for body in [
        by_certify_id(OTHER_SCENE, "sha7"),
        by_order(OTHER_SCENE, "sha7"),
        with(by_order(OTHER_SCENE, "order1"), "certify_id", "sha7"),
    ] {
        assert_nothing_learned(&post(&app, "bank", &body).await, &body);
    }
    post(&app, "bank", &by_certify_id(SCENE, "sha7")).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn nobody_can_block_an_order_number_by_naming_it_a_certify_id() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    let started = post(&app, "shop", &by_order(SCENE, "order1")).await;
    // As a start leaves it.
    execute(&pool, "update verifications set certify_id = 'sha7'").await;
    assert_eq!(post(&app, "bank", &by_certify_id(OTHER_SCENE, "order1")).await.status, 202);
    for body in [
        by_order(SCENE, "order1"),
        by_certify_id(SCENE, "sha7"),
        with(by_order(SCENE, "order1"), "certify_id", "sha7"),
    ] {
        let reply = post(&app, "shop", &body).await;
        assert_eq!((reply.status, reply.id()), (202, started.id()), "{body}: {reply:?}");
        assert_eq!(reply.json["certify_id"], "sha7");
    }
}

#[tokio::test]
async fn repeat_under_a_known_webhook_id_is_judged_by_its_bytes() {
    let app = accepting("", "").await;
    let first = post_as(&app, "shop", "msg_1", &by_order(SCENE, "order1")).await;
    assert_eq!(post(&app, "shop", &by_certify_id(SCENE, "sha7")).await.status, 202);
    for body in [
        by_certify_id(OTHER_SCENE, "sha7"),
        with(by_order(SCENE, "order1"), "certify_id", "sha7"),
        by_order(SCENE, "order2"),
    ] {
        let reply = post_as(&app, "shop", "msg_1", &body).await;
        reply.assert_problem(409, "idempotency-mismatch");
    }
    // Also after the verification has learnt its CertifyId.
    let pool = app.database.pool().await;
    execute(&pool, "update verifications set certify_id = 'x' where biz_id = 'order1'").await;
    let again = post_as(&app, "shop", "msg_1", &by_order(SCENE, "order1")).await;
    assert_eq!((again.status, again.id()), (202, first.id()));
}

#[tokio::test]
async fn erased_verification_learns_no_certify_id() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    assert_eq!(post_own(&app, &by_order(SCENE, "order1")).await.status, 202);
    execute(&pool, "update verifications set certify_id = null, state = 'erased', closed = true")
        .await;
    let before = rows(&pool).await;
    let body = with(by_order(SCENE, "order1"), "certify_id", "sha7");
    post_own(&app, &body).await.assert_problem(410, "erased");
    let kept: Option<String> =
        sqlx::query_scalar("select certify_id from verifications").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, None, "{before:?}");
    post_own(&app, &by_order(SCENE, "order1")).await.assert_problem(410, "erased");
}

fn incoming(body: &Value, ids: &Ids, now: OffsetDateTime) -> Incoming {
    let text = body.to_string();
    let product = policy::product::Product::default();
    Incoming {
        source: SourceAccess::alone("app"),
        message_id: ids.nonce(),
        body: BodyDigest::of(text.as_bytes()),
        salt: ids.salt(),
        callback: verdict::domain::callback::Callback::parse(text.as_bytes(), product).unwrap(),
        received_at: now,
        verification_id: ids.next(now),
        trace: None,
    }
}

#[tokio::test]
async fn replicas_that_cross_pairs_and_certify_ids_agree_on_one_owner() {
    let app = accepting("", "").await;
    let (here, there) = (app.store.clone(), app.database.store());
    let ids = Ids::random();
    // Keys are locked in the order of the pairs, and each batch has the CertifyIds the other way
    // round.
    let batch = |scenes: [&str; 4], n: usize| -> Vec<Incoming> {
        let places = scenes.into_iter().enumerate();
        let bodies = places.map(|(m, scene)| {
            let body = by_order(scene, &format!("order-{n}"));
            with(body, "certify_id", &format!("sha-{n}-{m}"))
        });
        bodies.map(|body| incoming(&body, &ids, app.clock.now())).collect()
    };
    for n in 0..4 {
        let one = here.accept(batch(["a", "b", "c", "d"], n), WINDOW);
        let two = there.accept(batch(["h", "g", "f", "e"], n), WINDOW);
        let (one, two) = tokio::join!(one, two);
        let all: Vec<Accepted> = [one.unwrap(), two.unwrap()].concat();
        let new = all.iter().filter(|outcome| matches!(outcome, Accepted::New(_))).count();
        let taken = all.iter().filter(|outcome| matches!(outcome, Accepted::CertifyIdTaken(_)));
        assert_eq!((new, taken.count()), (4, 4), "{all:?}");
    }
    let pool = app.database.pool().await;
    let counts = "select (select count(*) from verifications), (select count(*) from callbacks),
                  (select count(distinct certify_id) from verifications)";
    let counts: (i64, i64, i64) = sqlx::query_as(counts).fetch_one(&pool).await.unwrap();
    assert_eq!(counts, (16, 16, 16));
}

async fn ask(app: &TestApp, method: &str, path: &str) -> Reply {
    let url = format!("http://{}{path}", app.http);
    let request = app.client.request(method.parse().unwrap(), url).bearer_auth(&app.api_key);
    Reply::read(request.header("verdict-purpose", "request 4711").send().await.unwrap()).await
}

#[tokio::test]
async fn erased_person_of_face_verify_is_found_in_no_table() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    let certify_id = "idplus-full-userinfo-risk-guard77-cardscore71p3125-pass88p625-u1";
    let body = with(by_certify_id(SCENE, certify_id), "reference", "user-8812");
    let id = post_own(&app, &body).await.id();
    let path = format!("/v1/verifications/{id}");
    let decided = app.settled(&id).await;
    let pool = app.database.pool().await;
    let archived = "select count(*) from images where state = 'archived'";
    eventually("its images are kept", || async {
        let kept: i64 = sqlx::query_scalar(archived).fetch_one(&pool).await.unwrap();
        (kept == 3).then_some(())
    })
    .await;
    let material = ask(&app, "GET", &format!("{path}/material")).await;
    let shown = &material.json;
    assert!(shown["stored_objects"][0]["object"].is_string(), "{material:?}");
    let before = app.results(&id).await;
    assert_eq!(before[0]["evidence"]["device_risk"], json!(["HOOK", "ROOT", "VPN"]));
    let digests: Vec<String> = sqlx::query_scalar(
        "select encode(person, 'hex') from material union
         select encode(sha256, 'hex') from images",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let told = [
        &shown["id_card"]["name"],
        &shown["id_card"]["number"],
        &shown["user_info"]["name"],
        &shown["device_token"],
        &before[0]["request_id"],
    ];
    let mut marks: Vec<String> = told.map(|mark| mark.as_str().unwrap().to_owned()).into();
    marks.extend(
        ["88.625", "71.3125", "[\"HOOK\", \"ROOT\", \"VPN\"]", "user-8812"].map(ToOwned::to_owned),
    );
    let clear = dump(&app.database.url);
    for seen in ["88.625", "71.3125", "[\"HOOK\", \"ROOT\", \"VPN\"]", "user-8812"] {
        assert!(clear.contains(seen), "{seen} is not sealed");
    }
    for sealed in &marks[..4] {
        assert!(!clear.contains(sealed), "{sealed}");
    }
    marks.extend(digests);

    assert_eq!(ask(&app, "DELETE", &format!("{path}/material")).await.status, 202);
    let left = &app.results(&id).await[0];
    let kept = ["product", "code", "passed", "family", "verify_status", "evidence", "fields"];
    assert_eq!(
        kept.map(|name| &left[name]),
        [
            &json!("face-verify"),
            &json!("200"),
            &json!(true),
            &json!("pass"),
            &Value::Null,
            &Value::Null,
            &Value::Null
        ]
    );
    assert!(left["scores"].as_object().unwrap().values().all(Value::is_null), "{left}");
    let now = app.get(&path).await.json;
    assert_eq!((&now["state"], &now["certify_id"]), (&json!("erased"), &json!(certify_id)));
    assert_eq!(now["decision"]["outcome"], decided["decision"]["outcome"]);
    assert_eq!(app.get("/v1/verifications").await.json["items"][0]["product"], "face-verify");
    let timeline = app.get(&format!("{path}/timeline")).await;
    assert_eq!(timeline.status, 200, "{timeline:?}");
    post_own(&app, &by_certify_id(SCENE, certify_id)).await.assert_problem(410, "erased");
    ask(&app, "GET", &format!("{path}/material")).await.assert_problem(410, "erased");
    let after = dump(&app.database.url);
    let found: Vec<&String> = marks.iter().filter(|mark| after.contains(*mark)).collect();
    assert_eq!(found, Vec::<&String>::new(), "found after the erasure");
}

#[tokio::test]
async fn new_links_of_a_closed_face_verify_change_no_decision() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    app.provider.fail_images(Some(403));
    let id = post_own(&app, &by_certify_id(SCENE, "pass97-risk-guard33p3-u2")).await.id();
    let decided = app.settled(&id).await;
    let pool = app.database.pool().await;
    eventually("new links are asked for", || async {
        (app.provider.queries("pass97-risk-guard33p3-u2") > 1).then_some(())
    })
    .await;
    app.provider.fail_images(None);
    eventually("the image is kept", || async {
        sqlx::query("update tasks set due_at = verdict_now()").execute(&pool).await.unwrap();
        let kept = "select count(*) from images where state = 'archived'";
        let kept: i64 = sqlx::query_scalar(kept).fetch_one(&pool).await.unwrap();
        (kept > 0).then_some(())
    })
    .await;
    assert_eq!(app.decisions(&id).await.len(), 1);
    let now = app.get(&format!("/v1/verifications/{id}")).await.json;
    assert_eq!((&now["state"], &now["decision"]), (&decided["state"], &decided["decision"]));
}
