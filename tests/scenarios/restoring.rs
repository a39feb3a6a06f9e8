//! After a restore: erasures are applied again from a list outside the database, and the object store
//! is compared with the database.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;
use uuid::Uuid;
use verdict::domain::clock::Clock;

use crate::harness::{Callback, Database, Options, Setting, dump, eventually, now};

const PURPOSE: [&str; 2] = ["--purpose", "restored the backup of Monday"];

/// A verification whose reference is found in every dump until its person is erased.
fn callback(name: &str) -> Callback {
    let body = serde_json::json!({ "biz_type": "test", "biz_id": format!("pass-97-{name}"),
        "reference": format!("canary-{name}-8812") });
    Callback::signed(&body.to_string(), now())
}

/// A copy of the database as it is now. No session may be open, and those of before may still be
/// closing.
async fn backup(database: &Database) -> Database {
    let mut url = Url::parse(&database.url).unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    let copy = format!("{name}_restored");
    url.set_path("postgres");
    let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
    for _ in 0..600 {
        let create = format!("create database {copy} template {name}");
        match sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await {
            Ok(_) => {
                url.set_path(&copy);
                return Database::at(url);
            }
            Err(error) => assert_eq!(
                error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(),
                Some("55006"),
                "{error}"
            ),
        }
        tokio::task::yield_now().await;
    }
    panic!("the database stays in use")
}

async fn decide(setting: &Setting, names: &[&str]) {
    let process = setting.serve().await;
    for name in names {
        assert_eq!(process.post(&setting.client, callback(name)).await, Some(202));
    }
    setting.drained().await;
    process.kill().await;
}

async fn id(setting: &Setting, name: &str) -> String {
    let pool = setting.database.pool().await;
    let id: Uuid = sqlx::query_scalar("select id from verifications where biz_id = $1")
        .bind(format!("pass-97-{name}"))
        .fetch_one(&pool)
        .await
        .unwrap();
    pool.close().await;
    id.to_string()
}

async fn succeeds(setting: &Setting, arguments: &[&str]) -> String {
    let (code, said, error) = setting.run(arguments, "").await;
    assert_eq!(code, 0, "{arguments:?}: {error}");
    said
}

async fn fails(setting: &Setting, arguments: &[&str]) -> (String, String) {
    let (code, said, error) = setting.run(arguments, "").await;
    assert_eq!(code, 1, "{arguments:?}: {said}");
    (said, error)
}

#[tokio::test]
async fn erasures_are_applied_again_after_a_restore() {
    let options = || Options { fixed_clock: false, ..Options::default() };
    let setting = Setting::new(options()).await;
    decide(&setting, &["a", "b", "kept"]).await;
    let restored = backup(&setting.database).await;
    decide(&setting, &["later"]).await;
    for name in ["a", "b", "later"] {
        let id = id(&setting, name).await;
        succeeds(&setting, &["erase", "--verification", &id, "--purpose", "request 4711"]).await;
    }
    let list = succeeds(&setting, &["erasures", "export"]).await;
    assert_eq!(list.lines().count(), 4, "three erasures and the end: {list}");
    assert!(!list.contains("canary") && !list.contains("pass-97"), "{list}");
    let none = succeeds(&setting, &["erasures", "export", "--since", "2999-01-01T00:00:00Z"]).await;
    assert_eq!(none.lines().count(), 1, "{none}");

    let restored = Setting::on(restored, options(), &Clock::system()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("erasures.jsonl");
    let path = file.display().to_string();
    let reapply = ["erasures", "reapply", &path, PURPOSE[0], PURPOSE[1]];

    // A changed list is refused, and nothing of it is applied.
    let lines: Vec<&str> = list.lines().collect();
    let foreign = lines[0].replace(r#""mac":""#, r#""mac":"00"#);
    for (text, why) in [
        (lines[1..].join("\n"), "lines were added, removed or moved"),
        (lines[..3].join("\n"), "the last line is missing"),
        ([foreign.as_str(), lines[1], lines[2], lines[3]].join("\n"), "line 1 is not signed"),
        ("someone\n".to_owned(), "line 1 is not of a list of erasures"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (_, error) = fails(&restored, &reapply).await;
        assert!(error.contains(why), "{error}");
    }
    let before = dump(&restored.database.url);
    for name in ["a", "b", "kept"] {
        assert!(before.contains(&format!("canary-{name}-8812")), "{name} came back");
    }

    // A hold that was lifted after the backup is in force again.
    let held = id(&restored, "b").await;
    let place = ["hold", "place", "--verification", &held, "--purpose", "court order 7"];
    succeeds(&restored, &place).await;
    std::fs::write(&file, &list).unwrap();
    let (said, error) = fails(&restored, &reapply).await;
    assert!(
        said.starts_with(
            "3 erasures in the list: 1 erased again, 0 erased already, 1 not in this database"
        ),
        "{said}"
    );
    assert!(said.contains(&held) && error.contains("1 verification is not erased"), "{error}");
    let lifting = ["hold", "lift", "--verification", &held, "--purpose", "case 7 is closed"];
    succeeds(&restored, &lifting).await;
    let said = succeeds(&restored, &reapply).await;
    assert!(said.contains("1 erased again, 1 erased already, 1 not in this database"), "{said}");
    let said = succeeds(&restored, &reapply).await;
    assert!(said.contains("0 erased again, 2 erased already, 1 not in this database"), "{said}");

    let after = dump(&restored.database.url);
    for name in ["a", "b"] {
        assert!(!after.contains(&format!("canary-{name}-8812")), "{name} is left");
    }
    assert!(after.contains("canary-kept-8812"));
    assert!(after.contains(PURPOSE[1]), "the audit says why");
    succeeds(&restored, &["audit", "verify"]).await;
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn images_check_names_and_mends_what_differs() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let setting = Setting::new(Options { fixed_clock: false, images, ..Options::default() }).await;
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("images")).await, Some(202));
    setting.drained().await;
    let pool = setting.database.pool().await;
    eventually("all images are kept", || async {
        let open: i64 =
            sqlx::query_scalar("select count(*) from tasks").fetch_one(&pool).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
    process.kill().await;
    let check = ["images", "check"];
    let said = succeeds(&setting, &check).await;
    assert!(said.contains("the object store holds what the database says"), "{said}");

    // An object is gone, one is of nobody, and one is not ours.
    let kept = files(folder.path());
    let face = kept.iter().find(|file| file.ends_with("/face")).expect("a face");
    std::fs::remove_file(face).unwrap();
    let stray = folder.path().join(Uuid::from_u128(7).to_string()).join(Uuid::nil().to_string());
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::write(stray.join("card-front"), b"sealed").unwrap();
    std::fs::write(folder.path().join("notes.txt"), b"not ours").unwrap();
    let (said, error) = fails(&setting, &check).await;
    assert!(error.contains("1 image without an object, 1 object without an image"), "{error}");
    assert!(
        said.contains(&format!(
            "image without an object: verification {}",
            id(&setting, "images").await
        )),
        "{said}"
    );
    assert!(
        said.contains(&format!("object without an image: verification {}", Uuid::from_u128(7))),
        "{said}"
    );
    assert!(said.contains("1 object of others"), "{said}");
    assert!(stray.join("card-front").exists(), "nothing was fixed");
    assert_eq!(setting.run(&["images", "check", "--fix"], "").await.0, 2, "without a purpose");

    let fix = ["images", "check", "--fix", PURPOSE[0], PURPOSE[1]];
    let said = succeeds(&setting, &fix).await;
    assert!(said.ends_with("1 image marked as lost, 1 object deleted\n"), "{said}");
    assert!(!stray.join("card-front").exists() && folder.path().join("notes.txt").exists());
    succeeds(&setting, &check).await;
    let (lost, recorded): (i64, i64) = sqlx::query_as(
        "select (select count(*) from images where state = 'lost' and reason = 'object-missing'),
            (select count(*) from audit where action in ('image.missing', 'images.fixed')
                and purpose = 'restored the backup of Monday')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((lost, recorded), (1, 2));
    succeeds(&setting, &["audit", "verify"]).await;
}
