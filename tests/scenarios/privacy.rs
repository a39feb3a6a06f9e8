//! No personal data and no secret in logs, metrics, spans, the object store or a dump of the
//! database.

use std::path::Path;

use crate::harness::{
    Collector, Options, Setting, assert_no_person, callback, dump, eventually, mark_in_bytes, now,
};

#[tokio::test]
async fn no_log_level_shows_personal_data() {
    let collector = Collector::start().await;
    let more = format!("[log]\nfilter = \"trace\"\n{}", collector.configuration());
    let folder = tempfile::TempDir::new().expect("a folder");
    let images = format!("store = \"file://{}\"", folder.path().display());
    let options = Options { more, images, fixed_clock: false, ..Options::default() };
    let setting = Setting::new(options).await;
    let process = setting.serve().await;
    let biz_ids = [
        "pass-97",
        "status-7",
        "quit-2-then-pass-97",
        "throttled-1-then-pass-97",
        "html-1-then-pass-97",
        "garbage",
        "invalidbiz",
        "expired",
        "http-503-x1-then-pass-97",
        "torn-1-then-pass-97",
        "strings-pass-96",
        "xml-pass-96",
        "envelope-pass-96",
        "error200-NoSuchCode-x1-then-pass-97",
        "error200-Invalid110101199003077777-x1-then-pass-97",
        "error-SignatureDoesNotMatch-x1-then-pass-97",
        "pass-97-deadimages",
    ];
    for biz_id in biz_ids {
        let message = callback(biz_id, now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;
    let pool = setting.database.pool().await;
    eventually("the images are settled, except those with refreshed links", || async {
        let count = "select count(*) from tasks where minted = 0 and asked_again_at is null";
        let open: i64 = sqlx::query_scalar(count).fetch_one(&pool).await.expect("a count");
        (open == 0).then_some(())
    })
    .await;
    // One caller reads the person, one is refused, and the person is erased: each is audited.
    let found = setting.get(process.http, "/v1/verifications?biz_type=test&biz_id=pass-97").await;
    let id = found.json["items"][0]["id"].as_str().expect("its id").to_owned();
    let path = format!("/v1/verifications/{id}/material");
    let why = ("verdict-purpose", "appeal 4711");
    let shown = setting.ask("GET", process.http, &path, &[why]).await;
    assert!(crate::harness::person_in(&shown.text, &[]).is_some(), "the person is shown");
    let face = format!("/v1/verifications/{id}/images/face");
    let face = setting.ask("GET", process.http, &face, &[why]).await;
    assert!((face.status, face.text.contains("JFIF")) == (200, true), "the face is shown");
    let listed = setting.get(process.http, &format!("/v1/verifications/{id}/images")).await;
    let number = shown.json["number"].as_str().expect("the number").to_owned();
    let refused = setting.ask("GET", process.http, &path, &[]).await;
    let (_, erased, complaints) =
        setting.run(&["erase", "--person", "--purpose", "request 12"], &number).await;
    let (_, audit, _) = setting.run(&["audit", "list", "--json"], "").await;
    let gone = setting.ask("GET", process.http, &path, &[why]).await;
    for (what, text) in [
        ("a refusal", &refused.text),
        ("the receipts", &erased),
        ("what a command says", &complaints),
        ("the audit", &audit),
        ("the list of images", &listed.text),
        ("the answer about an erased person", &gone.text),
    ] {
        assert_no_person(what, text, &[&setting.api_key]);
    }
    assert!(audit.contains("material.read") && erased.contains("\"data_keys\":1"));
    let metrics = setting.get(process.operations, "/metrics").await;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    let secrets = ["provider-secret", "dGhlc2UgdGhpcnR5", &setting.api_key];
    assert!(log.contains("\"message\":\"fetch\""), "the log is there");
    assert_no_person("the log", &log, &secrets);
    let spans = collector.spans();
    for name in ["POST /v1/callbacks/{source}", "fetch", "call", "decide", "write", "images"] {
        assert!(spans.iter().any(|span| span.name == name), "{name} is exported");
    }
    // The bytes themselves: also what the decoder passes over.
    assert_eq!(mark_in_bytes(&collector.bytes(), &secrets), None, "the spans");
    assert_eq!(mark_in_bytes(format!("{spans:?}").as_bytes(), &secrets), None, "the spans");
    assert_no_person("the metrics", &metrics.text, &secrets);
    let codes = "select distinct error_code from results where error_code like 'Invalid%#'";
    let codes: Vec<String> = sqlx::query_scalar(codes).fetch_all(&pool).await.expect("codes");
    assert_eq!(codes, ["Invalid##################"], "an invented code, masked");
    assert!(!log.contains("\"code\":\"Invalid1"), "a number in an invented code");
    assert!(!metrics.text.contains("Invalid1"), "a number in an invented code");
    let kept = everything_below(folder.path());
    assert!(kept.len() > 10_000, "the object store is there");
    assert_no_person("the object store", &kept, &secrets);
    for mark in ["JFIF", "IHDR"] {
        assert!(!kept.contains(mark), "the object store holds an image in the clear");
    }
    let dump = dump(&setting.database.url);
    assert!(dump.contains("INSERT INTO public.results"), "the dump is there");
    assert_no_person("the dump", &dump, &secrets);
}

/// Names and contents of all files.
fn everything_below(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all += &everything_below(&path);
        } else {
            all += &path.to_string_lossy();
            all += &String::from_utf8_lossy(&std::fs::read(&path).expect("a file"));
        }
    }
    all
}
