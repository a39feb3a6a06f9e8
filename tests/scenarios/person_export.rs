//! `verdict person export`: all that is held of a person, on record.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Options, Setting, callback, eventually, new_database, now};

const WHY: (&str, &str) = ("verdict-purpose", "appeal 4711");
const FACE: &[u8] = include_bytes!("../../crates/cloudauth-sandbox/src/pictures/face.jpg");

/// Tables with rows about a verification that no export has, each with its reason.
const LEFT_OUT: [(&str, &str); 6] = [
    ("data_keys", "keys, without which nothing could be exported"),
    ("erasures", "the number of an erased person finds nothing"),
    ("provider_deletions", "part of an erasure"),
    ("event_notes", "what becomes an event at once: see events"),
    ("tasks", "work under way: links that expire in minutes"),
    ("webhook_pending", "deliveries that are still to be made: see events"),
];

#[tokio::test]
async fn export_holds_everything_about_the_person_and_is_on_record() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let options = Options { fixed_clock: false, images, ..Options::default() };
    let setting = Setting::new(options).await;
    let process = setting.serve().await;
    for biz_id in ["pass-97-person-5-a", "status-7-person-5-b", "pass-97-person-6"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let pool = setting.database.pool().await;
    eventually("all images are kept", || async {
        let open: i64 =
            sqlx::query_scalar("select count(*) from tasks").fetch_one(&pool).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
    let view = |biz_id: &str| format!("/v1/verifications?biz_type=test&biz_id={biz_id}");
    let found = setting.get(process.http, &view("status-7-person-5-b")).await;
    let reviewed = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    let review = json!({ "outcome": "approve", "reason": "looks-right", "note": "known to me" });
    let request = setting
        .client
        .post(format!("http://{}/v1/verifications/{reviewed}/reviews", process.http))
        .bearer_auth(&setting.api_key)
        .header("content-type", "application/json")
        .body(review.to_string());
    assert_eq!(request.send().await.unwrap().status().as_u16(), 201);
    let path = format!("/v1/verifications/{reviewed}/material");
    let material = setting.ask("GET", process.http, &path, &[WHY]).await.json;
    let number = material["number"].as_str().unwrap();

    let export = ["person", "export", "--purpose", "request 4711"];
    let (code, said, error) = setting.run(&export, &format!("{number}\n")).await;
    assert_eq!(code, 0, "{error}");
    assert!(!error.contains(number), "{error}");
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["purpose"], "request 4711");
    let verifications = document["verifications"].as_array().unwrap();
    let names: BTreeSet<&str> =
        verifications.iter().map(|one| one["verification"]["biz_id"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["pass-97-person-5-a", "status-7-person-5-b"]));
    for one in verifications {
        let result = &one["results"][0];
        assert_eq!(result["person"]["number"], *number);
        assert!(result["body"]["Material"].is_object(), "{}", result["body"]);
        assert!(result["evidence"].is_object());
        let face = one["images"]
            .as_array()
            .unwrap()
            .iter()
            .find(|image| image["kind"] == "face")
            .expect("a face");
        let bytes = STANDARD.decode(face["content_base64"].as_str().unwrap()).unwrap();
        assert_eq!(bytes, FACE);
        for list in ["callbacks", "decisions", "events", "legal_holds", "audit", "deliveries"] {
            assert!(one[list].is_array(), "{list}: {}", one[list]);
        }
        assert_eq!(one["callbacks"].as_array().unwrap().len(), 1);
    }
    let reviews = verifications.iter().find_map(|one| one["reviews"].get(0)).unwrap();
    assert_eq!(reviews["note"], "known to me");

    let recorded: Vec<(String, Option<String>)> = sqlx::query_as(
        "select action, details from audit
         where action like 'person.%' and purpose = 'request 4711' order by position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let actions: Vec<&str> = recorded.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["person.look-up", "person.export", "person.export"]);
    assert_eq!(recorded[0].1.as_deref(), Some("{\"found\" : 2}"));

    let listed = ["person", "export", "--without-images", "--purpose", "r"];
    let (_, said, _) = setting.run(&listed, number).await;
    assert!(said.contains("\"kind\": \"face\"") && !said.contains("content_base64"));
    let (code, said, error) = setting.run(&export, "11010519491231002X").await;
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(error.contains("nothing is kept of this person"), "{error}");
    assert_eq!(setting.run(&export, "").await.0, 2);
    process.kill().await;
}

#[tokio::test]
async fn every_table_about_a_verification_is_exported_or_left_out_for_a_reason() {
    let database = new_database().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
             and not c.relispartition and a.attname = 'verification_id' and not a.attisdropped
         order by 1",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    assert!(tables.len() > 12, "{tables:?}");
    let read = concat!(
        include_str!("../../src/store/sql/persons_export.sql"),
        include_str!("../../src/store/persons.rs")
    );
    for table in tables {
        let exported = read.contains(&format!("from {table} "));
        let left_out = LEFT_OUT.iter().any(|(name, _)| *name == table);
        assert!(exported != left_out, "{table}: export it, or say why not");
    }
}
