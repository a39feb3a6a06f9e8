//! An attacker with all tables after an erasure tries to find the person again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cloudauth_sandbox::scenario::{Behaviour, CardEnd, Person, Scenario};
use policy::Policy;
use policy::card_days::CARD_DAYS_EDGES;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use time::OffsetDateTime;
use time::macros::datetime;
use verdict::domain::clock::Clock;
use verdict::domain::erasure::REMAINING;
use verdict::domain::ids::VerificationId;
use verdict::store::audit::AuditContext;
use verdict::store::policies::Use;

use crate::harness::{
    Callback, Database, Options, Reply, Setting, TestApp, callback, dump, eventually, make_key,
    new_database, now,
};
use crate::roles::user;
use verdict::http::api_key_auth::Scope;

const START: OffsetDateTime = datetime!(2026-11-23 09:30 UTC);
const WHY: (&str, &str) = ("verdict-purpose", "request 4711");
/// A policy whose reasons repeat the age, the card's days and every score.
const CURIOUS: &str = r#"
[[rule]]
id = "adult"
reason = "adult"
outcome = "approve"
text = { zh = "成年。", en = "An adult." }
when = { all = [{ field = "status", eq = 1 }, { field = "age_years", ge = 18 }] }

[[rule]]
id = "card-is-valid"
reason = "card-is-valid"
outcome = "approve"
text = { zh = "证件有效。", en = "The card is valid." }
when = { all = [
    { field = "status", eq = 1 },
    { field = "card_days_left", ge = 0 },
    { field = "authority_score", ge = 0 },
    { field = "face_score", ge = 0 },
    { field = "id_card_face_score", ge = 0 },
] }
"#;
/// No person may be in a smaller group of candidates.
const CROWD: usize = 5;
/// People of each cohort.
const COHORT: usize = 8;

/// An invented person, as the attacker knows them.
struct Invented {
    biz_id: String,
    age: i32,
    card_days: i32,
    scores: [f64; 3],
    /// The personal data that no table may contain.
    marks: Vec<String>,
}

impl Invented {
    fn all() -> Vec<Self> {
        // Above 60, so that no time of day looks like a score.
        let cohorts = [(0, 91.0), (1, 71.0), (2, 61.0)];
        let people = cohorts.into_iter().flat_map(|(cohort, base)| {
            (0..COHORT).map(move |n| {
                let place = i32::try_from(cohort * COHORT + n).unwrap();
                let score = |which: f64| {
                    let exact =
                        base + f64::from(place % 8) + which * 0.111 + f64::from(place) * 0.001;
                    (exact * 10_000.0).round() / 10_000.0 + 0.000_3
                };
                let scores =
                    [score(1.0), score(2.0), score(3.0)].map(|s| (s * 10_000.0).round() / 10_000.0);
                Self {
                    // Says nothing: a biz_id is the caller's, and stays.
                    biz_id: format!("_{place:03}"),
                    age: 20 + place * 2,
                    card_days: 11 + place * 53,
                    marks: scores.iter().map(|score| format!("{score:.4}")).collect(),
                    scores,
                }
            })
        });
        people.collect()
    }

    fn cohort(&self) -> usize {
        self.biz_id[1..].parse::<usize>().unwrap() / COHORT
    }

    fn scenario(&self) -> Scenario {
        let status = if self.cohort() == 2 { 7 } else { 1 };
        let scores = self.scores.map(Some);
        Scenario {
            person: Person {
                identity: Some(format!("person{}", self.biz_id)),
                card_end: CardEnd::Days(self.card_days),
                birth: Some(format!("{}0703", 2026 - self.age)),
                ..Person::default()
            },
            ..Scenario::always(Behaviour::Result { status, scores })
        }
    }
}

/// The default policy without its examples, which more rules or milder ones would not meet.
fn default_rules() -> &'static str {
    let text = include_str!("../../config/policy.toml");
    text.find("[[example]]").map_or(text, |examples| &text[..examples])
}

fn audit_context() -> AuditContext {
    AuditContext { actor: "cli:tester".to_owned(), purpose: Some("asked to".to_owned()), at: START }
}

/// A database in which a curious policy decides, and another one beside it.
async fn curious() -> Database {
    let database = new_database().await;
    let store = database.store();
    let default = default_rules();
    for (name, kind) in [("curious", None), ("beside", Some(Use::Shadow))] {
        let text = default.replace("name = \"default\"", &format!("name = \"{name}\""));
        let text = format!("{text}{CURIOUS}");
        let policy = Policy::load(&text).unwrap_or_else(|findings| panic!("{findings:#?}"));
        match kind {
            None => {
                store
                    .policies()
                    .seed_policy(policy.digest(), policy.name(), &text, START)
                    .await
                    .unwrap();
            }
            Some(kind) => {
                store
                    .policies()
                    .add_policy(policy.digest(), policy.name(), &text, &audit_context())
                    .await
                    .unwrap();
                store
                    .policies()
                    .use_policy(kind, "", Some(policy.digest()), None, &audit_context())
                    .await
                    .unwrap();
            }
        }
    }
    database
}

async fn ask(app: &TestApp, method: &str, path: &str, body: Option<Value>) -> Reply {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let url = format!("http://{}{path}", app.http);
    let mut request =
        app.client.request(method, url).bearer_auth(&app.api_key).header(WHY.0, WHY.1);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    Reply::read(request.send().await.unwrap()).await
}

/// Every row of every table, with the table's name.
async fn all_rows(pool: &PgPool) -> Vec<(String, serde_json::Map<String, Value>)> {
    // Each partition by itself, under the name of its table.
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, coalesce(p.relname, c.relname)::text
         from pg_class c left join pg_inherits i on i.inhrelid = c.oid
             left join pg_class p on p.oid = i.inhparent
         where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for (table, name) in tables {
        let rows: Vec<Value> =
            sqlx::query_scalar(AssertSqlSafe(format!("select to_jsonb(t) from \"{table}\" t")))
                .fetch_all(pool)
                .await
                .unwrap();
        all.extend(rows.into_iter().map(|row| match row {
            Value::Object(row) => (name.clone(), row),
            other => panic!("{other}"),
        }));
    }
    all
}

/// Ids of results and decisions, and whose they are.
fn owners(rows: &[(String, serde_json::Map<String, Value>)]) -> HashMap<String, String> {
    let mut owners = HashMap::new();
    for (table, row) in rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        match (table.as_str(), text("id"), text("verification_id")) {
            ("verifications", Some(id), _) => owners.insert(id.clone(), id),
            ("results" | "decisions", Some(id), Some(of)) => owners.insert(id, of),
            _ => None,
        };
    }
    owners
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == "\\x"
}

/// The service shows no card date, even before any erasure.
async fn card_dates_are_nowhere(app: &TestApp, id: &str, person: &Invented) {
    let said = [app.results(id).await, app.decisions(id).await].concat();
    let mut shown = Vec::new();
    let mut walk: Vec<&Value> = said.iter().collect();
    while let Some(value) = walk.pop() {
        if let Some(days) = value.get("card_days_left").and_then(Value::as_i64) {
            shown.push(days);
        }
        if value["field"] == "card_days_left" {
            shown.extend(value["value"].as_i64());
        }
        walk.extend(value.as_object().into_iter().flat_map(|map| map.values()));
        walk.extend(value.as_array().into_iter().flatten());
    }
    assert!(!shown.is_empty());
    for days in shown {
        // With the day of the answer, an interval of a week or more, and not a date.
        let place = CARD_DAYS_EDGES.iter().position(|edge| *edge == days).expect("an edge");
        let reached = CARD_DAYS_EDGES[place] <= i64::from(person.card_days);
        let next = CARD_DAYS_EDGES.get(place + 1);
        assert!(reached && next.is_none_or(|next| i64::from(person.card_days) < *next));
    }
}

#[tokio::test]
async fn erased_person_is_found_in_no_table() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let options = Options { images, database: Some(curious().await), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let pool = app.database.pool().await;
    let mut people = Invented::all();
    let mut ids = Vec::new();
    for person in &people {
        app.provider.set_scenario(&person.biz_id, person.scenario());
        let body = json!({ "biz_type": "test", "biz_id": person.biz_id,
            "reference": format!("user-of-{}", person.biz_id),
            "client": { "audit": "AUDIT_PASS", "platform": "ios" } });
        let reply = app.post(Callback::signed(&body.to_string(), app.clock.now())).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        ids.push(reply.id());
    }
    for (person, id) in people.iter_mut().zip(&ids) {
        app.settled(id).await;
        card_dates_are_nowhere(&app, id, person).await;
        person.marks.push(format!("user-of-{}", person.biz_id));
        let results = app.results(id).await;
        person.marks.push(results[0]["request_id"].as_str().unwrap().to_owned());
        let material = ask(&app, "GET", &format!("/v1/verifications/{id}/material"), None).await;
        for name in ["name", "number"] {
            person.marks.push(material.json[name].as_str().unwrap().to_owned());
        }
        if person.cohort() == 1 {
            let review = json!({ "outcome": "approve", "reason": "looks-right",
                "note": format!("{:1$}", "known to me", 20 + usize::try_from(person.card_days).unwrap() % 50) });
            let path = format!("/v1/verifications/{id}/reviews");
            assert_eq!(ask(&app, "POST", &path, Some(review)).await.status, 201);
        }
    }
    eventually("all images are kept", || async {
        let kept: i64 = sqlx::query_scalar("select count(*) from images where state = 'archived'")
            .fetch_one(&pool)
            .await
            .unwrap();
        (kept == i64::try_from(people.len() * 4).unwrap()).then_some(())
    })
    .await;
    // Blind indexes and digests of images.
    let digests: Vec<(String, String)> = sqlx::query_as(
        "select verification_id::text, encode(person, 'hex') from material
         union select verification_id::text, encode(sha256, 'hex') from images",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    for (of, digest) in digests {
        let place = ids.iter().position(|id| *id == of).unwrap();
        people[place].marks.push(digest);
    }
    let before = dump(&app.database.url);
    let seen =
        |dump: &str, person: &Invented| person.marks.iter().filter(|m| dump.contains(*m)).count();
    // Scores, reference, request id, blind index: the attack finds what is there.
    assert!(people.iter().all(|person| seen(&before, person) >= 6));

    for id in &ids {
        let path = format!("/v1/verifications/{id}/material");
        let receipt = ask(&app, "DELETE", &path, None).await;
        assert_eq!(receipt.status, 202, "{receipt:?}");
        assert!(receipt.json["coarsened_at"].is_string());
        assert_eq!(receipt.json["remains"], serde_json::to_value(REMAINING).unwrap());
        let results = app.results(id).await;
        assert_eq!(results[0]["coarsened"], true);
        for gone in ["evidence", "request_id"] {
            assert_eq!(results[0][gone], Value::Null, "{gone}");
        }
        assert!(results[0]["scores"].as_object().unwrap().values().all(Value::is_null));
        for decision in app.decisions(id).await {
            for reason in decision["explanation"].as_array().unwrap() {
                assert_eq!(reason["observed"], json!([]));
            }
        }
    }
    eventually("the objects are deleted", || async {
        let open: i64 =
            sqlx::query_scalar("select count(*) from erasures where completed_at is null")
                .fetch_one(&pool)
                .await
                .unwrap();
        (open == 0).then_some(())
    })
    .await;

    let after = dump(&app.database.url);
    for (n, person) in people.iter().enumerate() {
        let found = person.marks.iter().position(|mark| after.contains(mark));
        assert_eq!(found, None, "person {n} is found by one of their marks");
    }
    let rows = all_rows(&pool).await;
    nobody_stands_alone(&rows, &ids, &people);
    the_receipt_lists_all_that_remains(&rows, &ids);
}

/// By everything but ids and times, which nobody outside knows, each person is one of a crowd.
fn nobody_stands_alone(
    rows: &[(String, serde_json::Map<String, Value>)],
    ids: &[String],
    people: &[Invented],
) {
    let owners = owners(rows);
    let unlinked = |name: &str, value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let is_time = name.ends_with("_at") || name == "at";
        let is_id = uuid::Uuid::try_parse(text).is_ok();
        !is_time
            && !is_id
            && ![
                "biz_id",
                "message_id",
                "position",
                "xid",
                "number",
                "previous",
                "digest",
                "salt",
                "details",
            ]
            .contains(&name)
    };
    let mut crowds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (table, row) in rows {
        let owner = row.values().filter_map(Value::as_str).find_map(|text| owners.get(text));
        let Some(owner) = owner else { continue };
        let rest: BTreeMap<&String, &Value> =
            row.iter().filter(|(name, value)| unlinked(name, value)).collect();
        crowds.entry(owner).or_default().insert(format!("{table} {}", json!(rest)));
    }
    let mut sizes: HashMap<&BTreeSet<String>, usize> = HashMap::new();
    for id in ids {
        *sizes.entry(&crowds[id.as_str()]).or_default() += 1;
    }
    for (n, id) in ids.iter().enumerate() {
        let size = sizes[&crowds[id.as_str()]];
        assert!(size >= CROWD, "person {n} of {} stands in a crowd of {size}", people.len());
    }
}

/// Each column that still says something about an erased verification is in the receipt.
fn the_receipt_lists_all_that_remains(
    rows: &[(String, serde_json::Map<String, Value>)],
    ids: &[String],
) {
    let owners = owners(rows);
    let erased: BTreeSet<&String> = ids.iter().collect();
    let mut unlisted = BTreeSet::new();
    for (table, row) in rows {
        let owner = row.values().filter_map(Value::as_str).find_map(|text| owners.get(text));
        if !owner.is_some_and(|owner| erased.contains(owner)) {
            continue;
        }
        let listed = REMAINING.iter().find(|of| of.table == table);
        for (column, _) in row.iter().filter(|(_, value)| !is_empty(value)) {
            if !listed.is_some_and(|listed| listed.columns.contains(&column.as_str())) {
                unlisted.insert(format!("{table}.{column}"));
            }
        }
    }
    assert!(unlisted.is_empty(), "kept after an erasure and not in the receipt: {unlisted:?}");
}

async fn refused(pool: &PgPool, statement: &str) -> String {
    let mut connection = pool.acquire().await.unwrap();
    let outcome =
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await;
    // It may have begun a transaction.
    let _ = sqlx::raw_sql("rollback").execute(&mut *connection).await;
    match outcome {
        Ok(_) => panic!("not refused: {statement}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn only_erased_evidence_is_coarsened_and_nothing_else() {
    let app = TestApp::start().await;
    let [kept, erased] = [app.verified("pass-97").await, app.verified("pass-96").await];
    let [kept, erased] = [&kept, &erased].map(|of| of["id"].as_str().unwrap());
    let path = format!("/v1/verifications/{erased}/material");
    assert_eq!(ask(&app, "DELETE", &path, None).await.status, 202);
    let pool = app.database.pool().await;

    // Not even the owner can coarsen a person who was not erased.
    let nobody = uuid::Uuid::nil().to_string();
    for id in [kept, nobody.as_str()] {
        let said = refused(&pool, &format!("select verdict_coarsen_erased('{id}')")).await;
        assert!(said.contains("only what was erased is coarsened"), "{said}");
    }
    // Neither with an erasure that no verification knows of, nor the other way round.
    let said = refused(
        &pool,
        &format!(
            "begin; alter table erasures disable trigger user;
             insert into erasures (verification_id, requested_at, requested_by, purpose)
             values ('{kept}', now(), 'me', 'x'); select verdict_coarsen_erased('{kept}')"
        ),
    )
    .await;
    assert!(said.contains("only what was erased is coarsened"), "{said}");

    // As for roles: those who erase may, and only for the erased; their own tables mislead nobody.
    for (role, may) in [
        ("verdict_api", true),
        ("verdict_worker", true),
        ("verdict_ingest", false),
        ("verdict_reader", false),
    ] {
        let as_role = user(&app.database, role).await.pool().await;
        let mut connection = as_role.acquire().await.unwrap();
        let shadows = format!(
            "create temporary table erasures as select '{kept}'::uuid as verification_id;
             create temporary table verifications as select '{kept}'::uuid as id, 'erased' as state;
             set search_path = pg_temp, public"
        );
        // A role that may not make temporary tables goes on without.
        let _ = sqlx::raw_sql(AssertSqlSafe(shadows)).execute(&mut *connection).await;
        let attack = format!("select public.verdict_coarsen_erased('{kept}')");
        let said =
            sqlx::raw_sql(AssertSqlSafe(attack)).execute(&mut *connection).await.unwrap_err();
        let expected = if may { "only what was erased is coarsened" } else { "permission denied" };
        assert!(said.to_string().contains(expected), "{role}: {said}");
        let proper = format!("select public.verdict_coarsen_erased('{erased}')");
        let done = sqlx::raw_sql(AssertSqlSafe(proper)).execute(&mut *connection).await;
        assert_eq!(done.is_ok(), may, "{role}");
        for function in ["verdict_erased_evidence(null)", "verdict_erased_reasons('[]')"] {
            let select = AssertSqlSafe(format!("select public.{function}"));
            let _ = sqlx::raw_sql(select).execute(&mut *connection).await;
        }
        for table in ["results", "decisions", "shadow_decisions", "reviews"] {
            let update = format!("update public.{table} set verification_id = verification_id");
            let said = refused(&as_role, &update).await;
            assert!(said.contains("permission denied"), "{role}: {said}");
        }
    }

    // The one edit that history allows is exactly this one, for exactly these rows.
    let coarse = "set request_id = null, authority_score = null, face_score = null,
        id_card_face_score = null, sealed_body = '', coarsened = true,
        evidence = verdict_erased_evidence(evidence)";
    for edit in [
        format!("update results {coarse} where verification_id = '{kept}'"),
        format!("update results {coarse}, verify_status = 7 where verification_id = '{erased}'"),
        format!("update results set evidence = '{{}}' where verification_id = '{erased}'"),
        format!("update results set coarsened = false where verification_id = '{erased}'"),
        format!("update results set fetched_at = now() where verification_id = '{erased}'"),
        format!("update decisions set outcome = 'reject' where verification_id = '{erased}'"),
        format!("update decisions set reasons = '[]' where verification_id = '{erased}'"),
        format!(
            "update decisions set reasons = verdict_erased_reasons(reasons)
             where verification_id = '{kept}'"
        ),
    ] {
        let said = refused(&pool, &edit).await;
        assert!(said.contains("never edited"), "{edit}: {said}");
    }
    // A receipt does not say that something was coarsened which was not.
    let untrue = format!(
        "begin; alter table verifications disable trigger user; alter table erasures disable trigger erasures_on_record;
         update verifications set state = 'erased' where id = '{kept}';
         insert into erasures (verification_id, requested_at, requested_by, purpose)
         values ('{kept}', now(), 'me', 'x');
         update erasures set coarsened_at = now() where verification_id = '{kept}'"
    );
    let untrue = untrue.replace(" alter table erasures disable trigger erasures_on_record;", "");
    let said = refused(&pool, &untrue).await;
    assert!(said.contains("a receipt cannot say"), "{said}");
    assert_eq!(app.results(kept).await[0]["coarsened"], false);
}

/// Erases as the version before did: exact evidence stays.
const AS_BEFORE: &str = "
    alter table verifications disable trigger user;
    alter table erasures disable trigger user;
    update verifications set state = 'erased', closed = true, reference = null, due_at = null
        where biz_id like 'old-%';
    insert into erasures (verification_id, requested_at, requested_by, purpose, unreadable_at, completed_at)
        select id, now(), 'cli:tester', 'asked to', now(), now() from verifications
        where biz_id like 'old-%';
    alter table verifications enable trigger user;
    alter table erasures enable trigger user;";

#[tokio::test]
async fn earlier_erasures_are_coarsened_while_serving() {
    let app = TestApp::start().await;
    let (kept, old) = (app.verified("pass-95").await, app.verified("old-1").await);
    let pool = app.database.pool().await;
    // More than one batch.
    let many = "
        insert into verifications select (jsonb_populate_record(v, jsonb_build_object(
                'id', gen_random_uuid(), 'biz_id', 'old-copy-' || n))).*
            from verifications v, generate_series(1, 250) n where v.biz_id = 'old-1';
        insert into results select (jsonb_populate_record(r, jsonb_build_object(
                'id', gen_random_uuid(), 'verification_id', v.id))).*
            from verifications v, results r where v.biz_id like 'old-copy-%'
                and r.verification_id = (select id from verifications where biz_id = 'old-1')";
    sqlx::raw_sql(&*format!("{many};{AS_BEFORE}").leak()).execute(&pool).await.unwrap();
    // A worker's first round comes with its start.
    let provider = crate::harness::provider(&Clock::fixed(START)).await;
    let _another = app.another(Options::default(), provider.1).await;
    eventually("all are coarsened", || async {
        let open: i64 =
            sqlx::query_scalar("select count(*) from erasures where coarsened_at is null")
                .fetch_one(&pool)
                .await
                .unwrap();
        (open == 0).then_some(())
    })
    .await;
    let left: (i64, i64) = sqlx::query_as(
        "select count(*) filter (where request_id is not null or sealed_body <> ''
                or evidence #>> '{scores,authority}' is not null or authority_score is not null),
            count(*) filter (where coarsened)
         from results r join erasures using (verification_id)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, (0, 251));
    let old = app.decisions(old["id"].as_str().unwrap()).await;
    assert_eq!(old[0]["explanation"][0]["observed"], json!([]));
    let kept = app.results(kept["id"].as_str().unwrap()).await;
    assert!(kept[0]["request_id"].is_string() && kept[0]["coarsened"] == false);
}

#[tokio::test]
async fn replay_skips_and_counts_erased_persons() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for biz_id in ["pass-97-a", "pass-75-b", "status-7-c"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let found = "/v1/verifications?biz_type=test&biz_id=pass-75-b";
    let found = setting.get(process.http, found).await;
    let id = found.json["items"][0]["id"].as_str().unwrap();
    let (code, receipt, error) =
        setting.run(&["erase", "--verification", id, "--purpose", "request 12"], "").await;
    assert_eq!(code, 0, "{error}");
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    assert!(receipt["coarsened_at"].is_string());
    assert_eq!(receipt["remains"], serde_json::to_value(REMAINING).unwrap());

    let folder = tempfile::TempDir::new().unwrap();
    let candidate = folder.path().join("candidate.toml");
    let milder = default_rules().replace("far-0.01%", "far-1%");
    std::fs::write(&candidate, milder.replace("\"default\"", "\"milder\"")).unwrap();
    let page = folder.path().join("report.html");
    let (candidate, page) = (candidate.display().to_string(), page.display().to_string());
    let told = async |arguments: &[&str]| -> (i32, Value) {
        let arguments = [arguments, &["--json", "--full-speed"]].concat();
        let (code, said, error) = setting.run(&arguments, "").await;
        (
            code,
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?} {said} {error}")),
        )
    };
    let (code, replayed) = told(&["policy", "replay"]).await;
    assert_eq!((code, &replayed["differences"]), (0, &json!(0)), "{replayed}");
    assert_eq!((&replayed["decisions"], &replayed["erased"]), (&json!(2), &json!(1)));
    let (_, tried) = told(&["policy", "backtest", &candidate, "--html", &page]).await;
    assert_eq!((&tried["decisions"], &tried["erased"]), (&json!(2), &json!(1)), "{tried}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("1 more was skipped"));
    let (_, looked) = told(&["policy", "calibrate"]).await;
    assert_eq!((&looked["answers"], &looked["erased"]), (&json!(2), &json!(1)), "{looked}");
    let (_, anew) = told(&["policy", "redecide", "--purpose", "CR 12"]).await;
    assert_eq!((&anew["looked_at"], &anew["erased"]), (&json!(2), &json!(1)), "{anew}");
    let (_, said, _) = setting.run(&["policy", "replay", "--full-speed"], "").await;
    assert!(said.contains("1 more was skipped: the person was erased"), "{said}");

    // By the API as well, and no flip names them.
    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    let path = format!("/v1/policies/{}/backtests", digest.trim());
    let asked = setting.ask("POST", process.http, &path, &[WHY]).await;
    let at = asked.headers["location"].to_str().unwrap().to_owned();
    let done = eventually("the backtest is done", || async {
        let seen = setting.get(process.http, &at).await.json;
        (seen["state"] == "done").then_some(seen)
    })
    .await;
    assert_eq!(done["comparison"]["erased"], 1, "{done}");
    assert_eq!(done["comparison"]["decisions"], 2, "{done}");
    let flips = setting.get(process.http, &format!("{at}/flips")).await;
    assert_eq!(flips.json["items"], json!([]), "{flips:?}");
    process.kill().await;
}

#[tokio::test]
async fn results_scope_hides_card_dates_of_earlier_versions() {
    let app = TestApp::start().await;
    let id = app.verified("pass-97-cardexpires-45").await["id"].as_str().unwrap().to_owned();
    // As the version before stored it.
    let exact = "alter table results disable trigger user;
        update results set evidence = jsonb_set(evidence, '{card_days_left}', '45');
        alter table results enable trigger user;
        alter table decisions disable trigger user;
        update decisions set reasons = jsonb_set(reasons, '{0,observed}',
            '[{\"field\": \"card_days_left\", \"value\": 45, \"operator\": \"ge\", \"bound\": 31}]')";
    sqlx::raw_sql(exact).execute(&app.database.pool().await).await.unwrap();
    let key = make_key(&app.store, &[Scope::ResultsRead, Scope::DecisionsRead]).await;
    let results = app.get_as(&format!("/v1/verifications/{id}/results"), &key).await;
    assert_eq!(results.json["items"][0]["evidence"]["card_days_left"], 30, "{results:?}");
    let decisions = app.get_as(&format!("/v1/verifications/{id}/decisions"), &key).await;
    let observed = &decisions.json["items"][0]["explanation"][0]["observed"][0];
    assert_eq!(observed["value"], 30, "{decisions:?}");
    // It still reads, and is replayed as it was stored.
    let id: VerificationId = id.parse().unwrap();
    let stored = app.store.results().results_of(id).await.unwrap();
    assert_eq!(stored[0].evidence.as_ref().unwrap().card_days_left, Some(45));
}
