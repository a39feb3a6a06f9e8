//! Nothing of a person, and no secret, in logs, metrics or a dump of the database.

use crate::harness::{Options, Setting, assert_no_person, callback, dump, now};

#[tokio::test]
async fn logs_and_database_hold_nothing_of_a_person_at_any_log_level() {
    let more = "[log]\nfilter = \"trace\"".to_owned();
    let setting = Setting::new(Options { more, fixed_clock: false, ..Options::default() }).await;
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
        "error-SignatureDoesNotMatch-x1-then-pass-97",
    ];
    for biz_id in biz_ids {
        let message = callback(biz_id, now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;
    let metrics = setting.get(process.operations, "/metrics").await;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    let secrets = ["provider-secret", "dGhlc2UgdGhpcnR5", &setting.api_key];
    assert!(log.contains("\"message\":\"fetch\""), "the log is there");
    assert_no_person("the log", &log, &secrets);
    assert_no_person("the metrics", &metrics.text, &secrets);
    let dump = dump(&setting.database.url);
    assert!(dump.contains("INSERT INTO public.results"), "the dump is there");
    assert_no_person("the dump", &dump, &secrets);
}
