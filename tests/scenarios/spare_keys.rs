//! A vault key that has sealed nothing, for example from a first start, can be replaced.

use verdict::domain::clock::Clock;
use verdict::http::api_key_auth::Scope;

use crate::harness::{
    Database, Options, Process, Setting, callback, eventually, make_key, new_database, now,
};
use crate::roles::user;

/// Longer than a key counts as in use after a process said so.
const LATER: i64 = 120;

/// Of nobody yet: migrated, and no API key made.
async fn fresh() -> Setting {
    let options = Options { vault_keys: &["spare"], fixed_clock: false, ..Options::default() };
    Setting::on(new_database().await, options, &Clock::system()).await
}

/// It has done all that it does by itself.
async fn settled(setting: &Setting, process: &Process) {
    eventually("its first upkeep is over", || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        metrics.contains("verdict_score_drift_psi").then_some(())
    })
    .await;
}

async fn served_once(setting: &Setting) {
    let process = setting.serve().await;
    settled(setting, &process).await;
    process.kill().await;
}

async fn refused(setting: &Setting, why: &str) {
    for serve in [&["serve"][..], &["serve", "--role", "worker"]] {
        let (code, _, error) = setting.run(serve, "").await;
        assert_eq!(code, 2, "{serve:?}: {error}");
        assert!(error.contains("the key spare is missing"), "{serve:?}: {error}");
        assert!(error.contains(why), "{serve:?}: {error}");
    }
    let (code, _, error) = setting.run(&["vault", "give-up"], "").await;
    assert!(code == 1 && error.contains(why), "{code}: {error}");
}

#[tokio::test]
async fn unused_vault_key_can_be_replaced() {
    let mut setting = fresh().await;
    served_once(&setting).await;
    setting.database.shift_clock(LATER).await;
    setting.options.vault_keys = &["kept"];
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    let (code, keys, _) = setting.run(&["vault", "status"], "").await;
    assert_eq!((code, keys.trim()), (0, "KEY   STATE\nkept  primary"));
    let log = process.kill().await;
    let said: Vec<&String> = log.iter().filter(|line| line.contains("was given up")).collect();
    assert!(said.len() == 1 && said[0].contains("spare"), "{said:?}");
    // The new key still opens what it wrapped. The next checkpoint signs the audit's first row too.
    make_key(&setting.database.store(), &Scope::ALL).await;
    served_once(&setting).await;
    let (code, said, error) = setting.run(&["audit", "verify", "--strict"], "").await;
    assert_eq!(code, 0, "{said}{error}");
}

#[tokio::test]
async fn vault_key_that_sealed_one_answer_is_needed() {
    let mut setting = fresh().await;
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    process.kill().await;
    setting.database.shift_clock(LATER).await;
    setting.options.vault_keys = &["kept"];
    refused(&setting, "data needs it: put it back").await;
    setting.options.vault_keys = &["spare"];
    setting.serve().await.kill().await;
}

#[tokio::test]
async fn vault_key_of_a_running_process_is_needed() {
    let mut setting = fresh().await;
    let process = setting.serve().await;
    setting.options.vault_keys = &["kept"];
    refused(&setting, "a process wrapped with it in the last minute").await;
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    process.kill().await;
}

#[tokio::test]
async fn vault_key_that_signed_the_audit_is_needed() {
    let mut setting = fresh().await;
    make_key(&setting.database.store(), &Scope::ALL).await;
    served_once(&setting).await;
    setting.database.shift_clock(LATER).await;
    setting.options.vault_keys = &["kept"];
    refused(&setting, "a checkpoint of the audit is signed").await;
}

#[tokio::test]
async fn owner_retires_a_vault_key_if_the_role_may_not() {
    let mut setting = fresh().await;
    let owner: Database = setting.database.clone();
    setting.database = user(&owner, "verdict_api, verdict_worker").await;
    served_once(&setting).await;
    owner.shift_clock(LATER).await;
    setting.options.vault_keys = &["kept"];
    refused(&setting, "run `verdict vault give-up` as the owner").await;
    setting.database = owner.clone();
    let (code, said, error) = setting.run(&["vault", "give-up"], "").await;
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("spare is given up"), "{said}");
    let (code, said, error) = setting.run(&["vault", "give-up"], "").await;
    assert!(code == 0 && said.contains("nothing to give up"), "{said}{error}");
    setting.database = user(&owner, "verdict_api, verdict_worker").await;
    setting.serve().await.kill().await;
}
