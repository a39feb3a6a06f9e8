//! Least privilege: each kind of process works with its own database role, and that role can do
//! nothing else.

use std::path::Path;

use policy::decision::Outcome;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Row};
use url::Url;
use verdict::app::Role;
use verdict::domain::case::Ended;
use verdict::domain::clock::Clock;
use verdict::http::api_key_auth::Scope;

use crate::attacks::grants::not_needed;
use crate::cases::Person;
use crate::harness::{Database, Options, Receiver, Recorder, Setting, callback, make_key_of, now};

const WHY: (&str, &str) = ("verdict-purpose", "appeal 4711");

/// Lays out the roles, and makes a user with these; the database as this user sees it.
pub async fn user(owner: &Database, roles: &str) -> Database {
    // Twice: it may be run any number of times.
    for _ in 0..2 {
        lay_out(owner, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
    }
    member(owner, roles).await
}

/// Adds an endpoint, and waits until its events were delivered and that is on record.
async fn has_events_delivered(setting: &Setting, api: std::net::SocketAddr, owner: &Database) {
    let receiver = Receiver::start().await;
    let body = serde_json::json!({ "url": receiver.url(), "start": "beginning" });
    let added = setting
        .client
        .post(format!("http://{api}/v1/webhook-endpoints"))
        .bearer_auth(&setting.api_key)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(added.status(), 201);
    receiver.received(1).await;
    let pool = owner.pool().await;
    crate::harness::eventually("the deliveries are recorded", || async {
        let recorded = "select exists (select from webhook_attempts where status = 204)";
        let recorded: bool = sqlx::query_scalar(recorded).fetch_one(&pool).await.unwrap();
        recorded.then_some(())
    })
    .await;
}

/// Runs the script of the version whose source is there.
pub async fn lay_out(owner: &Database, source: &Path) {
    let script = std::fs::read_to_string(source.join("config/roles.sql")).expect("the script");
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&owner.pool().await).await.expect("roles");
}

/// A new user with these roles.
pub async fn member(owner: &Database, roles: &str) -> Database {
    let pool = owner.pool().await;
    let name = format!("user_{}", verdict::domain::ids::Ids::random().nonce());
    let create = format!("create role {name} login password 'only-here' in role {roles}");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&pool).await.expect("a user");
    let mut url = Url::parse(&owner.url).expect("a URL");
    url.set_username(&name).expect("a user");
    url.set_password(Some("only-here")).expect("a password");
    Database::at(url)
}

async fn retention_has_passed(pool: &sqlx::PgPool) {
    let passes = "select count(*) from retention_passes where rests_until > now()";
    crate::harness::eventually("retention has passed over everything", || async {
        let whole: i64 = sqlx::query_scalar(passes).fetch_one(pool).await.unwrap();
        (whole == 3).then_some(())
    })
    .await;
}

/// What anybody with a key may read.
async fn reads(setting: &Setting, at: std::net::SocketAddr, path: &str) {
    let parts = ["", "/results", "/decisions", "/timeline", "/waiting"];
    let parts = parts.map(|more| format!("{path}{more}"));
    let others = [
        "/v1/events?wait=1",
        "/v1/events/summary?from=1&to=9&biz_types=test",
        "/v1/search?text=pass-97",
    ];
    for path in parts.iter().map(String::as_str).chain(others) {
        assert_eq!(setting.get(at, path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn api_and_worker_need_only_their_own_roles() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let more = "[retention]\nperson_days = 900\nimages_days = 900\ncallbacks_days = 900
        [reviews]\nfour_eyes = \"approvals\"\n[webhooks]\nallow_private = [\"127.0.0.1\"]"
        .to_owned();
    let options = Options { images, more, fixed_clock: false, ..Options::default() };
    let mut setting = Setting::new(options).await;
    let owner = setting.database.clone();
    setting.api_key = make_key_of(&owner.store(), "anna", &Scope::ALL).await;
    let (of_worker, of_api) = (Recorder::default(), Recorder::default());
    setting.database = of_worker.before(&user(&owner, "verdict_worker").await).await;
    setting.options.role = Role::Worker;
    let worker = setting.serve().await;
    setting.database = of_api.before(&user(&owner, "verdict_api").await).await;
    setting.options.role = Role::Api;
    let api = setting.serve().await;
    let biz_ids = [
        "pass-97",
        "status-7",
        "throttled-1-then-pass-97",
        "quit-1-then-pass-96",
        "error-Forbidden.RAM-x1-then-pass-97",
        "http-503-x2-then-pass-97",
    ];
    for biz_id in biz_ids {
        assert_eq!(api.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let found = setting.get(api.http, "/v1/verifications?biz_type=test&biz_id=pass-97").await;
    let id = found.json["items"][0]["id"].as_str().unwrap();
    assert_eq!(found.json["items"][0]["state"], "decided");
    // About a verification that is known: another statement than the first ones needed.
    assert_eq!(api.post(&setting.client, callback("pass-97", now())).await, Some(202));
    let path = format!("/v1/verifications/{id}");
    reads(&setting, api.http, &path).await;
    commits_verdicts(&setting, &api, &owner).await;
    lists_reviews_and_starts(&setting, api.http, &path).await;
    let material = format!("{path}/material");
    assert_eq!(setting.ask("GET", api.http, &material, &[WHY]).await.status, 200);
    let face = format!("{path}/images/face");
    crate::harness::eventually("the face is kept", || async {
        let shown = setting.ask("GET", api.http, &face, &[WHY]).await;
        (shown.status == 200).then_some(())
    })
    .await;
    assert_eq!(setting.get(api.http, &format!("{path}/images")).await.status, 200);
    let refetch = format!("{path}/refetch");
    let proposed = setting.ask("POST", api.http, &refetch, &[WHY]).await;
    assert!(proposed.status == 202 && proposed.json["proposed"].is_string(), "{proposed:?}");
    let receipt = setting.ask("DELETE", api.http, &material, &[WHY]).await;
    assert_eq!((receipt.status, &receipt.json["destroyed"]["data_keys"]), (202, &1.into()));
    for process in [&api, &worker] {
        assert_eq!(setting.get(process.operations, "/metrics").await.status, 200);
    }

    changes_policies_and_looks_back(&setting, api.http).await;
    has_events_delivered(&setting, api.http, &owner).await;

    let id: verdict::domain::ids::VerificationId = id.parse().unwrap();
    crate::harness::eventually("the erasure is complete", || async {
        owner.store().erasures().receipt(id).await.unwrap().and_then(|receipt| receipt.completed_at)
    })
    .await;

    // A worker finishes another process's erasure, and signs a checkpoint.
    let pool = owner.pool().await;
    sqlx::query(
        "with erased as (update verifications set state = 'erased', closed = true, due_at = null
                         where biz_id = 'status-7' returning id)
         insert into erasures (verification_id, requested_at, requested_by, purpose)
         select id, now(), 'cli:tester', 'asked to' from erased",
    )
    .execute(&pool)
    .await
    .unwrap();
    worker.kill().await;
    setting.database = of_worker.before(&user(&owner, "verdict_worker").await).await;
    setting.options.role = Role::Worker;
    let worker = setting.serve().await;
    crate::harness::eventually("it is finished and signed", || async {
        let row = sqlx::query(
            "select (select count(*) from erasures where completed_at is null) as open,
                (select coalesce(max(position), 0) from audit_checkpoints)
                    = (select position from audit_head) as signed",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        (row.get::<i64, _>("open") == 0 && row.get::<bool, _>("signed")).then_some(())
    })
    .await;
    retention_has_passed(&pool).await;
    for process in [worker, api] {
        let log = process.kill().await.join("\n");
        let refused = ["SQLSTATE 42501", "SQLSTATE 23001"].iter().any(|code| log.contains(code));
        assert!(!refused, "something was refused: {log}");
    }
    let wrong = not_needed(&owner, "verdict_worker", of_worker.statements()).await
        + &not_needed(&owner, "verdict_api", of_api.statements()).await;
    assert_eq!(wrong, "");
}

/// A user approves one case, which needs a second person, and rejects another.
async fn commits_verdicts(setting: &Setting, api: &crate::harness::Process, owner: &Database) {
    let anna = Person::of(&owner.store(), &Clock::system(), "anna").await;
    for biz_id in ["pass-88", "pass-89"] {
        assert_eq!(api.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    for (outcome, ended) in [(Outcome::Approve, Ended::Proposed), (Outcome::Reject, Ended::Decided)]
    {
        let assignment = anna.claims().await;
        anna.decides(assignment, outcome, std::time::Duration::ZERO).await;
        assert_eq!(anna.until_ended(assignment).await, ended);
    }
}

/// Everything about an endpoint, to which nothing is delivered: the name never leads anywhere.
async fn manages_webhooks(setting: &Setting, api: std::net::SocketAddr) {
    let send = async |method: &str, path: &str, body: &'static str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = setting.client.request(method, format!("http://{api}/v1{path}"));
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.bearer_auth(&setting.api_key).send().await.unwrap();
        crate::harness::Reply::read(answer).await
    };
    let new = r#"{ "url": "https://receiver.invalid/", "types": ["endpoint.disabled"] }"#;
    let added = send("POST", "/webhook-endpoints", new).await;
    assert_eq!(added.status, 201, "{added:?}");
    let endpoint = format!("/webhook-endpoints/{}", added.id());
    for (method, path, body, status) in [
        ("GET", "/webhook-endpoints".to_owned(), "", 200),
        ("GET", endpoint.clone(), "", 200),
        ("PATCH", endpoint.clone(), r#"{ "description": "orders" }"#, 200),
        ("POST", format!("{endpoint}/pause"), "", 200),
        ("POST", format!("{endpoint}/rotate-secret"), "", 200),
        ("POST", format!("{endpoint}/redeliveries"), r#"{ "from": 1, "to": 5 }"#, 202),
        ("POST", format!("{endpoint}/redeliveries"), r#"{ "failed": true }"#, 202),
        (
            "POST",
            format!("{endpoint}/redeliveries"),
            r#"{ "since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z" }"#,
            202,
        ),
        (
            "POST",
            format!("{endpoint}/redeliveries"),
            r#"{ "event_id": "evt_00000000000000000000000000000000" }"#,
            422,
        ),
        ("POST", format!("{endpoint}/test"), "", 202),
        ("POST", format!("{endpoint}/resume"), "", 200),
        ("GET", format!("{endpoint}/deliveries"), "", 200),
        ("GET", "/webhook-keys".to_owned(), "", 200),
        ("DELETE", endpoint.clone(), "", 204),
    ] {
        let reply = send(method, &path, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    }
}

async fn changes_policies_and_looks_back(setting: &Setting, api: std::net::SocketAddr) {
    manages_webhooks(setting, api).await;
    let digest = setting.get(api, "/v1/policies").await.json["items"][0]["digest"].clone();
    let policy = format!("/v1/policies/{}", digest.as_str().unwrap());
    for (method, path, status) in [
        ("POST", format!("{policy}/activate"), 204),
        ("POST", format!("{policy}/shadow"), 204),
        ("POST", "/v1/policies/promote".to_owned(), 200),
        ("POST", "/v1/policies/rollback".to_owned(), 409),
        ("GET", format!("{policy}/diff/{}", digest.as_str().unwrap()), 200),
    ] {
        assert_eq!(setting.ask(method, api, &path, &[WHY]).await.status, status, "{path}");
    }
    let asked = setting.ask("POST", api, &format!("{policy}/backtests"), &[WHY]).await;
    let backtest = asked.headers["location"].to_str().unwrap().to_owned();
    crate::harness::eventually("the backtest is done", || async {
        (setting.get(api, &backtest).await.json["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(setting.get(api, &format!("{backtest}/flips")).await.status, 200);
    let cancel = format!("{backtest}/cancel");
    assert_eq!(setting.ask("POST", api, &cancel, &[WHY]).await.status, 409);
}

const THROTTLED_START: &str = r#"{ "product": "face-verify", "biz_type": "1", "meta_info": {},
    "product_code": "LR_FR", "user_id": "1", "biz_id": "initthrottled1",
    "cert_no": "11010519491231002X" }"#;
const REFUSED_START: &str = r#"{ "product": "face-verify", "biz_type": "1", "meta_info": {},
    "product_code": "LR_FR", "user_id": "1", "biz_id": "init417" }"#;
const LOST_START: &str = r#"{ "product": "face-verify", "biz_type": "1", "meta_info": {},
    "product_code": "LR_FR", "user_id": "1", "biz_id": "initcutunlisted" }"#;

async fn lists_reviews_and_starts(setting: &Setting, api: std::net::SocketAddr, path: &str) {
    for list in ["outcome=approve", "state=failed", "reference=x", "biz_type=test"] {
        let list = format!("/v1/verifications?{list}");
        assert_eq!(setting.get(api, &list).await.status, 200, "{list}");
    }
    for (path, body, status) in [
        (
            format!("{path}/reviews"),
            r#"{ "outcome": "reject", "reason": "seen", "note": "in person" }"#,
            201,
        ),
        ("/v1/verifications/refetch".to_owned(), r#"{ "state": "failed" }"#, 202),
        ("/v1/verifications".to_owned(), r#"{ "biz_type": "test", "biz_id": "pass-9" }"#, 201),
        ("/v1/verifications".to_owned(), THROTTLED_START, 503),
        ("/v1/verifications".to_owned(), THROTTLED_START, 201),
        ("/v1/verifications".to_owned(), REFUSED_START, 422),
        ("/v1/verifications".to_owned(), LOST_START, 409),
    ] {
        let request = setting.client.post(format!("http://{api}{path}"));
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.bearer_auth(&setting.api_key).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    let reviews = format!("{path}/reviews");
    let read = setting.ask("GET", api, &reviews, &[WHY]).await;
    assert_eq!(read.json["items"][0]["note"], "in person");
}

#[tokio::test]
async fn callback_role_cannot_read_persons() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let owner = setting.database.clone();
    let process = setting.serve().await;
    for biz_id in ["pass-97", "invalidbiz"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    process.kill().await;

    let recorder = Recorder::default();
    setting.database = recorder.before(&user(&owner, "verdict_ingest").await).await;
    setting.options = Options { role: Role::Api, vault_keys: &[], ..setting.options };
    let ingest = setting.serve().await;
    for _ in 0..2 {
        let message = callback("pass-98", now());
        assert_eq!(ingest.post(&setting.client, message).await, Some(202));
    }
    let failed = setting.get(ingest.http, "/v1/verifications?state=failed").await;
    assert_eq!(failed.json["items"][0]["failure"]["code"], "refused-by-provider", "{failed:?}");
    let found = setting.get(ingest.http, "/v1/verifications?biz_type=test&biz_id=pass-97").await;
    let id = found.json["items"][0]["id"].as_str().unwrap();
    let path = format!("/v1/verifications/{id}/material");
    let shown = setting.ask("GET", ingest.http, &path, &[WHY]).await;
    assert_eq!((shown.status, shown.json["code"].as_str()), (503, Some("unavailable")));
    assert_eq!(setting.get(ingest.operations, "/readyz").await.status, 200);
    ingest.kill().await;
    assert_eq!(not_needed(&owner, "verdict_ingest", recorder.statements()).await, "");
}

#[tokio::test]
async fn roles_cannot_do_what_they_are_not_for() {
    let setting = Setting::new(Options::default()).await;
    let refused: [(&str, &[&str]); 4] = [
        (
            "verdict_ingest",
            &[
                "select * from material",
                "select * from data_keys",
                "select sealed_body from results",
                "select evidence from results",
                "insert into decisions (id) select id from decisions",
                "update callbacks set hint_code = 1",
                "insert into audit (at, actor, action) values (now(), 'x', 'x')",
            ],
        ),
        (
            "verdict_api",
            &[
                "select sealed_body from results",
                "insert into results select * from results",
                "delete from decisions",
                "select wrapped from named_keys",
                "update data_keys set key_id = ''",
                "update audit_head set position = 0",
                "delete from verifications",
                "insert into api_keys select * from api_keys",
            ],
        ),
        (
            "verdict_worker",
            &[
                "select sealed from material",
                "select sealed_body from results",
                "select * from api_keys",
                "insert into callbacks select * from callbacks",
                "update audit_head set position = 0",
                "delete from results",
            ],
        ),
        (
            "verdict_reader",
            &[
                "select sealed from material",
                "select person from material",
                "select * from data_keys",
                "select * from named_keys",
                "select digest from api_keys",
                "select sealed_body from results",
                "update verifications set state = 'decided'",
                "delete from audit",
            ],
        ),
    ];
    for (role, statements) in refused {
        let pool: PgPool = user(&setting.database, role).await.pool().await;
        for statement in statements {
            let error = sqlx::query(*statement).execute(&pool).await.unwrap_err();
            let code = error.as_database_error().and_then(|error| error.code().map(String::from));
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
        }
        let allowed = "select count(*) from decisions";
        sqlx::query(allowed).execute(&pool).await.unwrap_or_else(|_| panic!("{role}: {allowed}"));
    }
}
