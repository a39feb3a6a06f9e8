//! Every raw body is stored, and only sealed.

use sqlx::Row;
use uuid::Uuid;

use crate::harness::{Options, Setting, TestApp, callback, eventually, now, vault_secret};
use verdict::domain::ids::ResultId;
use verdict::vault::{Key, KeyRing, SealedAt, Vault, WrappedKey};

fn vault() -> Vault {
    let key = Key::parse("test", &vault_secret("test")).expect("a key");
    Vault::new(KeyRing::new(vec![key]).expect("a ring"))
}

async fn open(app: &TestApp, id: ResultId) -> String {
    let sealed = app.store.results().sealed_body(id).await.unwrap().expect("it is kept");
    let wrapped = WrappedKey { key_id: sealed.key_id, bytes: sealed.wrapped_key };
    let key = vault().open_data_key(sealed.verification_id, &wrapped).expect("the key opens");
    let body = key.open(SealedAt::ResultBody(id), &sealed.body).expect("the body opens");
    String::from_utf8_lossy(&body).into_owned()
}

#[tokio::test]
async fn sealed_bodies_open_only_with_the_key() {
    let app = TestApp::start().await;
    for (biz_id, contains) in [
        ("pass-97", "IdCardNumber"),
        ("garbage-1-then-pass-97", "{"),
        ("html-1-then-pass-97", "<html"),
        ("http-503-x1-then-pass-97", "ServiceUnavailable"),
    ] {
        let verification = app.verified(biz_id).await;
        let results = app.results(verification["id"].as_str().unwrap()).await;
        let first: Uuid = results[0]["id"].as_str().unwrap().parse().unwrap();
        let body = open(&app, ResultId(first)).await;
        assert!(body.to_lowercase().contains(&contains.to_lowercase()), "{biz_id}: {body}");
        // One key per verification, whatever the number of answers.
        let last: Uuid = results.last().unwrap()["id"].as_str().unwrap().parse().unwrap();
        assert!(open(&app, ResultId(last)).await.contains("VerifyStatus"));
    }
    let pool = app.database.pool().await;
    let keys: i64 =
        sqlx::query_scalar("select count(*) from data_keys").fetch_one(&pool).await.unwrap();
    assert_eq!(keys, 4);
    for row in sqlx::query("select sealed_body from results").fetch_all(&pool).await.unwrap() {
        let sealed: Vec<u8> = row.get("sealed_body");
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("RequestId") && !text.contains("测试") && !text.contains("html"));
    }
}

#[tokio::test]
async fn ciphertext_moved_to_another_row_does_not_open() {
    let app = TestApp::start().await;
    let a = app.verified("pass-97").await;
    let b = app.verified("quit-1-then-pass-97").await;
    let of = |verification: &serde_json::Value| {
        let id = verification["decision"]["result_id"].as_str().unwrap();
        ResultId(id.parse().unwrap())
    };
    let sealed = app.store.results().sealed_body(of(&a)).await.unwrap().unwrap();
    let wrapped = WrappedKey { key_id: sealed.key_id, bytes: sealed.wrapped_key };
    let key = vault().open_data_key(sealed.verification_id, &wrapped).unwrap();
    assert!(key.open(SealedAt::ResultBody(of(&a)), &sealed.body).is_ok());
    assert!(key.open(SealedAt::ResultBody(of(&b)), &sealed.body).is_err());
    // Nor does the key open for another verification.
    let other = app.store.results().sealed_body(of(&b)).await.unwrap().unwrap();
    assert!(vault().open_data_key(other.verification_id, &wrapped).is_err());
}

#[tokio::test]
async fn history_cannot_be_edited() {
    let app = TestApp::start().await;
    app.verified("pass-97").await;
    let pool = app.database.pool().await;
    for edit in [
        "update decisions set outcome = 'reject'",
        "update results set verify_status = 7",
        "update policies set body = ''",
        "update policy_activations set activated_by = 'nobody'",
    ] {
        let refused = sqlx::query(edit).execute(&pool).await.unwrap_err();
        assert!(refused.to_string().contains("never edited"), "{edit}: {refused}");
    }
}

#[tokio::test]
async fn missing_vault_key_reschedules_only_its_verifications() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    setting.options.vault_keys = &["other"];
    let with_other = setting.serve().await;
    // Another process with another first key, while the first process is stopped.
    with_other.signal("STOP").await;
    setting.options.vault_keys = &["test", "other"];
    let process = setting.serve().await;
    let message = callback("status-7-x1-then-pass-97", now());
    assert_eq!(process.post(&setting.client, message).await, Some(202));
    setting.drained().await;
    process.kill().await;

    // A process that could not open what is sealed does not even start, whatever it is for.
    setting.options.vault_keys = &["other"];
    for serve in [&["serve"][..], &["serve", "--role", "worker"], &["serve", "--role", "api"]] {
        let (code, _, error) = setting.run(serve, "").await;
        assert_eq!(code, 2, "{serve:?}: {error}");
        assert!(error.contains("vault.keys: the key test is missing"), "{serve:?}: {error}");
    }
    setting.options.vault_keys = &["third"];
    assert_eq!(setting.run(&["serve"], "").await.0, 2);
    let (code, needed, _) = setting.run(&["vault", "status"], "").await;
    // Under a line of headers.
    assert_eq!((code, needed.lines().count()), (1, 3), "a refused key is not needed: {needed}");
    // Nor does it help to say that nothing needs it: the data is asked.
    setting.options.vault_keys = &["other"];
    let pool = setting.database.pool().await;
    sqlx::query("update vault_keys set retired_at = now() where key_id = 'test'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(setting.run(&["serve"], "").await.0, 2);

    // A running process continues with everything that needs no missing key.
    let process = with_other;
    process.signal("CONT").await;
    for biz_id in ["status-7-x1-then-pass-97", "pass-97-new"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    let state = |biz_id: &'static str| {
        let pool = pool.clone();
        async move {
            let statement = "select state from verifications where biz_id = $1";
            sqlx::query_scalar::<_, String>(statement).bind(biz_id).fetch_one(&pool).await.unwrap()
        }
    };
    eventually("the other one is decided", || async {
        (state("pass-97-new").await == "decided").then_some(())
    })
    .await;
    assert_eq!(state("status-7-x1-then-pass-97").await, "pending");
    assert_eq!(setting.provider.queries("status-7-x1-then-pass-97"), 1);
    process.kill().await;

    // The old key behind the new one: all is well again.
    setting.options.vault_keys = &["other", "test"];
    let process = setting.serve().await;
    setting.drained().await;
    assert_eq!(setting.provider.queries("status-7-x1-then-pass-97"), 2);
    process.kill().await;
}
