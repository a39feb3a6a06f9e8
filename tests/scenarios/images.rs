//! Images are fetched before their links die, kept where only the person's key opens them, and
//! gone when the person is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Buckets, Options, Reply, Setting, TestApp, callback, eventually, now};

/// Where every test begins.
const START: time::OffsetDateTime = time::macros::datetime!(2026-11-23 09:30 UTC);
const WHY: (&str, &str) = ("verdict-purpose", "appeal 4711");
const FACE: &[u8] = include_bytes!("../../src/sandbox/pictures/face.jpg");
const SCENE: &[u8] = include_bytes!("../../src/sandbox/pictures/face-global.png");

/// A folder for images, and options that say so.
fn archiving() -> (TempDir, Options) {
    let folder = TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    (folder, Options { images, ..Options::default() })
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
async fn images_are_kept_sealed_and_shown_to_who_may_see_them_and_says_why() {
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

    // Nobody sees anything in what is kept.
    let kept = files(folder.path());
    assert_eq!(kept.len(), 4);
    for file in &kept {
        let sealed = std::fs::read(file).unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"JFIF" || part == b"IHDR"));
    }

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
async fn links_that_died_are_asked_for_again_and_nothing_else_changes() {
    let (_folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    // The host of images is away for longer than the links live.
    app.provider.fail_images(Some(503));
    let passed = app.verified("pass-97").await;
    let failed = app.verified("status-7").await;
    for (verification, status) in [(&passed, 1), (&failed, 7)] {
        let id = verification["id"].as_str().unwrap();
        assert_eq!(app.results(id).await[0]["verify_status"], status);
    }
    app.clock.advance(Duration::from_secs(301));
    app.provider.fail_images(None);
    for (verification, decisions) in [(&passed, 1), (&failed, 2)] {
        let id = verification["id"].as_str().unwrap();
        let states = settled(&app, id).await;
        assert!(all_archived(4)(&states), "{states:?}");
        // Asked once more, that is on record, and who had passed was not decided upon again.
        assert_eq!(app.results(id).await.len(), 2);
        assert_eq!(app.decisions(id).await.len(), decisions);
        let now = app.get(&format!("/v1/verifications/{id}")).await.json;
        assert_eq!(now["state"], "decided");
        assert_eq!(now["decision"]["outcome"], verification["decision"]["outcome"]);
    }
}

#[tokio::test]
async fn links_that_stay_dead_are_given_up_and_the_decision_stands() {
    let (folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    let verification = app.verified("pass-97-deadimages").await;
    let id = verification["id"].as_str().unwrap();
    let pool = app.database.pool().await;
    // It goes on for days; here they pass at once.
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
async fn an_object_store_that_is_away_is_waited_for() {
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
async fn by_scene_images_are_kept_digested_or_left_alone() {
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
async fn images_go_with_the_person() {
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

    // What a process had begun to write when it was killed.
    let piece = files(folder.path()).into_iter().find(|file| file.to_string_lossy().contains(gone));
    let piece = format!("{}#1", piece.unwrap().display());
    std::fs::write(piece, "begun").unwrap();

    let material = format!("http://{}/v1/verifications/{gone}/material", app.http);
    let erase = || async {
        let request = app.client.delete(&material).bearer_auth(&app.api_key);
        Reply::read(request.header(WHY.0, WHY.1).send().await.unwrap()).await
    };
    assert_eq!(erase().await.status, 202);
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

#[tokio::test]
async fn an_image_on_its_way_while_its_person_is_erased_does_not_stay() {
    let (folder, options) = archiving();
    let clock = verdict::domain::clock::Clock::fixed(START);
    let (provider, address) = crate::harness::slow_images(&clock, Duration::from_millis(700)).await;
    let app = TestApp::start_beside(options, provider, address, clock).await;
    let verification = app.verified("pass-97").await;
    let id = verification["id"].as_str().unwrap();
    let pool = app.database.pool().await;
    eventually("a worker is at it", || async {
        let held = "select count(*) from tasks where lease_token is not null";
        let held: i64 = sqlx::query_scalar(held).fetch_one(&pool).await.unwrap();
        (held > 0).then_some(())
    })
    .await;
    let request = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let reply = request.bearer_auth(&app.api_key).header(WHY.0, WHY.1).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 202);
    let receipt = app.store.receipt(id.parse().unwrap()).await.unwrap().unwrap();
    assert!(receipt.completed_at.is_none(), "a worker still has to look into the store");
    // The worker still writes what it has in hand, and removes it when it finds its task gone.
    let wrote = "verdict_image_downloads_total{outcome=\"fetched\"}";
    eventually("the worker is through, and nothing is left", || async {
        let metrics = app.client.get(format!("http://{}/metrics", app.operations));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        (metrics.contains(wrote) && files(folder.path()).is_empty()).then_some(())
    })
    .await;
    eventually("the receipt is complete", || async {
        let receipt = app.store.receipt(id.parse().unwrap()).await.unwrap().unwrap();
        receipt.completed_at
    })
    .await;
    let left = "select (select count(*) from images) + (select count(*) from tasks)";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&pool).await.unwrap(), 0);
}

#[tokio::test]
async fn killed_again_and_again_every_image_is_kept_once_and_none_is_lost() {
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
    // Where it was killed while it wrote, a piece is left that is no object; it goes with the person.
    let objects = files(folder.path());
    let objects = objects.iter().filter(|file| !file.to_string_lossy().contains('#')).count();
    assert_eq!(objects, usize::try_from(rows).unwrap());
    process.kill().await;
}

#[tokio::test]
async fn images_are_kept_in_a_store_that_speaks_s3() {
    let (buckets, address) = Buckets::start().await;
    let images = format!(
        "store = \"s3://faces/kept\"\n[images.s3]\nendpoint = \"http://{address}\"\n\
         region = \"cn-hangzhou\"\naccess_key_id = \"bucket-key\"\n\
         access_key_secret = \"bucket-secret\"\nvirtual_hosted = false"
    );
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
    let request = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    request.bearer_auth(&app.api_key).header(WHY.0, WHY.1).send().await.unwrap();
    eventually("its objects are deleted", || async { buckets.names().is_empty().then_some(()) })
        .await;
}

#[tokio::test]
async fn images_and_callbacks_go_when_their_time_is_over_and_the_person_stays() {
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
    app.clock.advance(11 * DAY);
    // A worker's first round comes with its start.
    let _another = app.another(options(), address).await;
    eventually("the old images are deleted", || async {
        (files(folder.path()).len() == 4).then_some(())
    })
    .await;
    assert_eq!(images(&app, young["id"].as_str().unwrap()).await.len(), 4);
    let pool = app.database.pool().await;
    eventually("and the old callback", || async {
        let left: i64 =
            sqlx::query_scalar("select count(*) from callbacks").fetch_one(&pool).await.unwrap();
        (left == 1).then_some(())
    })
    .await;
    let material = format!("/v1/verifications/{}/material", old["id"].as_str().unwrap());
    assert_eq!(ask(&app, &material, &[WHY]).await.0.status, 200);
}

#[tokio::test]
async fn persons_whose_faces_are_kept_are_counted_once_each() {
    let (_folder, options) = archiving();
    let app = TestApp::start_with(options).await;
    for biz_id in ["pass-97-person-5-a", "pass-97-person-5-b", "pass-97-person-6"] {
        let id = app.verified(biz_id).await["id"].as_str().unwrap().to_owned();
        settled(&app, &id).await;
    }
    assert_eq!(app.store.persons_with_faces().await.unwrap(), 2);
    // The alarm is about thresholds far above what a test can make.
    let metrics = app.client.get(format!("http://{}/metrics", app.operations));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("verdict_persons_alarm{threshold=\"100000\"} 0"), "{metrics}");
}
