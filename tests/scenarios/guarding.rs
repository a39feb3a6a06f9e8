//! Personal data: read with a scope and a purpose, erased on request, and audited so that a change
//! of the audit is noticed.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::protocol::{Answer, START, Steps, waits_for_a_lock};
use crate::harness::{Options, Setting, TestApp, callback, dump, eventually, make_key, now};
use verdict::domain::ids::VerificationId;
use verdict::http::api_key_auth::Scope;
use verdict::store::audit::AuditContext;
use verdict::store::completions::Written;
use verdict::store::retention::{Pass, RetentionClock};

const WHY: (&str, &str) = ("verdict-purpose", "appeal 4711");

fn audit_context() -> AuditContext {
    AuditContext { actor: "cli:tester".to_owned(), purpose: Some("asked to".to_owned()), at: START }
}

async fn one<T>(pool: &PgPool, statement: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}

/// A process with its decided verification.
async fn decided(setting: &Setting, biz_id: &str) -> (crate::harness::Process, String) {
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    setting.drained().await;
    let path = format!("/v1/verifications?biz_type=test&biz_id={biz_id}");
    let found = setting.get(process.http, &path).await;
    let id = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    (process, id)
}

#[tokio::test]
async fn material_needs_scope_and_purpose_and_is_audited() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (process, id) = decided(&setting, "pass-97-longterm").await;
    let path = format!("/v1/verifications/{id}/material");
    let shown = setting.ask("GET", process.http, &path, &[WHY]).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    assert!(shown.json["name"].as_str().unwrap().starts_with("测试"));
    assert!(shown.json["number"].as_str().unwrap().starts_with("00000019"));
    let card = &shown.json["id_card"];
    assert_eq!(card["end_date"], serde_json::json!({ "text": "长期", "date": null }));
    let (text, date) = (&card["birth"]["text"], &card["birth"]["date"]);
    assert_eq!(date.as_str().unwrap().replace('-', ""), text.as_str().unwrap().replace('-', ""));
    assert_eq!(date.as_str().unwrap().len(), 10);
    assert!(!shown.text.contains("http"), "links to images are not material");
    assert_eq!(shown.headers["cache-control"], "no-store");

    let pool = setting.database.pool().await;
    let recorded: String = one(
        &pool,
        "select concat_ws(' ', action, subject::text, purpose) from audit
         where actor like 'key:%' and details like '%result%'",
    )
    .await;
    assert_eq!(recorded, format!("material.read {id} appeal 4711"));

    // Nothing is shown, and nothing recorded, without purpose, scope or material.
    let silent = setting.ask("GET", process.http, &path, &[]).await;
    assert_eq!((silent.status, silent.json["code"].as_str()), (400, Some("purpose-missing")));
    let long = "w".repeat(201);
    let long = setting.ask("GET", process.http, &path, &[("verdict-purpose", &long)]).await;
    assert_eq!((long.status, long.json["code"].as_str()), (422, Some("invalid-field")));
    let all_but: Vec<Scope> =
        Scope::ALL.into_iter().filter(|scope| *scope != Scope::MaterialRead).collect();
    let key = make_key(&setting.database.store(), &all_but).await;
    let request = setting.client.get(format!("http://{}{path}", process.http)).bearer_auth(&key);
    assert_eq!(request.header(WHY.0, WHY.1).send().await.unwrap().status().as_u16(), 403);
    let unknown = format!("/v1/verifications/{}/material", uuid::Uuid::nil());
    let unknown = setting.ask("GET", process.http, &unknown, &[WHY]).await;
    assert_eq!((unknown.status, unknown.json["code"].as_str()), (404, Some("not-found")));
    assert_eq!(
        one::<i64>(&pool, "select count(*) from audit where action = 'material.read'").await,
        1
    );
    process.kill().await;
}

#[tokio::test]
async fn answer_without_person_leaves_no_material() {
    let app = TestApp::start().await;
    let verification = app.verified("pass-97-nomaterial").await;
    let path = format!("/v1/verifications/{}/material", verification["id"].as_str().unwrap());
    let request = app.client.get(format!("http://{}{path}", app.http)).bearer_auth(&app.api_key);
    let reply = request.header(WHY.0, WHY.1).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 404);
    assert!(reply.text().await.unwrap().contains("no-material"));
}

#[tokio::test]
async fn erasure_leaves_nothing_and_the_receipt_lists_what_went() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let body = serde_json::json!({ "biz_type": "test", "biz_id": "status-7-x1-then-pass-97",
        "reference": "somebody-8812", "client": { "audit": "AUDIT_PASS", "platform": "ios" } });
    let first = crate::harness::Callback::signed(&body.to_string(), now());
    for message in [first.clone(), callback("status-7-x1-then-pass-97", now())] {
        assert_eq!(process.post(&setting.client, message).await, Some(202));
        setting.drained().await;
    }
    let found = "/v1/verifications?biz_type=test&biz_id=status-7-x1-then-pass-97";
    let found = setting.get(process.http, found).await;
    let id = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/verifications/{id}/material");
    assert!(dump(&setting.database.url).contains("somebody-8812"));

    let silent = setting.ask("DELETE", process.http, &path, &[]).await;
    assert_eq!((silent.status, silent.json["code"].as_str()), (400, Some("purpose-missing")));
    let receipt = setting.ask("DELETE", process.http, &path, &[WHY]).await;
    assert_eq!(receipt.status, 202, "{receipt:?}");
    let destroyed = &receipt.json["destroyed"];
    assert_eq!(
        *destroyed,
        serde_json::json!({ "data_keys": 1, "answers": 2, "material": 2, "callbacks": 2,
            "images": 0 })
    );
    assert!(receipt.json["completed_at"].is_string());
    let again = setting.ask("DELETE", process.http, &path, &[WHY]).await;
    assert_eq!((again.status, &again.json), (202, &receipt.json), "the same receipt");

    // Nobody is shown anything, nothing more is taken.
    let shown = setting.ask("GET", process.http, &path, &[WHY]).await;
    assert_eq!((shown.status, shown.json["code"].as_str()), (410, Some("erased")));
    for message in [first, callback("status-7-x1-then-pass-97", now())] {
        assert_eq!(process.post(&setting.client, message).await, Some(410));
    }
    let refetch = format!("/v1/verifications/{id}/refetch");
    let refused = setting.ask("POST", process.http, &refetch, &[]).await;
    refused.assert_problem(410, "erased");
    let view = setting.get(process.http, &format!("/v1/verifications/{id}")).await;
    assert_eq!(
        (view.json["state"].as_str(), view.json["reference"].as_str()),
        (Some("erased"), None)
    );
    let dump = dump(&setting.database.url);
    assert!(!dump.contains("somebody-8812") && !dump.contains("AUDIT_PASS"));
    let pool = setting.database.pool().await;
    for table in ["data_keys", "material"] {
        let count = format!("select count(*) from {table}");
        let left: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&pool).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(one::<i64>(&pool, "select count(*) from callbacks").await, 2);
    let (code, said, error) = setting.run(&["audit", "verify"], "").await;
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("4 rows"), "{said}");
    process.kill().await;
}

#[tokio::test]
async fn answer_after_the_erasure_is_not_written() {
    let steps = Steps::new().await;
    let message = steps.message("x");
    let told = steps.accept_new(&message).await;
    let claimed = steps.claim(1).await.unwrap().remove(0);
    let receipt =
        steps.store.erasures().erase(told.id, &audit_context()).await.unwrap().receipt().unwrap();
    assert!(receipt.completed_at.is_some());
    let late = steps.answered(&claimed, Answer::Passed);
    assert_eq!(steps.complete(&[late]).await.unwrap(), [Written::Fenced]);
    for count in ["select count(*) from data_keys", "select count(*) from results"] {
        assert_eq!(one::<i64>(&steps.look, count).await, 0, "{count}");
    }
    steps.advance(3600).await;
    assert!(steps.claim(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn data_key_written_during_an_erasure_is_destroyed() {
    let steps = Arc::new(Steps::new().await);
    let message = steps.message("x");
    let told = steps.accept_new(&message).await;
    // A completion that has written its key and not committed yet.
    let mut completion = steps.look.begin().await.unwrap();
    sqlx::query("update verifications set attempts = 1").execute(&mut *completion).await.unwrap();
    sqlx::query("insert into data_keys values ($1, 'test', '\\x01')")
        .bind(told.id.0)
        .execute(&mut *completion)
        .await
        .unwrap();
    let eraser = Arc::clone(&steps);
    let erasing =
        tokio::spawn(async move { eraser.store.erasures().erase(told.id, &audit_context()).await });
    waits_for_a_lock(&steps.look).await;
    completion.commit().await.unwrap();
    assert_eq!(erasing.await.unwrap().unwrap().receipt().unwrap().data_keys, 1);
    assert_eq!(one::<i64>(&steps.look, "select count(*) from data_keys").await, 0);
}

#[tokio::test]
async fn worker_finishes_an_interrupted_erasure() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (process, id) = decided(&setting, "pass-97").await;
    process.kill().await;
    let pool = setting.database.pool().await;
    // As the first of the two steps leaves it.
    for step in [
        "update verifications set state = 'erased', closed = true, reference = null",
        "insert into erasures (verification_id, requested_at, requested_by, purpose)
         select id, now(), 'cli:tester', 'asked to' from verifications",
    ] {
        sqlx::query(step).execute(&pool).await.unwrap();
    }
    let process = setting.serve().await;
    eventually("a worker finishes it", || async {
        let open: i64 =
            one(&pool, "select count(*) from erasures where completed_at is null").await;
        (open == 0).then_some(())
    })
    .await;
    assert_eq!(one::<i64>(&pool, "select count(*) from data_keys").await, 0);
    let id: VerificationId = id.parse().unwrap();
    let receipt = setting.database.store().erasures().receipt(id).await.unwrap().unwrap();
    assert_eq!((receipt.data_keys, receipt.material), (1, 1));
    process.kill().await;
}

#[tokio::test]
async fn retention_erases_persons_when_due() {
    const DAY: std::time::Duration = std::time::Duration::from_hours(24);
    let options =
        || Options { more: "[retention]\nperson_days = 180".to_owned(), ..Options::default() };
    let clock = verdict::domain::clock::Clock::fixed(START);
    let (provider, address) = crate::harness::provider(&clock).await;
    let app = TestApp::start_beside(options(), provider, address, clock).await;
    let old = app.verified("pass-97").await;
    let spared = app.verified("status-7").await;
    app.clock.advance(100 * DAY);
    let young = app.verified("pass-98").await;
    // The person tries again: the retention clock restarts.
    app.verified("status-7").await;
    app.clock.advance(81 * DAY);
    // The next pass; a worker's first round comes with its start.
    app.database.shift_clock(7200).await;
    let _another = app.another(options(), address).await;
    let state = |of: &serde_json::Value| {
        let path = format!("/v1/verifications/{}", of["id"].as_str().unwrap());
        let app = &app;
        async move { app.get(&path).await.json["state"].as_str().unwrap().to_owned() }
    };
    eventually("the old one is forgotten", || async {
        (state(&old).await == "erased").then_some(())
    })
    .await;
    assert_eq!((state(&spared).await, state(&young).await), ("decided".into(), "decided".into()));
    let id: VerificationId = old["id"].as_str().unwrap().parse().unwrap();
    eventually("the receipt", || async {
        app.store
            .erasures()
            .receipt(id)
            .await
            .unwrap()
            .filter(|receipt| receipt.completed_at.is_some())
    })
    .await;
    let coarse = app.results(old["id"].as_str().unwrap()).await;
    assert_eq!((&coarse[0]["coarsened"], &coarse[0]["request_id"]), (&true.into(), &().into()));
    let pool = app.database.pool().await;
    let why = "select purpose from audit where action = 'verification.erase'";
    assert_eq!(one::<String>(&pool, why).await, "retention.person_days");
}

#[tokio::test]
async fn returning_person_is_not_erased_by_retention() {
    let steps = Arc::new(Steps::new().await);
    let told = steps.accept_new(&steps.message("x")).await;
    let cutoff = START + time::Duration::days(1);
    let old = steps
        .store
        .retention()
        .older_than(cutoff, uuid::Uuid::max(), uuid::Uuid::nil(), 10, 10)
        .await;
    assert_eq!(old.unwrap().old, [told.id]);
    // A callback is being accepted while the retention pass runs.
    let mut accepting = steps.look.begin().await.unwrap();
    sqlx::query("update verifications set updated_at = $1")
        .bind(cutoff)
        .execute(&mut *accepting)
        .await
        .unwrap();
    let retention = Arc::clone(&steps);
    let forgetting = tokio::spawn(async move {
        retention.store.erasures().erase_if_older(told.id, cutoff, &audit_context()).await
    });
    waits_for_a_lock(&steps.look).await;
    accepting.commit().await.unwrap();
    assert!(!forgetting.await.unwrap().unwrap(), "spared");
    assert_eq!(one::<String>(&steps.look, "select state from verifications").await, "pending");
    assert_eq!(one::<i64>(&steps.look, "select count(*) from erasures").await, 0);
    // Nor do its newer callbacks go with the old ones.
    let late = "update callbacks set received_at = received_at + interval '2 days'";
    sqlx::query(late).execute(&steps.look).await.unwrap();
    steps.accept_new(&steps.message("y")).await;
    let both: Vec<VerificationId> =
        sqlx::query_scalar::<_, uuid::Uuid>("select id from verifications")
            .fetch_all(&steps.look)
            .await
            .unwrap()
            .into_iter()
            .map(VerificationId)
            .collect();
    assert_eq!(steps.store.delete_callbacks_of(&both, cutoff).await.unwrap(), 1);
    assert_eq!(one::<i64>(&steps.look, "select count(*) from callbacks").await, 1);
}

#[tokio::test]
async fn retention_pass_is_leased_and_resumes_where_it_stopped() {
    use std::time::Duration;
    let steps = Steps::new().await;
    let clock = RetentionClock::Persons;
    let (lease, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    let (first, second, third) =
        (steps.ids.next(START), steps.ids.next(START), steps.ids.next(START));
    let store = &steps.store;
    let (nil, seen) = (uuid::Uuid::nil(), uuid::Uuid::from_u128(7));
    let claim = async |token| store.retention().claim(clock, lease, token).await.unwrap();
    let pass = |token, after| Pass { clock, token, after };
    assert_eq!(claim(first).await, Some(pass(first, nil)));
    assert_eq!(claim(second).await, None);
    assert!(store.retention().advance(&pass(first, seen)).await.unwrap());
    steps.advance(61).await;
    assert_eq!(claim(second).await, Some(pass(second, seen)));
    // A process that was frozen meanwhile changes nothing.
    assert!(!store.retention().advance(&pass(first, nil)).await.unwrap());
    assert!(!store.retention().finish(&pass(first, nil), hour).await.unwrap());
    assert!(!store.retention().interrupt(&pass(first, nil)).await.unwrap());
    assert!(store.retention().interrupt(&pass(second, seen)).await.unwrap());
    assert_eq!(claim(third).await, Some(pass(third, seen)));
    assert!(store.retention().finish(&pass(third, seen), hour).await.unwrap());
    assert_eq!(claim(first).await, None);
    steps.advance(3601).await;
    assert_eq!(claim(first).await, Some(pass(first, nil)));
}

#[tokio::test]
async fn erasure_by_identity_number_covers_every_verification() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for biz_id in ["pass-97-person-5-a", "status-7-person-5-b", "pass-97-person-6"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let found = "/v1/verifications?biz_type=test&biz_id=pass-97-person-5-a";
    let found = setting.get(process.http, found).await;
    let id = found.json["items"][0]["id"].as_str().unwrap();
    let path = format!("/v1/verifications/{id}/material");
    let shown = setting.ask("GET", process.http, &path, &[WHY]).await;
    let number = format!(" {}\n", shown.json["number"].as_str().unwrap());

    let erase = ["erase", "--person", "--purpose", "request 4711"];
    let (code, receipts, error) = setting.run(&erase, &number).await;
    assert_eq!((code, receipts.lines().count()), (0, 2), "{error}");
    assert!(!receipts.contains(number.trim()) && !error.contains(number.trim()));
    let pool = setting.database.pool().await;
    let erased = "select string_agg(biz_id, ' ' order by biz_id) from verifications
                  where state = 'erased'";
    assert_eq!(one::<String>(&pool, erased).await, "pass-97-person-5-a status-7-person-5-b");
    let (code, _, error) = setting.run(&erase, &number).await;
    assert_eq!(code, 1);
    assert!(error.contains("nothing is kept of this person"), "{error}");
    assert_eq!(setting.run(&erase, "\n").await.0, 2);
    process.kill().await;
}

#[tokio::test]
async fn audit_verify_names_changed_removed_and_moved_rows() {
    // Row 1 is about the API key.
    let cases = [
        ("update audit set purpose = 'other' where position = 4", "row 4 was changed"),
        (
            "update audit set at = at + interval '1 microsecond' where position = 4",
            "row 4 was changed",
        ),
        ("delete from audit where position = 4", "after row 3 comes row 5"),
        ("delete from audit where position = 6", "the newest rows are missing"),
        (
            "update audit set position = -position where position in (4, 5);
             update audit set position = 9 + position where position < 0",
            "row 4 was changed",
        ),
        (
            "insert into audit select 7, at, actor, action, subject, purpose, details, previous, digest
             from audit where position = 6",
            "row 7 was changed",
        ),
        // Even with the digest made good, the next row does not continue it.
        (
            "update audit set purpose = 'other' where position = 4;
             update audit a set digest = verdict_audit_digest(a) where position = 4",
            "row 5 does not continue",
        ),
        ("delete from audit", "there is not a single row"),
    ];
    for (change, says) in cases {
        let setting = Setting::new(Options::default()).await;
        let store = setting.database.store();
        for n in 0..5 {
            let subject = (n % 2 == 0).then(uuid::Uuid::nil);
            let details = (n > 2).then_some("{\"n\": \"一\"}");
            store.audit().record(&audit_context(), "test", subject, details).await.unwrap();
        }
        let (code, said, error) = setting.run(&["audit", "verify"], "").await;
        assert_eq!(code, 0, "{error}");
        assert!(said.starts_with("whole: 6 rows"), "{said}");

        let pool = setting.database.pool().await;
        if !change.starts_with("insert") {
            assert!(sqlx::raw_sql(AssertSqlSafe(change)).execute(&pool).await.is_err(), "{change}");
        }
        // A superuser of the database.
        let forced = format!("alter table audit disable trigger all; {change}");
        sqlx::raw_sql(AssertSqlSafe(forced)).execute(&pool).await.unwrap();
        let (code, _, error) = setting.run(&["audit", "verify"], "").await;
        assert_eq!(code, 1, "{change}");
        assert!(error.contains(says), "{change}: {error}");
    }
}

#[tokio::test]
async fn audit_verify_detects_rewritten_chain() {
    // Of an API key, of the seeded policy, and of what is read here.
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (process, id) = decided(&setting, "pass-97").await;
    let path = format!("/v1/verifications/{id}/material");
    assert_eq!(setting.ask("GET", process.http, &path, &[WHY]).await.status, 200);
    process.kill().await;
    let process = setting.serve().await;
    let pool = setting.database.pool().await;
    eventually("a checkpoint is made", || async {
        let newest = "select coalesce(max(position), 0) from audit_checkpoints";
        (one::<i64>(&pool, newest).await == 3).then_some(())
    })
    .await;
    process.kill().await;
    let (code, said, error) = setting.run(&["audit", "verify"], "").await;
    assert_eq!(code, 0, "{error}");
    // One checkpoint, or two if the first worker made one before the read.
    assert!(said.contains("3 rows, ") && said.contains(", 0 rows after"), "{said}");
    assert!(said.contains("1 checkpoint, ") || said.contains("2 checkpoints, "), "{said}");

    // The export is checked without a database.
    let (_, export, _) = setting.run(&["audit", "list", "--json"], "").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &export).unwrap();
    let name = file.path().to_str().unwrap();
    let verify = ["audit", "verify", "--file", name];
    assert_eq!(crate::harness::run_verdict(&verify, &[]).await.0, 0);
    std::fs::write(file.path(), export.replace("appeal 4711", "appeal 4712")).unwrap();
    let (code, _, error) = crate::harness::run_verdict(&verify, &[]).await;
    assert_eq!(code, 1);
    assert!(error.contains("row 3 was changed"), "{error}");

    // Cut anywhere, or with something behind its end, it is not whole.
    let lines: Vec<&str> = export.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("{\"checkpoint\":")), "{export}");
    let with = |lines: &[&str]| lines.iter().fold(String::new(), |all, line| all + line + "\n");
    for left in 0..lines.len() {
        std::fs::write(file.path(), with(&lines[..left])).unwrap();
        let (code, _, error) = crate::harness::run_verdict(&verify, &[]).await;
        let says = if left == 0 {
            "there is not a single row"
        } else {
            "the export has no head after row"
        };
        assert!(code == 1 && error.contains(says), "{left} lines: {error}");
    }
    let twice = [&lines[..], &lines[lines.len() - 1..]].concat();
    let headless = [&lines[..1], &lines[lines.len() - 1..]].concat();
    for (bent, says) in [
        (with(&twice), "after row 3 comes what does not belong there"),
        (with(&headless), "the newest rows are missing: 1 is the last, 3 was written"),
        (
            export.replace("{\"checkpoint\":{\"position\":3", "{\"checkpoint\":{\"position\":1"),
            "after row 3",
        ),
    ] {
        std::fs::write(file.path(), bent).unwrap();
        let (code, _, error) = crate::harness::run_verdict(&verify, &[]).await;
        assert!(code == 1 && error.contains(says), "{says}: {error}");
    }

    // With a forged head a truncated export looks complete; a place stored elsewhere shows the cut.
    let (first, digest) = (lines[0], |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["digest"].as_str().unwrap().to_owned()
    });
    let head = format!("{{\"head\":{{\"position\":1,\"digest\":\"{}\"}}}}", digest(first));
    std::fs::write(file.path(), with(&[first, &head])).unwrap();
    assert_eq!(crate::harness::run_verdict(&verify, &[]).await.0, 0);
    let kept = said.lines().last().unwrap().rsplit_once(' ').unwrap().1.to_owned();
    let expecting = [&verify[..], &["--expect", &kept]].concat();
    let (code, _, error) = crate::harness::run_verdict(&expecting, &[]).await;
    assert!(code == 1 && error.contains("the newest rows are missing"), "{error}");
    std::fs::write(file.path(), &export).unwrap();
    let (code, said, error) = crate::harness::run_verdict(&expecting, &[]).await;
    assert!(code == 0 && said.contains(&kept), "{said}{error}");
    let second = lines.iter().find(|line| line.starts_with("{\"position\":2,")).unwrap();
    let other = format!("1:{}", digest(second));
    let other = [&verify[..], &["--expect", &other]].concat();
    let (code, _, error) = crate::harness::run_verdict(&other, &[]).await;
    assert!(code == 1 && error.contains("the chain was written anew: row 1"), "{error}");
    let nonsense = [&verify[..], &["--expect", "2:abc"]].concat();
    assert_eq!(crate::harness::run_verdict(&nonsense, &[]).await.0, 2);

    // In the database a superuser cuts the newest rows off, with all that tells of them there.
    let store = setting.database.store();
    store.audit().record(&audit_context(), "test", None, None).await.unwrap();
    let (code, said, error) = setting.run(&["audit", "verify"], "").await;
    assert!(code == 0 && said.contains("4 rows, "), "{said}{error}");
    let kept = said.lines().last().unwrap().rsplit_once(' ').unwrap().1.to_owned();
    let cut = "alter table audit disable trigger all; alter table audit_checkpoints disable trigger all;
        delete from audit where position = 4; delete from audit_checkpoints where position = 4;
        update audit_head set (position, digest) = (select position, digest from audit where position = 3)";
    sqlx::raw_sql(cut).execute(&pool).await.unwrap();
    assert_eq!(setting.run(&["audit", "verify"], "").await.0, 0);
    let (code, _, error) = setting.run(&["audit", "verify", "--expect", &kept], "").await;
    assert!(code == 1 && error.contains("the newest rows are missing"), "{error}");

    // A superuser writes the whole chain anew, head included.
    let anew = "alter table audit disable trigger all;
        update audit set purpose = 'none' where position = 3;
        update audit a set digest = verdict_audit_digest(a) where position = 3;
        update audit_head set digest = (select digest from audit where position = 3)";
    sqlx::raw_sql(anew).execute(&pool).await.unwrap();
    let (code, _, error) = setting.run(&["audit", "verify"], "").await;
    assert_eq!(code, 1);
    assert!(error.contains("the chain was written anew"), "{error}");
}

#[tokio::test]
async fn vault_keys_rotate_while_the_service_serves() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (process, old) = decided(&setting, "pass-97").await;
    process.kill().await;
    setting.options.vault_keys = &["new", "test"];
    let process = setting.serve().await;
    // Nobody has wrapped with the old one for a while.
    setting.database.shift_clock(120).await;
    let read = |id: String| {
        let (setting, at) = (&setting, process.http);
        async move {
            let path = format!("/v1/verifications/{id}/material");
            setting.ask("GET", at, &path, &[WHY]).await.status
        }
    };
    // Callbacks and readings go on meanwhile; none fails.
    let rotating = setting.run(&["vault", "rotate"], "");
    let serving = async {
        for n in 0..50 {
            let message = callback(&format!("pass-97-u{n}"), now());
            assert_eq!(process.post(&setting.client, message).await, Some(202));
            assert_eq!(read(old.clone()).await, 200);
        }
    };
    let ((code, said, error), ()) = tokio::join!(rotating, serving);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("under new") && said.contains("test is no longer needed"), "{said}");
    setting.drained().await;
    process.kill().await;

    let pool = setting.database.pool().await;
    let left = "select count(*) from data_keys where key_id <> 'new'";
    assert_eq!(one::<i64>(&pool, left).await, 0);
    assert_eq!(one::<i64>(&pool, "select count(*) from data_keys").await, 51);
    // The old key can go: it starts, and opens what the old key had wrapped.
    setting.options.vault_keys = &["new"];
    let process = setting.serve().await;
    let path = format!("/v1/verifications/{old}/material");
    assert_eq!(setting.ask("GET", process.http, &path, &[WHY]).await.status, 200);
    let metrics = setting.get(process.operations, "/metrics").await.text;
    let needed = r#"verdict_vault_key_needed{key_id="new",configured="yes"} 1"#;
    assert!(metrics.contains(needed), "{metrics}");
    let (code, said, _) = setting.run(&["vault", "status"], "").await;
    assert_eq!((code, said.trim()), (0, "KEY  STATE\nnew  primary"));
    process.kill().await;
}

#[tokio::test]
async fn audit_is_checkpointed_even_if_other_upkeep_fails() {
    let setting = Setting::new(Options {
        fixed_clock: false,
        more: "[retention]\nimages_days = 1".to_owned(),
        ..Options::default()
    })
    .await;
    let pool = setting.database.pool().await;
    sqlx::query("alter table images rename to images_away").execute(&pool).await.unwrap();
    sqlx::query("alter table erasures rename to erasures_away").execute(&pool).await.unwrap();
    let process = setting.serve().await;
    eventually("a checkpoint is made", || async {
        let newest = "select coalesce(max(position), 0) from audit_checkpoints";
        (one::<i64>(&pool, newest).await > 0).then_some(())
    })
    .await;
    // The steps after a failing one still run.
    eventually("drift is computed", || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        metrics.contains("verdict_score_drift_psi").then_some(())
    })
    .await;
    let log = process.kill().await.join("\n");
    for step in ["erasures", "retention", "persons"] {
        assert!(log.contains(&format!("\"step\":\"{step}\"")), "{step}: {log}");
    }
}

#[tokio::test]
async fn shadow_comparison_reads_only_the_newest_decisions() {
    let steps = Steps::new().await;
    sqlx::query(
        "insert into shadow_decisions
         select ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, gen_random_uuid(),
            'one', 'other', case when n <= 100 then 'reject' else 'approve' end, 'approve', '[]', now()
         from generate_series(1, 100050) as n",
    )
    .execute(&steps.look)
    .await
    .unwrap();
    let counts = steps.store.policies().shadow_counts("one", None).await.unwrap();
    let counts: Vec<(&str, i64)> =
        counts.iter().map(|count| (count.active_outcome.as_str(), count.count)).collect();
    assert_eq!(counts, [("approve", 99_950), ("reject", 50)]);
}

#[tokio::test]
async fn vault_key_in_use_by_another_process_stays_needed() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (old, id) = decided(&setting, "pass-97").await;
    // Forgotten when the others were restarted with both keys.
    setting.options.vault_keys = &["new", "test"];
    let (code, said, error) = setting.run(&["vault", "rotate"], "").await;
    assert_eq!(code, 1, "{error}");
    assert!(
        said.contains("1 data key rewrapped") && said.contains("test is still needed"),
        "{said}"
    );
    assert_eq!(old.post(&setting.client, callback("pass-97-more", now())).await, Some(202));
    setting.drained().await;
    setting.options.vault_keys = &["new"];
    for serve in [&["serve"][..], &["serve", "--role", "api"]] {
        let (code, _, error) = setting.run(serve, "").await;
        assert_eq!(code, 2, "{serve:?}: {error}");
        assert!(error.contains("the key test is missing"), "{serve:?}: {error}");
    }
    old.kill().await;

    // It is gone, and a minute has passed.
    setting.database.shift_clock(120).await;
    setting.options.vault_keys = &["new", "test"];
    let (code, said, error) = setting.run(&["vault", "rotate"], "").await;
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("test is no longer needed"), "{said}");
    setting.options.vault_keys = &["new"];
    setting.options.role = verdict::app::Role::Api;
    let process = setting.serve().await;
    let path = format!("/v1/verifications/{id}/material");
    assert_eq!(setting.ask("GET", process.http, &path, &[WHY]).await.status, 200);
    process.kill().await;
}

#[tokio::test]
async fn retired_vault_key_that_wraps_again_is_needed_again() {
    use std::time::Duration;
    let steps = Steps::new().await;
    steps.store.vault_keys().use_vault_key("test", START).await.unwrap();
    let retire = || steps.store.vault_keys().retire_vault_keys("new", Duration::ZERO, START);
    let used = Duration::from_mins(1);
    assert!(
        steps.store.vault_keys().retire_vault_keys("new", used, START).await.unwrap().is_empty()
    );
    assert_eq!(retire().await.unwrap(), ["test"]);
    assert!(steps.store.vault_keys().vault_keys_in_use().await.unwrap().is_empty());
    let told = steps.accept_new(&steps.message("x")).await;
    let claimed = steps.claim(1).await.unwrap().remove(0);
    assert_eq!(claimed.id, told.id);
    let answered = steps.answered(&claimed, Answer::Passed);
    assert_eq!(steps.complete(&[answered]).await.unwrap(), [Written::Committed]);
    let retired = "select count(retired_at) from vault_keys where key_id = 'test'";
    assert_eq!(one::<i64>(&steps.look, retired).await, 0);
    assert_eq!(steps.store.vault_keys().vault_keys_in_use().await.unwrap(), ["test"]);
    assert!(retire().await.unwrap().is_empty(), "it wraps something");
    // The data decides: no process starts without the key, whatever `vault_keys` says.
    for change in ["update vault_keys set retired_at = now()", "delete from vault_keys"] {
        sqlx::query(change).execute(&steps.look).await.unwrap();
        assert_eq!(
            steps.store.vault_keys().vault_keys_in_use().await.unwrap(),
            ["test"],
            "{change}"
        );
    }
}
