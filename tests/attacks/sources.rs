//! Two sources of callbacks try to read, take over or block each other's verifications.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row};
use time::OffsetDateTime;

use super::waiting::execute;
use crate::harness::{Callback, Options, Reply, SECRET, Setting, TestApp, dump, eventually};
use verdict::app::Role;
use verdict::domain::body_digest::BodyDigest;
use verdict::domain::ids::{Ids, VerificationId};
use verdict::domain::source::SourceAccess;
use verdict::store::audit::AuditContext;
use verdict::store::callbacks::{Accepted, Incoming};

const SHOP: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcCdzIG93biBiYWNrZW5k";
const BANK: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgYmFuaydzIG93biBiYWNrZW5k";
const WINDOW: Duration = Duration::from_mins(40);

/// Beside `app`: `shop`, and `bank`, each with these keys as well.
fn sources(shop: &str, bank: &str) -> String {
    format!(
        "[sources.shop]\nsecrets = [\"{SHOP}\"]\n{shop}\n[sources.bank]\nsecrets = [\"{BANK}\"]\n{bank}\n"
    )
}

fn options(role: Role, shop: &str, bank: &str) -> Options {
    Options { role, more: sources(shop, bank), ..Options::default() }
}

/// Accepts only: nothing moves on by itself.
async fn accepting(shop: &str, bank: &str) -> TestApp {
    TestApp::start_with(options(Role::Api, shop, bank)).await
}

/// One more process on the same database, with another configuration.
async fn replica(app: &TestApp, shop: &str, bank: &str) -> TestApp {
    app.another(options(Role::Api, shop, bank), "127.0.0.1:9".parse().unwrap()).await
}

fn body(biz_id: &str, reference: &str) -> String {
    json!({ "biz_type": "test", "biz_id": biz_id, "reference": reference }).to_string()
}

fn signed(source: &str, id: &str, body: &str, now: OffsetDateTime) -> Callback {
    let secret = match source {
        "shop" => SHOP,
        "bank" => BANK,
        _ => SECRET,
    };
    let callback = Callback::signed_as(id, body, now.unix_timestamp(), secret);
    Callback { source: source.to_owned(), ..callback }
}

/// A new message of this source about this verification.
async fn post(app: &TestApp, source: &str, biz_id: &str) -> Reply {
    let id = format!("msg_{}", Ids::random().nonce());
    let body = body(biz_id, &format!("ref-of-{source}"));
    app.post(signed(source, &id, &body, app.clock.now())).await
}

async fn start(app: &TestApp, request: &Value) -> Reply {
    let url = format!("http://{}/v1/verifications", app.http);
    let request = app.client.post(url).bearer_auth(&app.api_key).body(request.to_string());
    Reply::read(request.header("content-type", "application/json").send().await.unwrap()).await
}

/// Every row of the tables that callbacks write.
async fn rows(pool: &PgPool) -> Vec<String> {
    let all = "select v::text as row from verifications v union all select c::text from callbacks c
               union all select a::text from audit a order by 1";
    sqlx::query_scalar(all).fetch_all(pool).await.unwrap()
}

/// A refusal that tells nothing of the verification: only its code and the request's own id.
#[track_caller]
fn assert_other_source(reply: &Reply) {
    reply.assert_problem(409, "other-source");
    let mut document = reply.json.as_object().unwrap().clone();
    document.remove("instance");
    let mut members: Vec<&str> = document.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "status", "title", "type"]);
    assert!(!reply.headers.contains_key("location") && !reply.headers.contains_key("etag"));
}

#[tokio::test]
async fn another_source_reads_and_changes_nothing_in_any_state() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    for state in ["pending", "unfinished", "decided", "expired", "failed", "erased"] {
        for closed in [false, true] {
            let biz_id = format!("pass-{state}-{closed}");
            let id = format!("msg_{biz_id}");
            let owned = signed("app", &id, &body(&biz_id, "ref-of-app"), app.clock.now());
            let answer = app.post(owned.clone()).await;
            assert_eq!((answer.status, answer.json["source"].as_str()), (202, Some("app")));
            let set = format!("update verifications set state = '{state}', closed = {closed}");
            execute(&pool, &format!("{set} where biz_id = '{biz_id}'")).await;
            let before = rows(&pool).await;
            // With the owner's message id and body, with a new message, and repeated at once.
            let copied = signed("shop", &id, &body(&biz_id, "x"), app.clock.now());
            assert_other_source(&app.post(copied.clone()).await);
            assert_other_source(&post(&app, "bank", &biz_id).await);
            assert_other_source(&app.post(copied).await);
            let replayed = Callback { source: "shop".to_owned(), ..owned.clone() };
            app.post(replayed).await.assert_problem(401, "signature-invalid");
            assert_eq!(rows(&pool).await, before, "{biz_id}");
            // Erased: only the owner learns it, by a repeat as by a new message.
            let again = [app.post(owned).await, post(&app, "app", &biz_id).await];
            for reply in again {
                if state == "erased" {
                    reply.assert_problem(410, "erased");
                } else {
                    assert_eq!(reply.status, 202, "{reply:?}");
                }
            }
        }
    }
    // A message id of another source is free for one's own verification.
    let own = signed("shop", "msg_pass-decided-true", &body("pass-2", "mine"), app.clock.now());
    assert_eq!(app.post(own).await.json["reference"], "mine");
}

#[tokio::test]
async fn another_source_cannot_reopen_or_delay_a_decided_case() {
    let app = TestApp::start_with(options(Role::All, "", "")).await;
    let id = post(&app, "app", "pass-97").await.id();
    let decided = app.settled(&id).await;
    assert_eq!(decided["reference"], "ref-of-app");
    assert_other_source(&post(&app, "shop", "pass-97").await);
    assert_eq!(app.settled(&id).await, decided);
    assert_eq!(app.provider.queries("pass-97"), 1);
}

fn incoming(source: &SourceAccess, biz_id: &str, ids: &Ids, now: OffsetDateTime) -> Incoming {
    let body = body(biz_id, &source.name);
    Incoming {
        source: source.clone(),
        message_id: ids.nonce(),
        body: BodyDigest::of(body.as_bytes()),
        salt: ids.salt(),
        callback: verdict::domain::callback::Callback::parse(
            body.as_bytes(),
            policy::product::Product::default(),
        )
        .unwrap(),
        received_at: now,
        verification_id: ids.next(now),
        trace: None,
    }
}

#[tokio::test]
async fn first_callbacks_of_two_sources_in_one_batch_have_one_owner() {
    let app = accepting("", "").await;
    let ids = Ids::random();
    let group = |name: &str, peer: &str| SourceAccess {
        name: name.to_owned(),
        peers: [peer.to_owned()].into(),
    };
    let (one, two) = (group("one", "two"), group("two", "one"));
    let (shop, bank) = (SourceAccess::alone("shop"), SourceAccess::alone("bank"));
    let batch: Vec<Incoming> = [
        (&shop, "a"),
        (&bank, "a"),
        (&bank, "b"),
        (&one, "b"),
        (&shop, "b"),
        (&two, "c"),
        (&bank, "c"),
        (&one, "c"),
        (&bank, "a"),
        (&shop, "a"),
    ]
    .into_iter()
    .map(|(source, biz_id)| incoming(source, biz_id, &ids, app.clock.now()))
    .collect();
    let outcomes = app.store.accept(batch, WINDOW).await.unwrap();
    let told: Vec<Option<String>> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Accepted::New(of) => Some(format!("{} {}", of.source.unwrap(), of.reference.unwrap())),
            Accepted::OtherSource => None,
            other => panic!("{other:?}"),
        })
        .collect();
    let (shop, bank, two) = (Some("shop shop"), Some("bank bank"), Some("two two"));
    assert_eq!(
        told.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [shop, None, bank, None, None, two, None, two, None, shop]
    );
    let pool = app.database.pool().await;
    let counts = "select string_agg(biz_id || source || callbacks, ' ' order by biz_id)
                  from verifications";
    let counts: String = sqlx::query_scalar(counts).fetch_one(&pool).await.unwrap();
    assert_eq!(counts, "ashop2 bbank1 ctwo2");
}

#[tokio::test]
async fn flood_about_anothers_verification_does_not_lock_it() {
    let app = accepting("", "").await;
    post(&app, "app", "pass-1").await.id();
    assert_other_source(&post(&app, "shop", "pass-1").await);
    // Further posts are refused without a lock on the row, which another session holds here.
    let pool = app.database.pool().await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select from verifications for update").execute(&mut *holder).await.unwrap();
    for _ in 0..20 {
        assert_other_source(&post(&app, "shop", "pass-1").await);
    }
    holder.rollback().await.unwrap();
}

#[tokio::test]
async fn first_callbacks_on_two_replicas_have_one_owner() {
    let app = accepting("", "").await;
    let other = replica(&app, "", "").await;
    for n in 0..40 {
        let biz_id = format!("pass-{n}");
        let (here, there) =
            tokio::join!(post(&app, "shop", &biz_id), post(&other, "bank", &biz_id));
        let (won, lost) = if here.status == 202 { (here, there) } else { (there, here) };
        assert_eq!(won.status, 202, "{won:?}");
        assert_other_source(&lost);
        let owner = won.json["source"].as_str().unwrap().to_owned();
        assert_eq!(won.json["reference"], format!("ref-of-{owner}"));
        assert_eq!(post(&app, &owner, &biz_id).await.id(), won.id());
    }
}

#[tokio::test]
async fn source_group_shares_earlier_verifications_too() {
    let app = accepting("", "").await;
    let id = post(&app, "shop", "pass-1").await.id();
    assert_other_source(&post(&app, "bank", "pass-1").await);

    let grouped = replica(&app, "group = \"retail\"", "group = \"retail\"").await;
    let shared = post(&grouped, "bank", "pass-1").await;
    assert_eq!((shared.status, shared.id()), (202, id.clone()));
    assert_eq!(
        (shared.json["source"].as_str(), shared.json["reference"].as_str()),
        (Some("shop"), Some("ref-of-shop"))
    );
    let message = signed("bank", "msg_b", &body("pass-1", "x"), app.clock.now());
    assert_eq!(grouped.post(message.clone()).await.status, 202);
    assert_other_source(&post(&grouped, "app", "pass-1").await);

    // The group is dissolved: even a repeat of what was accepted tells nothing any more.
    let apart = replica(&app, "group = \"retail\"", "group = \"banks\"").await;
    let before = rows(&app.database.pool().await).await;
    assert_other_source(&app.post(message).await);
    assert_other_source(&post(&app, "bank", "pass-1").await);
    assert_other_source(&post(&apart, "bank", "pass-1").await);
    assert_eq!(rows(&app.database.pool().await).await, before);
}

#[tokio::test]
async fn rows_without_a_source_belong_to_their_earliest_callback() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    let id = post(&app, "shop", "pass-1").await.id();
    // As a binary without walls left it: another source's later callback was taken.
    execute(
        &pool,
        "update verifications set source = null;
         insert into callbacks (source, message_id, digest, verification_id, received_at,
            answer_state, answer_attempts)
         select 'bank', 'msg_old', digest, verification_id, received_at + interval '1 second',
            answer_state, answer_attempts from callbacks;",
    )
    .await;
    // The refused post may record the owner, and nothing else.
    assert_other_source(&post(&app, "bank", "pass-1").await);
    let owner = sqlx::query_scalar("select source from verifications").fetch_one(&pool).await;
    assert_eq!(owner.ok(), Some("shop".to_owned()));
    let before = rows(&pool).await;
    let old = signed("bank", "msg_old", &body("pass-1", "ref-of-shop"), app.clock.now());
    assert_other_source(&app.post(old).await);
    assert_eq!(rows(&pool).await, before);
    assert_eq!(post(&app, "shop", "pass-1").await.json["source"], "shop");

    // The retention clock takes the callbacks, and leaves who they came from.
    execute(&pool, "update verifications set source = null").await;
    let id: VerificationId = id.parse().unwrap();
    let later = app.clock.now() + Duration::from_hours(1);
    assert!(app.store.delete_callbacks_of(&[id], later).await.unwrap() > 0);
    assert_other_source(&post(&app, "bank", "pass-1").await);
    assert_eq!(post(&app, "shop", "pass-1").await.status, 202);

    // An older binary deleted them and left nothing: nobody gets it.
    execute(
        &pool,
        "delete from callbacks;
         update verifications set source = null, created_at = created_at - interval '2 days'",
    )
    .await;
    assert_other_source(&post(&app, "bank", "pass-1").await);
}

#[tokio::test]
async fn start_request_names_the_source_of_its_callbacks() {
    let app = TestApp::start_with(options(Role::All, "", "scenes = [\"other\"]").patient()).await;
    let request = |biz_id: &str| json!({ "biz_type": "test", "biz_id": biz_id });
    let with = |biz_id: &str, source: &str| json!({ "biz_type": "test", "biz_id": biz_id, "source": source });
    let named = start(&app, &with("quit-1", "shop")).await;
    assert_eq!(named.json["verification"]["source"], "shop", "{named:?}");
    // The first callback does not change the owner.
    assert_other_source(&post(&app, "app", "quit-1").await);
    assert_eq!(post(&app, "shop", "quit-1").await.status, 202);

    // Without one: whoever posts first, and nobody after that.
    let unnamed = start(&app, &request("quit-2")).await;
    assert_eq!(unnamed.json["verification"]["source"], Value::Null, "{unnamed:?}");
    assert_eq!(post(&app, "shop", "quit-2").await.json["source"], "shop");
    assert_other_source(&post(&app, "app", "quit-2").await);

    // A start for another source than the owner's is refused before the provider is asked.
    let pool = app.database.pool().await;
    eventually("the worker rests", || async {
        let busy = "select count(*) from verifications
                    where state = 'pending' or lease_token is not null";
        let busy: i64 = sqlx::query_scalar(busy).fetch_one(&pool).await.unwrap();
        (busy == 0).then_some(())
    })
    .await;
    let before = rows(&pool).await;
    assert_other_source(&start(&app, &with("quit-2", "app")).await);
    for wrong in ["nobody", "SHOP", "", "bank"] {
        let refused = start(&app, &with("quit-3", wrong)).await;
        refused.assert_problem(422, "invalid-field");
        assert_eq!(refused.json["errors"][0]["pointer"], "/source", "{wrong}");
    }
    assert_eq!(rows(&pool).await, before);
    // Only a start for the owner learns of the erasure.
    execute(&pool, "update verifications set state = 'erased', closed = true").await;
    assert_other_source(&start(&app, &with("quit-1", "app")).await);
    start(&app, &with("quit-1", "shop")).await.assert_problem(410, "erased");
}

#[tokio::test]
async fn the_only_source_owns_what_is_started() {
    let app = TestApp::start_with(Options::default().patient()).await;
    let started = start(&app, &json!({ "biz_type": "test", "biz_id": "quit-1" })).await;
    assert_eq!(started.json["verification"]["source"], "app", "{started:?}");
}

#[tokio::test]
async fn a_source_posts_only_in_its_scenes() {
    let app = accepting("scenes = [\"other\", \"third\"]", "").await;
    let pool = app.database.pool().await;
    assert_eq!(post(&app, "bank", "pass-1").await.status, 202);
    let before = rows(&pool).await;
    // Whether it exists makes no difference.
    let (known, unknown) = (post(&app, "shop", "pass-1").await, post(&app, "shop", "pass-2").await);
    for reply in [&known, &unknown] {
        reply.assert_problem(404, "not-found");
        assert!(reply.json["detail"].is_string());
    }
    assert_eq!(known.json["detail"], unknown.json["detail"]);
    assert_eq!(rows(&pool).await, before);
    let other = json!({ "biz_type": "other", "biz_id": "pass-1" }).to_string();
    let message = signed("shop", "msg_s", &other, app.clock.now());
    assert_eq!(app.post(message.clone()).await.status, 202);
    // Taken from it, the scene is closed for repeats too.
    let without = replica(&app, "scenes = [\"third\"]", "").await;
    without.post(message).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn one_secret_under_two_sources_is_refused() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let file = setting.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let refused = || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        let name = "verdict_config_reloads_total{outcome=\"refused\"} ";
        metrics.lines().any(|line| line.strip_prefix(name) == Some("1")).then_some(())
    };
    // Without its prefix it is the same secret; a group does not allow it either.
    let bare = SECRET.strip_prefix("whsec_").unwrap();
    let shared = format!(
        "[sources.shop]\nsecrets = [\"{SHOP}\", \"{bare}\"]\ngroup = \"g\"\n\
         [sources.bank]\nsecrets = [\"{SHOP}\"]\ngroup = \"g\"\n"
    );
    std::fs::write(&file, format!("{good}{shared}")).unwrap();
    process.signal("HUP").await;
    eventually("it is refused", refused).await;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");

    setting.options.more = format!("{shared}[sources.more]\nsecrets = [\"{BANK}\"]\nscenes = []\n");
    let (code, _, error) = setting.run(&["serve"], "").await;
    assert_eq!(code, 2, "{error}");
    for text in [&log, &error] {
        assert!(text.contains("sources.app") && text.contains("sources.shop.secrets"), "{text}");
        assert!(!text.contains(bare) && !text.contains(&SHOP[6..]), "the secret is shown");
    }
    assert!(error.contains("sources.more.scenes"), "{error}");
}

async fn digest_of(pool: &PgPool, message: &str) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let row = sqlx::query("select digest, salt from callbacks where message_id = $1")
        .bind(message)
        .fetch_one(pool)
        .await
        .unwrap();
    (row.get("digest"), row.get("salt"))
}

/// How many callbacks are left with nothing that leads back to the message: no digest, no salt, no
/// id that its sender chose.
async fn left_of_callbacks(pool: &PgPool) -> i64 {
    let left = "select count(*) from callbacks where digest is null and salt is null
                and answer_reference is null and message_id like 'erased-%'";
    sqlx::query_scalar(left).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn callback_digest_is_keyed_and_erased_with_the_person() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    let guess = body("pass-1", "ref-1");
    let messages = ["msg_1", "msg_2"].map(|id| signed("app", id, &guess, app.clock.now()));
    let mut ids = Vec::new();
    for message in &messages {
        ids.push(app.post(message.clone()).await.id());
    }
    let plain = Sha256::digest(&guess);
    let (one, two) = (digest_of(&pool, "msg_1").await, digest_of(&pool, "msg_2").await);
    assert!(one.0 != two.0 && one.1 != two.1, "the same body cannot be recognised");
    assert_ne!(one.0.as_deref(), Some(&plain[..]));
    assert!(!dump(&app.database.url).contains(&hex::encode(plain)));

    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    app.store.erasures().erase(ids[0].parse().unwrap(), &doing).await.unwrap().receipt().unwrap();
    assert_eq!(left_of_callbacks(&pool).await, 2);
    for message in messages {
        app.post(message).await.assert_problem(410, "erased");
    }
    let other = signed("app", "msg_1", &body("pass-1", "ref-2"), app.clock.now());
    app.post(other).await.assert_problem(410, "erased");
}

#[tokio::test]
async fn digests_of_older_binaries_recognise_repeats_and_are_erased() {
    let app = accepting("", "").await;
    let pool = app.database.pool().await;
    let text = body("pass-1", "ref-1");
    let message = signed("app", "msg_1", &text, app.clock.now());
    let first = app.post(message.clone()).await;
    let unkeyed = format!(
        "update callbacks set salt = null, digest = '\\x{}'",
        hex::encode(Sha256::digest(&text))
    );
    execute(&pool, &unkeyed).await;
    let again = app.post(message).await;
    assert_eq!((again.status, &again.text), (202, &first.text));
    let other = signed("app", "msg_1", &body("pass-1", "ref-2"), app.clock.now());
    app.post(other).await.assert_problem(409, "idempotency-mismatch");

    // An erasure by an older binary leaves them; a worker of this version does not.
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    app.store
        .erasures()
        .erase(first.id().parse().unwrap(), &doing)
        .await
        .unwrap()
        .receipt()
        .unwrap();
    execute(&pool, &unkeyed).await;
    execute(&pool, "update callbacks set message_id = 'user-8812'").await;
    execute(&pool, "update erasures set digests_erased = false").await;
    assert_eq!(app.store.erasures().erase_old_digests().await.unwrap(), 1);
    assert_eq!(left_of_callbacks(&pool).await, 1);
    assert_eq!(app.store.erasures().erase_old_digests().await.unwrap(), 0);
}

#[tokio::test]
async fn replays_of_known_messages_leave_the_rate_to_new_ones() {
    let app = accepting("requests_per_second = 5", "").await;
    let other = replica(&app, "requests_per_second = 5", "").await;
    let now = app.clock.now();
    let captured = signed("shop", "msg_1", &body("pass-1", "r"), now);
    assert_eq!(app.post(captured.clone()).await.status, 202);
    for process in [&app, &other] {
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..60 {
            let reply = process.post(captured.clone()).await;
            if reply.status == 202 {
                passed += 1;
            } else {
                reply.assert_problem(429, "rate-limited");
                assert!(reply.headers.contains_key("retry-after"));
                refused += 1;
            }
        }
        assert!(passed >= 5 && refused > 0, "{passed} {refused}");
        // Well within the second that a burst takes to come back.
        for n in 0..3 {
            let new = post(process, "shop", &format!("pass-new-{}-{n}", process.http)).await;
            assert_eq!(new.status, 202, "{new:?}");
        }
    }
    // A captured message that is refused for its content counts as new once, too.
    let third = replica(&app, "requests_per_second = 5", "").await;
    let bad = signed("shop", "msg_bad", "{\"biz_type\":\"test\"}", now);
    for _ in 0..60 {
        let status = third.post(bad.clone()).await.status;
        assert!([422, 429].contains(&status), "{status}");
    }
    for n in 0..4 {
        let new = post(&third, "shop", &format!("pass-last-{n}")).await;
        assert_eq!(new.status, 202, "{new:?}");
    }
}
