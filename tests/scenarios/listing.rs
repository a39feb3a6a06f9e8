//! Lists, conditional reads, and refetching many.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};

use crate::harness::{Callback, Options, Reply, TestApp, callback, new_database, run_verdict};
use policy::decision::Outcome;
use policy::product::Product;
use verdict::app::Role;
use verdict::domain::callback::{BizType, CertifyId};
use verdict::domain::ids::VerificationId;
use verdict::domain::verification::State;
use verdict::store::listing::{self, Filter};

impl TestApp {
    /// The `biz_id`s of all pages of a list, in order.
    async fn walked(&self, filters: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut from = filters.to_owned();
        loop {
            let page = self.get(&format!("/v1/verifications?{from}")).await;
            assert_eq!(page.status, 200, "{page:?}");
            let items = page.json["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item["biz_id"].as_str().unwrap().to_owned()));
            match page.json["next_cursor"].as_str() {
                None => return found,
                Some(next) => {
                    let same = filters.split("&cursor=").next().unwrap();
                    from = format!("{same}&cursor={next}");
                }
            }
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Reply::read(request.bearer_auth(&self.api_key).send().await.unwrap()).await
    }

    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }
}

#[tokio::test]
async fn list_filters_combine_and_sort_newest_first() {
    let app = TestApp::start().await;
    for biz_id in ["pass-97-a", "pass-97-b", "status-7-c", "expired-d", "invalidbiz-e"] {
        app.verified(biz_id).await;
        app.clock.advance(Duration::from_mins(1));
    }
    let body =
        serde_json::json!({ "biz_type": "other", "biz_id": "pass-f", "reference": "user 8&12" });
    let reply = app.post(Callback::signed(&body.to_string(), app.clock.now())).await;
    app.settled(&reply.id()).await;

    let all = ["pass-f", "invalidbiz-e", "expired-d", "status-7-c", "pass-97-b", "pass-97-a"];
    assert_eq!(app.walked("").await, all);
    for limit in 1..=7 {
        assert_eq!(app.walked(&format!("limit={limit}")).await, all, "{limit}");
    }
    for (filters, wanted) in [
        ("biz_type=other", &all[..1]),
        ("biz_type=test&limit=2", &all[1..]),
        ("reference=user%208%2612", &all[..1]),
        ("reference=nobody", &[]),
        ("state=failed", &["invalidbiz-e"]),
        ("state=expired", &["expired-d"]),
        ("state=decided&limit=1", &["pass-f", "status-7-c", "pass-97-b", "pass-97-a"]),
        ("outcome=approve&limit=1", &["pass-f", "pass-97-b", "pass-97-a"]),
        ("outcome=approve&biz_type=test", &["pass-97-b", "pass-97-a"]),
        ("outcome=reject", &["status-7-c"]),
        ("outcome=retry", &[]),
        ("state=failed&outcome=approve", &[]),
        ("created_after=2026-11-23T09:32:00Z", &all[..4]),
        ("created_before=2026-11-23T09:32:00Z", &all[4..]),
        (
            "created_after=2026-11-23T09:31:00Z&created_before=2026-11-23T09:33:00Z&limit=1",
            &["status-7-c", "pass-97-b"],
        ),
        ("outcome=approve&created_before=2026-11-23T09:31:00Z", &["pass-97-a"]),
        ("biz_id=pass-97-a", &["pass-97-a"]),
        ("created_after=0000-01-01T00:00:00Z&created_before=9999-12-31T23:59:59-23:59", &all),
    ] {
        assert_eq!(app.walked(filters).await, wanted, "{filters}");
    }
}

#[tokio::test]
async fn list_is_narrowed_to_a_product_and_to_a_certify_id() {
    let app = TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await;
    for (scene, certify_id) in [("1000000006", "sha7"), ("1000000007", "sha8")] {
        let body = serde_json::json!({ "product": "face-verify", "biz_type": scene,
            "certify_id": certify_id });
        let reply = app.post(Callback::signed(&body.to_string(), app.clock.now())).await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    app.accepted("pass-97").await;
    for filters in ["product=face-verify", "product=face-verify&limit=1"] {
        // Both came in one millisecond, so either may be the first.
        let mut walked = app.walked(filters).await;
        walked.sort();
        assert_eq!(walked, ["sha7", "sha8"], "{filters}");
    }
    assert_eq!(app.walked("product=verify-result").await, ["pass-97"]);
    assert_eq!(app.walked("product=face-verify&biz_type=1000000006").await, ["sha7"]);
    assert_eq!(app.walked("certify_id=sha8").await, ["sha8"]);
    for none in [
        "certify_id=sha8&biz_type=1000000006",
        "certify_id=sha8&product=verify-result",
        "certify_id=sha9",
        "certify_id=%00",
        "product=face-verify&state=failed",
    ] {
        assert!(app.walked(none).await.is_empty(), "{none}");
    }
    let scenes = vec![BizType::parse("1000000006").unwrap()];
    let limited = Filter { scenes: Some(scenes), ..Filter::default() };
    for (certify_id, count) in [("sha7", 1), ("sha8", 0)] {
        let filter = Filter { certify_id: CertifyId::parse(certify_id).ok(), ..limited.clone() };
        assert_eq!(app.store.listing().list(&filter, None, 9).await.unwrap().len(), count);
    }
    app.get("/v1/verifications?product=x").await.assert_problem(422, "invalid-field");
}

#[tokio::test]
async fn new_rows_never_shift_a_page() {
    let app = TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await;
    for n in 0..10 {
        app.accepted(&format!("pass-{n}")).await;
        app.clock.advance(Duration::from_secs(1));
    }
    let page = app.get("/v1/verifications?limit=4").await;
    let cursor = page.json["next_cursor"].as_str().unwrap().to_owned();
    for n in 10..20 {
        app.accepted(&format!("pass-{n}")).await;
    }
    let rest = app.walked(&format!("limit=4&cursor={cursor}")).await;
    assert_eq!(rest, ["pass-5", "pass-4", "pass-3", "pass-2", "pass-1", "pass-0"]);
    let other = format!("/v1/verifications?limit=4&state=failed&cursor={cursor}");
    app.get(&other).await.assert_problem(422, "invalid-field");
}

#[tokio::test]
async fn wrong_filters_are_named() {
    let app = TestApp::start().await;
    for (query, pointers) in [
        ("state=done", &["state"][..]),
        ("outcome=maybe&state=x", &["state", "outcome"]),
        ("created_after=yesterday", &["created_after"]),
        ("created_before=2026-11-31T00:00:00Z", &["created_before"]),
        ("limit=0", &["limit"]),
        ("limit=101", &["limit"]),
        ("cursor=abc", &["cursor"]),
        ("colour=red", &["colour"]),
        ("state=failed&state=failed", &["state"]),
        // Every kind of mistake in one answer.
        (
            "colour=red&limit=0&state=x&outcome=a&outcome=b",
            &["state", "outcome", "limit", "colour"],
        ),
        ("cursor=abc&biz_id=%20&size=1", &["cursor", "size"]),
    ] {
        let reply = app.get(&format!("/v1/verifications?{query}")).await;
        reply.assert_problem(422, "invalid-field");
        let told: Vec<&str> = reply.json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(told, pointers, "{query}");
    }
    // A plus is a blank in a query string; the caller meant it as a part of the value.
    for (query, pointers) in [
        ("created_after=2026-11-23T17:30:00+08:00", &["created_after"][..]),
        ("created_before=2026-11-23T17%3A30%3A00+08%3A00", &["created_before"]),
        ("state=x&created_before=2026-11-23T17:30:00+08:00", &["state", "created_before"]),
        ("cursor=AQ+b", &["cursor"]),
        ("limit=+5", &["limit"]),
    ] {
        let reply = app.get(&format!("/v1/verifications?{query}")).await;
        reply.assert_problem(400, "plus-in-query");
        let errors = reply.json["errors"].as_array().unwrap();
        let told: Vec<&str> =
            errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(told, pointers, "{query}");
        let last = errors.last().unwrap()["detail"].as_str().unwrap();
        assert!(last.contains("write + as %2B"), "{query}: {last}");
    }
    let id = "01a20a60-ab14-716e-b2d7-1c1f7a7d1ac0";
    let reply = app.get(&format!("/v1/verifications/{id}?wait=+5")).await;
    reply.assert_problem(400, "plus-in-query");
    for good in [
        "created_after=2026-11-23T17:30:00%2B08:00",
        "created_after=2026-11-23T09:30:00Z&limit=%2B5",
        // In a text of the caller's own a blank is as good as anything.
        "reference=order+7",
        "biz_type=a+b&biz_id=c+d",
    ] {
        let reply = app.get(&format!("/v1/verifications?{good}")).await;
        assert_eq!(reply.status, 200, "{good}");
    }
    // A filter that no callback can match finds nothing, and is no error.
    for query in ["biz_type=%20", "biz_id=a%2Fb", "reference=%00"] {
        assert!(app.walked(query).await.is_empty(), "{query}");
    }
}

/// The cost of a list does not depend on the table's size: each kind walks an index in order from
/// its start, and sorts nothing.
#[tokio::test]
async fn every_kind_of_list_walks_an_index_in_order() {
    let database = new_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    // Three scenes, some that failed or are pending, few references, few reviews.
    sqlx::raw_sql(
        "insert into verifications (id, biz_type, biz_id, reference, state, created_at, updated_at,
            give_up_at, decision_id, due_at, product, certify_id)
         select id, 'scene' || n % 3, 'b' || n, case when n % 50 = 0 then 'r' || n end,
            case when n % 100 = 1 then 'failed' when n % 100 = 2 then 'pending' else 'decided' end,
            now(), now(), now(), case when n % 100 > 2 then id end, case when n % 100 = 2 then now() end,
            case when n % 500 = 0 then 'face-verify' else 'verify-result' end,
            case when n % 500 = 0 then 'sha' || n end
         from (select n, ('01990000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as id
               from generate_series(1, 20000) n) rows;
         insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
            decided_by, decided_at)
         select id, id, id, 'sha256:00', case when biz_id like '%77' then 'review' else 'approve' end,
            '[]', 'policy', now()
         from verifications where decision_id is not null;
         analyze verifications; analyze decisions;
         set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off;",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let all = Filter::default();
    let scene = || Some(BizType::parse("scene1").unwrap());
    for (filter, index) in [
        (all.clone(), "verifications_pkey"),
        (Filter { biz_type: scene(), ..all.clone() }, "verifications_by_scene"),
        (
            Filter { reference: Some("r100".to_owned()), ..all.clone() },
            "verifications_by_reference_with_source",
        ),
        (Filter { state: Some(State::Failed), ..all.clone() }, "verifications_given_up"),
        (Filter { state: Some(State::Pending), ..all.clone() }, "verifications_due"),
        (Filter { state: Some(State::Decided), ..all.clone() }, "verifications_pkey"),
        (Filter { outcome: Some(Outcome::Review), ..all.clone() }, "decisions_before_not_approved"),
        (Filter { outcome: Some(Outcome::Approve), ..all.clone() }, "verifications_pkey"),
        (
            Filter { state: Some(State::Failed), biz_type: scene(), ..all.clone() },
            "verifications_given_up",
        ),
        (
            Filter { created_before: Some(time::OffsetDateTime::UNIX_EPOCH), ..all.clone() },
            "verifications_pkey",
        ),
        (
            Filter { product: Some(Product::FaceVerify), ..all.clone() },
            "verifications_of_face_verify",
        ),
        (
            Filter {
                product: Some(Product::FaceVerify),
                state: Some(State::Failed),
                ..all.clone()
            },
            "verifications_of_face_verify",
        ),
        (
            Filter { product: Some(Product::VerifyResult), biz_type: scene(), ..all.clone() },
            "verifications_by_scene",
        ),
        (
            Filter { certify_id: CertifyId::parse("sha500").ok(), ..all },
            "verifications_by_certify_id",
        ),
    ] {
        for before in [None, Some(VerificationId(uuid::Uuid::from_u128(7)))] {
            let [listing::Built { sql: statement, .. }, ..] = listing::built(&filter, before);
            let parameters = statement.matches('$').count();
            let nulls = vec!["null"; parameters].join(",");
            let explain =
                format!("prepare list as {statement}; explain (costs off) execute list ({nulls})");
            let plan: Vec<String> = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
                .fetch_all(&mut connection)
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            sqlx::raw_sql("deallocate list").execute(&mut connection).await.unwrap();
            let plan = plan.join("\n");
            assert!(plan.contains(index), "{filter:?}:\n{plan}");
            // Only what is due is sorted, a backlog and not the table; and the one with an id.
            let sorted = ["verifications_due", "verifications_by_certify_id"];
            // Partitions are merged in the order of their indexes, without a sort.
            let is_sort =
                |line: &str| line.trim_start().trim_start_matches("->  ").starts_with("Sort");
            let is_key = |line: &str| line.contains("Sort Key:");
            let sorts =
                plan.lines().any(|line| is_sort(line) && !is_key(line)) && !sorted.contains(&index);
            assert!(!sorts && !plan.contains("Seq Scan"), "{filter:?}:\n{plan}");
        }
    }
}

#[tokio::test]
async fn unchanged_resource_answers_304() {
    let app = TestApp::start().await;
    let id = app.accepted("status-7-then-pass").await;
    app.settled(&id).await;
    for path in ["", "/decisions", "/results", "/timeline"] {
        let path = format!("/v1/verifications/{id}{path}");
        app.numbered(&id).await;
        let first = app.get(&path).await;
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(first.headers["cache-control"], "private, no-cache");
        let again = |tag: String| {
            let request = app.client.get(app.at(&path)).header("if-none-match", tag);
            app.send(request)
        };
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let reply = again(known).await;
            assert_eq!((reply.status, reply.text.as_str()), (304, ""), "{path}");
            assert_eq!(reply.headers["etag"], tag);
        }
        assert_eq!(again("\"other\"".to_owned()).await.status, 200);
        app.clock.advance(Duration::from_secs(1));
        app.post(callback("status-7-then-pass", app.clock.now())).await;
        app.settled(&id).await;
        if path.ends_with("timeline") {
            assert_eq!(again(tag).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn dead_letters_are_refetched_together() {
    let app = TestApp::start().await;
    for biz_id in ["invalidbiz-1-then-pass-a", "invalidbiz-1-then-pass-b", "invalidbiz-c"] {
        assert_eq!(app.verified(biz_id).await["state"], "failed");
    }
    assert_eq!(app.verified("expired-1-then-pass-d").await["state"], "expired");
    let path = "/v1/verifications/refetch";
    let refetch = |body: serde_json::Value| {
        let request = app.client.post(app.at(path)).header("content-type", "application/json");
        app.send(request.body(body.to_string()))
    };
    let nobody = serde_json::json!({ "state": "failed", "error_code": "Other" });
    assert_eq!(refetch(nobody).await.json["refetched"], 0);
    for (body, pointer) in [
        (serde_json::json!({}), "/state"),
        (serde_json::json!({ "state": "decided" }), "/state"),
        (serde_json::json!({ "state": "failed", "since": "x" }), ""),
    ] {
        let reply = refetch(body).await;
        reply.assert_problem(422, "invalid-field");
        assert_eq!(reply.json["errors"][0]["pointer"], pointer);
    }
    let some = serde_json::json!({ "state": "failed", "error_code": "InvalidParam.InvalidBiz" });
    let reply = refetch(some).await;
    assert_eq!((reply.status, reply.json["refetched"].as_i64()), (202, Some(3)), "{reply:?}");
    assert_eq!(reply.json["more"], false);
    for (biz_id, state) in [
        ("invalidbiz-1-then-pass-a", "decided"),
        ("invalidbiz-1-then-pass-b", "decided"),
        ("invalidbiz-c", "failed"),
        ("expired-1-then-pass-d", "expired"),
    ] {
        let found = app.get(&format!("/v1/verifications?biz_type=test&biz_id={biz_id}")).await;
        let id = found.json["items"][0]["id"].as_str().unwrap();
        assert_eq!(app.settled(id).await["state"], state, "{biz_id}");
    }

    let environment = [("DATABASE_URL", app.database.url.as_str())];
    // The old name of the command still works.
    let dry = ["redrive", "--state", "expired", "--dry-run"];
    let (code, out, error) = run_verdict(&dry, &environment).await;
    assert_eq!((code, out.trim()), (0, "1 would be refetched"), "{error}");
    let real = ["refetch", "--state", "expired", "--purpose", "records are back", "--json"];
    let (code, out, error) = run_verdict(&real, &environment).await;
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("\"refetched\":1"), "{out}");
    let found = app.get("/v1/verifications?biz_type=test&biz_id=expired-1-then-pass-d").await;
    let id = found.json["items"][0]["id"].as_str().unwrap();
    assert_eq!(app.settled(id).await["state"], "decided");
    let (_, audit, _) = run_verdict(&["audit", "list", "--json"], &environment).await;
    assert_eq!(audit.matches("verification.refetch").count(), 4, "{audit}");
    assert!(audit.contains("records are back"));
}
