//! Images are fetched before their links expire, stored sealed with the person's key, and deleted
//! with the person.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::protocol::Steps;
use crate::harness::{
    Buckets, Options, Reply, Setting, TestApp, callback, eventually, new_database, now,
};
use verdict::domain::ids::VerificationId;
use verdict::domain::image::ImageKind;
use verdict::store::archiving::TaskOutcome;
use verdict::store::audit::AuditContext;
use verdict::store::erasure::Swept;
use verdict::store::images::{Fate, SettledImage};
use verdict::store::tasks::Task;

/// Where every test begins.
const START: time::OffsetDateTime = time::macros::datetime!(2026-11-23 09:30 UTC);
const WHY: (&str, &str) = ("verdict-purpose", "appeal 4711");
const FACE: &[u8] = include_bytes!("../../crates/cloudauth-sandbox/src/pictures/face.jpg");
const SCENE: &[u8] = include_bytes!("../../crates/cloudauth-sandbox/src/pictures/face-global.png");

/// A folder for images, and options that say so.
fn archiving() -> (TempDir, Options) {
    let folder = TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    (folder, Options { images, ..Options::default() })
}

/// A store that speaks S3, and a section that says so.
async fn in_buckets() -> (Buckets, String) {
    let (buckets, address) = Buckets::start().await;
    let images = format!(
        "store = \"s3://faces/kept\"\n[images.s3]\nendpoint = \"http://{address}\"\n\
         region = \"cn-hangzhou\"\naccess_key_id = \"bucket-key\"\n\
         access_key_secret = \"bucket-secret\"\nvirtual_hosted = false"
    );
    (buckets, images)
}

async fn ask(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> (Reply, Vec<u8>) {
    let mut request =
        app.client.get(format!("http://{}{path}", app.http)).bearer_auth(&app.api_key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap().to_vec();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    let content_type =
        headers.get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    (Reply { status, content_type, headers, text, json }, bytes)
}

async fn images(app: &TestApp, id: &str) -> Vec<Value> {
    let reply = app.get(&format!("/v1/verifications/{id}/images")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json["items"].as_array().unwrap().clone()
}

/// Waits until nothing is left to be done about its images; how many are in which state.
async fn settled(app: &TestApp, id: &str) -> Vec<(String, String)> {
    eventually("its images are settled", || async {
        let items = images(app, id).await;
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or("").to_owned();
        let states: Vec<(String, String)> =
            items.iter().map(|item| (text(item, "kind"), text(item, "state"))).collect();
        (!states.is_empty() && states.iter().all(|(_, state)| state != "pending")).then_some(states)
    })
    .await
}

fn all_archived(count: usize) -> impl Fn(&[(String, String)]) -> bool {
    move |states| states.iter().filter(|(_, state)| state == "archived").count() == count
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn images_are_sealed_and_need_scope_and_purpose() {
    let (folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    let id = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    let states = settled(&app, &id).await;
    assert!(all_archived(4)(&states), "{states:?}");
    let path = format!("/v1/verifications/{id}/images/face");

    let (shown, bytes) = ask(&app, &path, &[WHY]).await;
    assert_eq!((shown.status, &bytes[..]), (200, FACE));
    assert_eq!(shown.content_type, "image/jpeg");
    assert_eq!(shown.headers["cache-control"], "no-store");
    assert_eq!(shown.headers["x-content-type-options"], "nosniff");
    let etag = shown.headers["etag"].to_str().unwrap().to_owned();
    let (global, bytes) =
        ask(&app, &format!("/v1/verifications/{id}/images/face-global"), &[WHY]).await;
    assert_eq!((global.content_type.as_str(), &bytes[..]), ("image/png", SCENE));

    // In parts, and not again who has it.
    let (part, bytes) = ask(&app, &path, &[WHY, ("range", "bytes=2-5")]).await;
    assert_eq!((part.status, &bytes[..]), (206, &FACE[2..6]));
    let range = format!("bytes 2-5/{}", FACE.len());
    assert_eq!(part.headers["content-range"], range.as_str());
    let (other, bytes) =
        ask(&app, &path, &[WHY, ("range", "bytes=2-5"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, bytes.len()), (200, FACE.len()));
    let (beyond, _) = ask(&app, &path, &[WHY, ("range", "bytes=999999-")]).await;
    beyond.assert_problem(416, "range-not-satisfiable");
    assert_eq!(beyond.headers["content-range"], format!("bytes */{}", FACE.len()).as_str());
    let (known, bytes) = ask(&app, &path, &[WHY, ("if-none-match", &etag)]).await;
    assert_eq!((known.status, bytes.len()), (304, 0));

    // Not without a reason, a scope, an image.
    ask(&app, &path, &[]).await.0.assert_problem(400, "purpose-missing");
    let of = |kind: &str| format!("/v1/verifications/{id}/images/{kind}");
    ask(&app, &of("video-1"), &[WHY]).await.0.assert_problem(404, "no-image");
    ask(&app, &of("passport"), &[WHY]).await.0.assert_problem(404, "not-found");
    let pool = app.database.pool().await;
    let read: i64 = sqlx::query_scalar(
        "select count(*) from audit where action = 'image.read' and purpose = 'appeal 4711'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(read, 6);

    // The stored files show nothing.
    let kept = files(folder.path());
    assert_eq!(kept.len(), 4);
    for file in &kept {
        let sealed = std::fs::read(file).unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"JFIF" || part == b"IHDR"));
    }

    // A cached copy or an invalid range needs no decryption; every other read does.
    let held = std::fs::read(kept.iter().find(|file| file.ends_with("face")).unwrap()).unwrap();
    std::fs::write(kept.iter().find(|file| file.ends_with("face")).unwrap(), b"nothing").unwrap();
    assert_eq!(ask(&app, &path, &[WHY, ("if-none-match", &etag)]).await.0.status, 304);
    assert_eq!(ask(&app, &path, &[WHY, ("range", "bytes=999999-")]).await.0.status, 416);
    assert_eq!(ask(&app, &path, &[WHY, ("range", "bytes=0-1")]).await.0.status, 500);
    std::fs::write(kept.iter().find(|file| file.ends_with("face")).unwrap(), &held).unwrap();

    // A flipped bit does not open, nor what belongs elsewhere, nor nothing.
    let face = kept.iter().find(|file| file.ends_with("face")).unwrap();
    let global = kept.iter().find(|file| file.ends_with("face-global")).unwrap();
    let mut sealed = std::fs::read(face).unwrap();
    sealed[40] ^= 1;
    std::fs::write(face, &sealed).unwrap();
    ask(&app, &path, &[WHY]).await.0.assert_problem(500, "internal");
    std::fs::copy(global, face).unwrap();
    ask(&app, &path, &[WHY]).await.0.assert_problem(500, "internal");
    std::fs::remove_file(face).unwrap();
    ask(&app, &path, &[WHY]).await.0.assert_problem(500, "internal");
}

#[tokio::test]
async fn expired_links_are_refreshed_and_nothing_else_changes() {
    let (_folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    // The image host is unavailable for longer than the links are valid.
    app.provider.fail_images(Some(503));
    let passed = app.verified("pass-97").await;
    let failed = app.verified("status-7").await;
    let changed = app.verified("status-7-x1-then-status-2").await;
    for (verification, status) in [(&passed, 1), (&failed, 7), (&changed, 7)] {
        let id = verification["id"].as_str().unwrap();
        assert_eq!(app.results(id).await[0]["verify_status"], status);
    }
    // Another policy is active when they are asked for again: nobody asked to decide by it.
    let strange =
        include_str!("../../config/policy.toml").replacen("name = \"", "name = \"strange-", 1);
    let strange = policy::Policy::load(&strange).unwrap();
    let doing = AuditContext { actor: "cli:tester".to_owned(), purpose: None, at: START };
    app.store
        .policies()
        .add_policy(strange.digest(), strange.name(), strange.text(), &doing)
        .await
        .unwrap();
    let used = verdict::store::policies::Use::Active;
    app.store.policies().use_policy(used, "", Some(strange.digest()), None, &doing).await.unwrap();
    let tries = std::cell::Cell::new(0);
    eventually("it is used", || async {
        tries.set(tries.get() + 1);
        let witness = app.verified(&format!("pass-97-noimages_{}", tries.get())).await;
        (witness["decision"]["policy"] == strange.digest()).then_some(())
    })
    .await;
    app.clock.advance(Duration::from_secs(301));
    app.provider.fail_images(None);
    for (verification, decisions) in [(&passed, 1), (&failed, 1), (&changed, 2)] {
        let id = verification["id"].as_str().unwrap();
        let states = settled(&app, id).await;
        assert!(all_archived(4)(&states), "{states:?}");
        // Asked once more, that is on record, and only who got another answer was decided again.
        assert_eq!(app.results(id).await.len(), 2);
        assert_eq!(app.decisions(id).await.len(), decisions);
        let now = app.get(&format!("/v1/verifications/{id}")).await.json;
        assert_eq!(now["state"], "decided");
        if decisions == 1 {
            assert_eq!(now["decision"], verification["decision"]);
        } else {
            assert_eq!(now["decision"]["policy"], strange.digest());
        }
    }
}

#[tokio::test]
async fn images_are_lost_after_link_refreshes_and_decision_stays() {
    let (folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    let verification = app.verified("pass-97-deadimages").await;
    let id = verification["id"].as_str().unwrap();
    let pool = app.database.pool().await;
    // The retries take days; here they pass at once.
    eventually("it is given up", || async {
        sqlx::query("update tasks set minted = 9").execute(&pool).await.unwrap();
        let items = images(&app, id).await;
        (!items.is_empty() && items.iter().all(|item| item["state"] == "lost")).then_some(())
    })
    .await;
    assert!(images(&app, id).await.iter().all(|item| item["reason"] == "link-dead"));
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).await.json["state"], "decided");
    assert!(files(folder.path()).is_empty());
    let path = format!("/v1/verifications/{id}/images/face");
    ask(&app, &path, &[WHY]).await.0.assert_problem(404, "no-image");
}

#[tokio::test]
async fn images_wait_for_an_unavailable_object_store() {
    let (folder, mut options) = archiving();
    let store = folder.path().join("store");
    options.images = format!("store = \"file://{}\"", store.display());
    let app = TestApp::start_with(options).await;
    // A folder that is not one.
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::write(&store, "in the way").unwrap();
    let verification = app.verified("pass-97").await;
    let id = verification["id"].as_str().unwrap();
    let pool = app.database.pool().await;
    eventually("it is tried", || async {
        let tried: Option<i32> =
            sqlx::query_scalar("select failures from tasks").fetch_optional(&pool).await.unwrap();
        tried.filter(|tried| *tried > 1)
    })
    .await;
    std::fs::remove_file(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    let states = settled(&app, id).await;
    assert!(all_archived(4)(&states), "{states:?}");
    assert_eq!(app.provider.queries("pass-97"), 1, "no link was used up");
}

#[tokio::test]
async fn images_wait_for_a_full_store_and_use_up_no_link() {
    let (buckets, images) = in_buckets().await;
    let setting = Setting::new(Options { images, fixed_clock: false, ..Options::default() }).await;
    buckets.fill(true);
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    let pool = setting.database.pool().await;
    // Its links expire meanwhile. Each retry waits ten seconds; here they pass at once.
    eventually("it is tried again and again", || async {
        let more = "update tasks set due_at = verdict_now(),
            deadline = verdict_now() - interval '1 second' returning failures";
        let tries: Option<i32> = sqlx::query_scalar(more).fetch_optional(&pool).await.unwrap();
        let metrics = setting.get(process.operations, "/metrics").await.text;
        let failures = "verdict_task_failures_total{kind=\"archive\"} ";
        let counted = metrics.lines().find_map(|line| line.strip_prefix(failures))?;
        (tries? > 3 && counted.parse::<i32>().unwrap() > 3).then_some(())
    })
    .await;
    assert_eq!(
        setting.provider.queries("pass-97"),
        1,
        "no new links were requested while the store was full"
    );
    assert!(buckets.names().is_empty());

    buckets.fill(false);
    eventually("all images are kept", || async {
        sqlx::query("update tasks set due_at = verdict_now() where asked_again_at is null")
            .execute(&pool)
            .await
            .unwrap();
        let kept: i64 = sqlx::query_scalar("select count(*) from images where state = 'archived'")
            .fetch_one(&pool)
            .await
            .unwrap();
        (kept == 4).then_some(())
    })
    .await;
    assert_eq!(setting.provider.queries("pass-97"), 2, "asked once for new links");
    assert!(buckets.names().iter().all(|name| !name.ends_with("probe")), "nothing is left");
    process.kill().await;
}

#[tokio::test]
async fn scenes_store_digest_or_skip_images() {
    let folder = TempDir::new().unwrap();
    let by_scene = format!(
        "mode = \"off\"\nstore = \"file://{}\"\n[images.scenes]\ntest = \"digest\"",
        folder.path().display()
    );
    let app = TestApp::start_with(Options { images: by_scene, ..Options::default() }).await;
    let verification = app.verified("pass-97").await;
    let id = verification["id"].as_str().unwrap();
    let states = settled(&app, id).await;
    assert!(states.iter().all(|(_, state)| state == "digest"), "{states:?}");
    let items = images_by_kind(&app, id).await;
    assert_eq!(items["sha256"], hex::encode(sha(FACE)));
    assert!(files(folder.path()).is_empty());

    let off = TestApp::start().await;
    let verification = off.verified("pass-97").await;
    assert!(images(&off, verification["id"].as_str().unwrap()).await.is_empty());
}

async fn images_by_kind(app: &TestApp, id: &str) -> Value {
    let items = images(app, id).await;
    items.into_iter().find(|item| item["kind"] == "face").unwrap()
}

fn sha(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}

#[tokio::test]
async fn erasure_deletes_the_images() {
    let (folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    let kept = app.verified("pass-97-kept").await;
    let gone = app.verified("pass-97-gone").await;
    let (kept, gone) = (kept["id"].as_str().unwrap(), gone["id"].as_str().unwrap());
    settled(&app, kept).await;
    settled(&app, gone).await;
    assert_eq!(files(folder.path()).len(), 8);
    // Asked about again, with links in hand at the moment of the erasure.
    app.provider.fail_images(Some(503));
    let again = format!("http://{}/v1/verifications/{gone}/refetch", app.http);
    app.client.post(again).bearer_auth(&app.api_key).send().await.unwrap();
    app.settled(gone).await;

    // A partial file of a process that was killed.
    let piece = files(folder.path()).into_iter().find(|file| file.to_string_lossy().contains(gone));
    let piece = format!("{}#1", piece.unwrap().display());
    std::fs::write(piece, "begun").unwrap();

    let material = format!("http://{}/v1/verifications/{gone}/material", app.http);
    let erase = || async {
        let request = app.client.delete(&material).bearer_auth(&app.api_key);
        Reply::read(request.header(WHY.0, WHY.1).send().await.unwrap()).await
    };
    assert_eq!(erase().await.status, 202);
    eventually("the first sweep is done", || async {
        (erase().await.json["destroyed"]["images"] == 4).then_some(())
    })
    .await;
    // A worker may have been writing until its lease expired.
    app.database.shift_clock(60).await;
    let receipt = eventually("the receipt is complete", || async {
        let receipt = erase().await;
        (!receipt.json["completed_at"].is_null()).then_some(receipt)
    })
    .await;
    assert_eq!(receipt.json["destroyed"]["images"], 4);
    assert_eq!(receipt.json["destroyed"]["data_keys"], 1);
    assert_eq!(files(folder.path()).len(), 4, "the other person's");
    assert!(images(&app, gone).await.is_empty());
    let path = format!("/v1/verifications/{gone}/images/face");
    ask(&app, &path, &[WHY]).await.0.assert_problem(410, "erased");
    let pool = app.database.pool().await;
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from tasks) + (select count(*) from images where verification_id = $1)",
    )
    .bind(gone.parse::<uuid::Uuid>().unwrap())
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, 0);
}

/// A process that has stored the face of a verification and waits for the other images while the
/// person is erased: the stored image is deleted.
async fn erased_half_way(folder: &Path, setting: &Setting) -> (crate::harness::Process, String) {
    setting.provider.hold_images(&["face-global", "card-front", "card-back"]);
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    let found = setting.get(process.http, "/v1/verifications?biz_type=test&biz_id=pass-97").await;
    let id = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    eventually("the face is kept", || async { holds(folder, "face").then_some(()) }).await;
    let material = format!("/v1/verifications/{id}/material");
    assert_eq!(setting.ask("DELETE", process.http, &material, &[WHY]).await.status, 202);
    eventually("the face is deleted", || async { files(folder).is_empty().then_some(()) }).await;
    assert!(!receipt_is_complete(setting, &id).await, "a worker may still be writing");
    (process, id)
}

fn holds(folder: &Path, kind: &str) -> bool {
    files(folder).iter().any(|file| file.file_name().is_some_and(|name| name == kind))
}

async fn receipt_is_complete(setting: &Setting, id: &str) -> bool {
    let receipt = setting.database.store().erasures().receipt(id.parse().unwrap()).await.unwrap();
    receipt.unwrap().completed_at.is_some()
}

#[tokio::test]
async fn worker_removes_an_image_it_stored_after_the_erasure() {
    let (folder, options) = archiving();
    let setting = Setting::new(Options { fixed_clock: false, ..options }).await;
    let (process, id) = erased_half_way(folder.path(), &setting).await;
    setting.provider.hold_images(&["card-front", "card-back"]);
    eventually("one more is kept", || async { holds(folder.path(), "face-global").then_some(()) })
        .await;
    // Its siblings are still on their way when the worker finds out that its lease is gone.
    eventually("it is removed", || async { files(folder.path()).is_empty().then_some(()) }).await;
    assert!(!receipt_is_complete(&setting, &id).await, "and not by the second sweep");
    setting.database.shift_clock(60).await;
    eventually("the receipt is complete", || async {
        receipt_is_complete(&setting, &id).await.then_some(())
    })
    .await;
    assert!(files(folder.path()).is_empty());
    process.kill().await;
}

#[tokio::test]
async fn receipt_waits_for_images_of_a_killed_worker() {
    let (folder, options) = archiving();
    let setting = Setting::new(Options { fixed_clock: false, ..options }).await;
    let (process, id) = erased_half_way(folder.path(), &setting).await;
    setting.provider.hold_images(&["card-front", "card-back"]);
    eventually("one more is kept", || async { holds(folder.path(), "face-global").then_some(()) })
        .await;
    process.kill().await;
    assert!(holds(folder.path(), "face-global"), "nobody is left to remove it");
    let process = setting.serve().await;
    setting.database.shift_clock(60).await;
    eventually("the receipt is complete", || async {
        receipt_is_complete(&setting, &id).await.then_some(())
    })
    .await;
    assert!(files(folder.path()).is_empty());
    let pool = setting.database.pool().await;
    let (left, recorded): (i64, i64) = sqlx::query_as(
        "select (select count(*) from images) + (select count(*) from tasks),
            (select count(*) from audit where action = 'verification.images-deleted'
                and details = '{\"objects\" : 2}')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((left, recorded), (0, 1));
    process.kill().await;
}

#[tokio::test]
async fn image_settled_during_an_erasure_is_deleted() {
    let steps = Arc::new(Steps::new().await);
    let told = steps.accept_new(&steps.message("x")).await;
    let task = claim_archiving(&steps, told.id, Duration::from_secs(5)).await;
    let result = task.id;
    // The settlement stops half way, waiting for another transaction that rolls back.
    let mut other = steps.look.begin().await.unwrap();
    sqlx::query(
        "insert into images (result_id, kind, verification_id, state, settled_at, sha256)
         values ($1, 'face', $2, 'digest', now(), '\\x01')",
    )
    .bind(result)
    .bind(told.id.0)
    .execute(&mut *other)
    .await
    .unwrap();
    let image = SettledImage {
        kind: ImageKind::Face,
        fate: Fate::Archived,
        content_type: Some("image/jpeg"),
        unusual: Vec::new(),
        bytes: Some(1),
        sha256: Some([1; 32]),
        person: None,
    };
    let settler = Arc::clone(&steps);
    let settling = tokio::spawn(async move {
        settler.store.archiving().settle_images(&task, &[image], TaskOutcome::Done, START).await
    });
    wait_for_a_lock(&steps.look, 1).await;
    let doing = AuditContext { actor: "cli:tester".to_owned(), purpose: None, at: START };
    let eraser = Arc::clone(&steps);
    let erasing = tokio::spawn(async move { eraser.store.erasures().erase(told.id, &doing).await });
    wait_for_a_lock(&steps.look, 2).await;
    other.rollback().await.unwrap();
    assert!(settling.await.unwrap().unwrap());
    let receipt = erasing.await.unwrap().unwrap().receipt().unwrap();
    assert_eq!(receipt.completed_at, None, "there is an object to delete");
    let follow_up: String =
        sqlx::query_scalar("select kind from tasks").fetch_one(&steps.look).await.unwrap();
    assert_eq!(follow_up, "delete-images");
}

#[tokio::test]
async fn objects_of_an_ended_lease_are_deleted_a_second_time() {
    let steps = Steps::beside(&new_database().await).await;
    let told = steps.accept_new(&steps.message("x")).await;
    // Its worker was killed, perhaps in the middle of a write.
    claim_archiving(&steps, told.id, Duration::ZERO).await;
    let doing = AuditContext { actor: "cli:tester".to_owned(), purpose: None, at: START };
    steps.store.erasures().erase(told.id, &doing).await.unwrap();
    let task = claim_task(&steps, Duration::from_secs(5)).await;
    let late = Duration::from_mins(1);
    let swept = steps.store.erasures().images_deleted(&task, late, START).await.unwrap();
    assert_eq!(swept, Swept::OnceMore);
}

/// A task about images of this verification, leased for so long.
async fn claim_archiving(steps: &Steps, id: VerificationId, lease: Duration) -> Task {
    let result: uuid::Uuid = steps.ids.next(START);
    sqlx::query(
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         values ($1, 'archive', $2, verdict_now(), verdict_now() + interval '5 minutes', verdict_now())",
    )
    .bind(result)
    .bind(id.0)
    .execute(&steps.look)
    .await
    .unwrap();
    claim_task(steps, lease).await
}

async fn claim_task(steps: &Steps, lease: Duration) -> Task {
    let (takes, token) = (Duration::ZERO, steps.ids.next(START));
    let claim = steps.store.tasks().claim_tasks(1, lease, takes, token).await.unwrap();
    claim.tasks.into_iter().next().unwrap()
}

/// Waits until so many statements wait for locks.
async fn wait_for_a_lock(look: &sqlx::PgPool, statements: i64) {
    eventually("statements wait for locks", || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(look)
        .await
        .unwrap();
        (waiting == statements).then_some(())
    })
    .await;
}

#[tokio::test]
async fn repeated_kills_lose_and_duplicate_no_image() {
    let (folder, options) = archiving();
    let setting = Setting::new(Options { fixed_clock: false, ..options }).await;
    let count = 40;
    let mut process = setting.serve().await;
    for n in 0..count {
        let message = callback(&format!("pass-97-u{n}"), now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
        if n % 10 == 9 {
            process.kill().await;
            process = setting.serve().await;
        }
    }
    let pool = setting.database.pool().await;
    eventually("everything is archived", || async {
        let (archived, open): (i64, i64) = sqlx::query_as(
            "select (select count(distinct (verification_id, kind)) from images where state = 'archived'),
                (select count(*) from tasks)",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        (archived == 4 * count && open == 0).then_some(())
    })
    .await;
    let rows: i64 =
        sqlx::query_scalar("select count(*) from images").fetch_one(&pool).await.unwrap();
    // A kill during a write leaves a partial file that is no object; erasure removes it.
    let objects = files(folder.path());
    let objects = objects.iter().filter(|file| !file.to_string_lossy().contains('#')).count();
    assert_eq!(objects, usize::try_from(rows).unwrap());
    process.kill().await;
}

#[tokio::test]
async fn images_are_stored_in_an_s3_store() {
    let (buckets, images) = in_buckets().await;
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    let verification = app.verified("pass-97").await;
    let id = verification["id"].as_str().unwrap();
    let states = settled(&app, id).await;
    assert!(all_archived(4)(&states), "{states:?}");
    let names = buckets.names();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.starts_with(&format!("/faces/kept/{id}/"))), "{names:?}");
    assert!(!buckets.holds(b"JFIF") && !buckets.holds(b"IHDR"));
    let (shown, bytes) = ask(&app, &format!("/v1/verifications/{id}/images/face"), &[WHY]).await;
    assert_eq!((shown.status, &bytes[..]), (200, FACE));
    // More than one page of a listing.
    for n in 0..1100 {
        buckets.put(&format!("/faces/kept/{id}/more/{n}"));
    }
    // The store fails in the middle: the receipt counts what each pass deleted.
    buckets.limit_deletes(Some(700));
    let request = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    request.bearer_auth(&app.api_key).header(WHY.0, WHY.1).send().await.unwrap();
    eventually("some are deleted", || async { (buckets.names().len() == 404).then_some(()) }).await;
    let receipt = app.store.erasures().receipt(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(receipt.completed_at, None);
    buckets.limit_deletes(None);
    let receipt = eventually("the receipt is complete", || async {
        let receipt = app.store.erasures().receipt(id.parse().unwrap()).await.unwrap().unwrap();
        receipt.completed_at.map(|_| receipt)
    })
    .await;
    assert_eq!((buckets.names().len(), receipt.images), (0, 1104));
    let pool = app.database.pool().await;
    let recorded: String = sqlx::query_scalar(
        "select details from audit where action = 'verification.images-deleted'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(recorded, r#"{"objects" : 1104}"#);
}

#[tokio::test]
async fn retention_deletes_images_and_callbacks_before_the_person() {
    const DAY: Duration = Duration::from_hours(24);
    let (folder, options) = archiving();
    let more = "[retention]\nimages_days = 30\ncallbacks_days = 30".to_owned();
    let options = || Options { more: more.clone(), ..options.clone() };
    let clock = verdict::domain::clock::Clock::fixed(START);
    let (provider, address) = crate::harness::provider(&clock).await;
    let app = TestApp::start_beside(options(), provider, address, clock).await;
    let old = app.verified("pass-97-old").await;
    settled(&app, old["id"].as_str().unwrap()).await;
    app.clock.advance(20 * DAY);
    let young = app.verified("pass-97-young").await;
    settled(&app, young["id"].as_str().unwrap()).await;
    // Asked about again, the old one has images of both ages.
    let old_id = old["id"].as_str().unwrap();
    let again = format!("http://{}/v1/verifications/{old_id}/refetch", app.http);
    app.client.post(again).bearer_auth(&app.api_key).send().await.unwrap();
    app.settled(old_id).await;
    eventually("its new images are kept", || async {
        (files(folder.path()).len() == 12).then_some(())
    })
    .await;
    settled(&app, old_id).await;
    app.clock.advance(11 * DAY);
    // The next pass; a worker's first round comes with its start.
    app.database.shift_clock(7200).await;
    let _another = app.another(options(), address).await;
    eventually("the old images are deleted", || async {
        (files(folder.path()).len() == 8).then_some(())
    })
    .await;
    let kept = images(&app, old_id).await;
    let newest = app.results(old_id).await[1]["id"].clone();
    assert!(kept.len() == 4 && kept.iter().all(|image| image["result_id"] == newest), "{kept:?}");
    let face = format!("/v1/verifications/{old_id}/images/face");
    assert_eq!(ask(&app, &face, &[WHY]).await.1, FACE);
    assert_eq!(images(&app, young["id"].as_str().unwrap()).await.len(), 4);
    let pool = app.database.pool().await;
    eventually("and no callback of one that was asked about since", || async {
        let left: i64 =
            sqlx::query_scalar("select count(*) from callbacks").fetch_one(&pool).await.unwrap();
        (left == 2).then_some(())
    })
    .await;
    let material = format!("/v1/verifications/{old_id}/material");
    assert_eq!(ask(&app, &material, &[WHY]).await.0.status, 200);
}

#[tokio::test]
async fn deferred_images_do_not_block_others_in_retention() {
    let steps = Steps::new().await;
    // The oldest belong to answers that are still being archived.
    sqlx::query(
        "with numbers as (select n, gen_random_uuid() as result, gen_random_uuid() as of
                          from generate_series(1, 300) as n),
         images as (
            insert into images (result_id, kind, verification_id, state, settled_at, sha256)
            select result, kind, of, 'archived', $1 - interval '40 days' + n * interval '1 hour', '\\x01'
            from numbers, (values ('face'), ('face-global')) as k (kind))
         insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         select result, 'archive', of, now(), now(), now() from numbers where n <= 200",
    )
    .bind(START)
    .execute(&steps.look)
    .await
    .unwrap();
    // Of one answer only a part is old enough.
    let (parted, of) = (uuid::Uuid::from_u128(7), uuid::Uuid::from_u128(8));
    sqlx::query(
        "insert into images (result_id, kind, verification_id, state, settled_at, sha256) values
            ($1, 'face', $2, 'archived', $3 - interval '40 days', '\\x01'),
            ($1, 'face-global', $2, 'archived', $3, '\\x01')",
    )
    .bind(parted)
    .bind(of)
    .bind(START)
    .execute(&steps.look)
    .await
    .unwrap();
    let mut gone = 0;
    loop {
        match steps
            .store
            .archiving()
            .retire_images(START - time::Duration::days(10), 50)
            .await
            .unwrap()
        {
            0 => break,
            some => gone += some,
        }
    }
    assert_eq!(gone, 2 * 100 + 1);
    let kept =
        steps.store.archiving().kinds_of(verdict::domain::ids::ResultId(parted)).await.unwrap();
    assert_eq!(kept, ["face-global"]);
    let tasks: (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where id = $1 and verification_id = $2)
         from tasks where kind = 'retire-images'",
    )
    .bind(parted)
    .bind(of)
    .fetch_one(&steps.look)
    .await
    .unwrap();
    assert_eq!(tasks, (101, 1));
}

#[tokio::test]
async fn persons_with_stored_faces_are_counted_once() {
    let (_folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    for biz_id in ["pass-97-person-5-a", "pass-97-person-5-b", "pass-97-person-6"] {
        let id = app.verified(biz_id).await["id"].as_str().unwrap().to_owned();
        settled(&app, &id).await;
    }
    assert_eq!(app.store.images().persons_with_faces().await.unwrap(), 2);
}

#[tokio::test]
async fn alert_fires_before_there_are_too_many_persons() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let pool = setting.database.pool().await;
    // Three faces each; some are nobody's.
    let add = |from: i32, to: i32| {
        sqlx::query(
            "insert into images (result_id, kind, verification_id, state, settled_at, sha256, person)
             select gen_random_uuid(), kind, gen_random_uuid(), 'archived', now(), '\\x01',
                case when kind <> 'card-back' then decode(lpad(to_hex(n), 64, '0'), 'hex') end
             from generate_series($1, $2) as n,
                (values ('face'), ('face-global'), ('card-front'), ('card-back')) as k (kind)",
        )
        .bind(from)
        .bind(to)
        .execute(&pool)
    };
    add(1, 79_999).await.unwrap();
    let store = setting.database.store();
    assert_eq!(store.images().persons_with_faces().await.unwrap(), 79_999);
    add(80_000, 95_001).await.unwrap();
    let process = setting.serve().await;
    let metrics = eventually("persons are counted", || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        metrics.contains("verdict_persons_with_faces 95001").then_some(metrics)
    })
    .await;
    for (threshold, on) in [(80_000, 1), (95_000, 1), (100_000, 0)] {
        let gauge = format!("verdict_persons_alarm{{threshold=\"{threshold}\"}} {on}\n");
        assert!(metrics.contains(&gauge), "{gauge}: {metrics}");
    }
    let log = process.kill().await.join("\n");
    assert_eq!(log.matches("faces of very many persons are stored").count(), 2, "{log}");
    add(95_002, 120_010).await.unwrap();
    assert_eq!(store.images().persons_with_faces().await.unwrap(), 120_000, "and no further");
}

#[tokio::test]
async fn tasks_with_valid_links_run_before_refreshed_ones() {
    let steps = Steps::new().await;
    let (lease, takes) = (Duration::from_secs(5), Duration::ZERO);
    let told = steps.accept_new(&steps.message("x")).await;
    sqlx::query(
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         values (gen_random_uuid(), 'archive', $1, verdict_now(),
            verdict_now() + interval '1 second', verdict_now())",
    )
    .bind(told.id.0)
    .execute(&steps.look)
    .await
    .unwrap();
    let claim =
        steps.store.tasks().claim_tasks(1, lease, takes, steps.ids.next(START)).await.unwrap();
    let then = TaskOutcome::RefreshLinks(Duration::ZERO);
    assert!(
        steps.store.archiving().settle_images(&claim.tasks[0], &[], then, START).await.unwrap()
    );
    // A thousand tasks like it, and after them a few with valid links.
    for copy in [
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at, asked_again_at)
         select gen_random_uuid(), kind, verification_id, created_at, deadline, due_at, asked_again_at
         from tasks, generate_series(1, 1000)",
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         select gen_random_uuid(), 'archive', gen_random_uuid(), verdict_now() + interval '1 minute',
            verdict_now() + interval '5 minutes', verdict_now() + interval '1 minute'
         from generate_series(1, 5)",
    ] {
        sqlx::query(copy).execute(&steps.look).await.unwrap();
    }
    steps.advance(61).await;
    let waits: fn(&verdict::store::tasks::Task) -> bool =
        |task| matches!(task.work, verdict::store::tasks::Work::Archive { awaits_links: true, .. });
    let claim =
        steps.store.tasks().claim_tasks(8, lease, takes, steps.ids.next(START)).await.unwrap();
    let order: Vec<bool> = claim.tasks.iter().map(waits).collect();
    assert_eq!(order, [false, false, false, false, false, true, true, true]);
}
