//! Pairs with known answers and decided cases, mixed among the cases of reviewers: what the reviewers
//! learn, and how well they judge.

use policy::decision::Outcome;
use serde_json::Value;
use verdict::domain::case::{Ended, Judgement, Kind, Mix, Rate};
use verdict::domain::ids::{AssignmentId, GoldenId};
use verdict::store::audit::AuditContext;
use verdict::store::claim_cases::Next;
use verdict::store::verdicts::{Feedback, Given, Judged};
use verdict::vault::{Key, KeyRing, SealedAt, Vault, WrappedKey};

use crate::cases::{AT_ONCE, Person, waiting};
use crate::harness::{Options, TestApp, eventually, run_verdict, vault_secret};

const GOLDEN: Mix = Mix { kind: Kind::Golden, place: 0.3 };
const AGAIN: Mix = Mix { kind: Kind::Again, place: 0.3 };
const FACE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/crates/cloudauth-sandbox/src/pictures/face-global.png");

/// Runs `verdict golden` on the database of this service.
async fn golden(app: &TestApp, arguments: &[&str]) -> (i32, String, String) {
    let key = format!("test:{}", vault_secret("test"));
    let environment =
        [("VERDICT__DATABASE__URL", app.database.url.as_str()), ("VERDICT__VAULT__KEYS", &key)];
    run_verdict(&[&["golden"], arguments].concat(), &environment).await
}

async fn add(app: &TestApp, answer: &str) -> GoldenId {
    let (code, id, error) =
        golden(app, &["add", "--live", FACE, "--reference", FACE, answer]).await;
    assert_eq!(code, 0, "{error}");
    id.trim().parse().unwrap()
}

async fn claimed(person: &Person, mix: Mix) -> AssignmentId {
    match person.next_with(mix).await {
        Next::Claimed(id) => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn golden_pair_is_mixed_in_and_its_answer_is_told_at_once() {
    let app = TestApp::start().await;
    let anna = Person::new(&app, "anna").await;
    let (same, different) = (add(&app, "--same").await, add(&app, "--different").await);
    // With nothing to do there is nothing to mix it into: it would tell itself.
    assert_eq!(anna.next_with(GOLDEN).await, Next::Empty { skipped: 0 });
    waiting(&app, "pass-88").await;
    let mut judged = Vec::new();
    for _ in 0..2 {
        let id = claimed(&anna, GOLDEN).await;
        let found = anna.assignment(id).await;
        assert_eq!((found.kind, found.case()), (Kind::Golden, None));
        assert_eq!(anna.says(id, Outcome::Approve, AT_ONCE).await, Given::Lost(None));
        assert_eq!(anna.judges(id, Judgement::CertainlySame).await, Judged::Ended);
        assert_eq!(anna.ended(id).await, Some(Ended::Judged));
        judged.push(app.store.assignments().feedback(id, anna.user).await.unwrap().unwrap());
    }
    judged.sort_by_key(|feedback| matches!(feedback, Feedback::Golden { same_person: true, .. }));
    let told = |same_person| Feedback::Golden { judgement: Judgement::CertainlySame, same_person };
    assert_eq!(judged, [told(false), told(true)]);
    // She would remember them: the third is the open case.
    let id = claimed(&anna, GOLDEN).await;
    assert_eq!(anna.assignment(id).await.kind, Kind::Review);
    // After a week she would not.
    assert!(app.store.assignments().release(id, anna.user).await.unwrap());
    app.database.shift_clock(8 * 86_400).await;
    let id = claimed(&anna, GOLDEN).await;
    assert_eq!(anna.assignment(id).await.kind, Kind::Golden);
    assert_eq!(anna.judges(id, Judgement::Unsure).await, Judged::Ended);

    let figures = app.store.reviewers().figures(time::OffsetDateTime::UNIX_EPOCH).await.unwrap();
    let anna = &figures[0];
    assert_eq!((anna.name.as_str(), anna.cases, anna.median), ("anna", 0, None));
    assert_eq!(anna.unsure, Rate { hits: 1, of: 3 });
    assert_eq!(anna.false_accepts.hits, 1);
    assert_eq!(anna.false_rejects.hits, 0);
    assert_eq!(anna.false_accepts.of + anna.false_rejects.of, 3);

    let (_, listed, _) = golden(&app, &["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let wrong = |id: GoldenId| {
        let of = |pair: &&Value| pair["id"] == id.to_string();
        listed.as_array().unwrap().iter().find(of).unwrap()["wrong"].clone()
    };
    assert_eq!((wrong(same), wrong(different)), (0.into(), 1.into()));
}

#[tokio::test]
async fn pictures_of_golden_pairs_are_sealed_read_on_record_and_destroyed() {
    let app = TestApp::start().await;
    let id = add(&app, "--same").await;
    let doing = AuditContext {
        actor: "user:test".to_owned(),
        purpose: Some("review of a case".to_owned()),
        at: app.clock.now(),
    };
    let pairs = app.store.golden_pairs();
    let sealed = pairs.read(id, &doing).await.unwrap().unwrap();
    let ring = KeyRing::new(vec![Key::parse("test", &vault_secret("test")).unwrap()]).unwrap();
    let wrapped = WrappedKey { key_id: sealed.key_id.clone(), bytes: sealed.wrapped.clone() };
    let key = Vault::new(ring).open_golden_key(id, &wrapped).unwrap();
    let picture = std::fs::read(FACE).unwrap();
    assert_eq!(*key.open(SealedAt::GoldenLive(id), &sealed.live).unwrap(), picture);
    assert_eq!(*key.open(SealedAt::GoldenReference(id), &sealed.reference).unwrap(), picture);
    assert!(key.open(SealedAt::GoldenReference(id), &sealed.live).is_err());
    assert_eq!(sealed.live_type, "image/png");

    let (code, _, error) = golden(&app, &["retire", &id.to_string()]).await;
    assert_eq!(code, 0, "{error}");
    assert!(pairs.read(id, &doing).await.unwrap().is_none());
    let kept: i64 =
        sqlx::query_scalar("select sum(length(live) + length(reference)) from golden_pairs")
            .fetch_one(app.store.pool())
            .await
            .unwrap();
    assert_eq!(kept, 0);
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit where subject = $1 order by position")
            .bind(id.0)
            .fetch_all(app.store.pool())
            .await
            .unwrap();
    assert_eq!(actions, ["golden.add", "golden.read", "golden.retire"]);
    for (arguments, said) in [
        (&["retire", &id.to_string()][..], "is no golden pair, or is retired"),
        (&["add", "--live", FACE, "--reference", FACE], "--same"),
        (&["add", "--live", file!(), "--reference", FACE, "--same"], "--live"),
    ] {
        let (code, _, error) = golden(&app, arguments).await;
        assert!(code == 2 && error.contains(said), "{arguments:?}: {code} {error}");
    }
}

#[tokio::test]
async fn decided_case_is_judged_again_by_another_without_consequences() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    let id = waiting(&app, "pass-88").await;
    eventually("the face is kept", || async {
        let images = app.store.images().images_of(id).await.unwrap();
        images.iter().any(|image| image.kind == "face" && image.state == "archived").then_some(())
    })
    .await;
    let first = anna.claims().await;
    anna.decides(first, Outcome::Approve, AT_ONCE).await;
    assert_eq!(anna.until_ended(first).await, Ended::Decided);
    waiting(&app, "pass-89").await;
    // She knows it already.
    let own = claimed(&anna, AGAIN).await;
    assert_eq!(anna.assignment(own).await.kind, Kind::Review);
    assert!(app.store.assignments().release(own, anna.user).await.unwrap());
    // Nor does she get it if she reviewed it by her API key, which leaves no assignment of hers.
    let owner = "update assignments set user_id = $1 where ended_as = 'decided'";
    for (user, is_hers) in [(bo.user, false), (anna.user, true)] {
        sqlx::query(owner).bind(user.0).execute(app.store.pool()).await.unwrap();
        if !is_hers {
            let own = claimed(&anna, AGAIN).await;
            assert_eq!(anna.assignment(own).await.kind, Kind::Review);
            assert!(app.store.assignments().release(own, anna.user).await.unwrap());
        }
    }
    let again = claimed(&bo, AGAIN).await;
    assert_eq!((bo.assignment(again).await.kind, bo.case(again).await.1), (Kind::Again, id));
    assert_eq!(bo.judges(again, Judgement::CertainlyDifferent).await, Judged::Ended);
    let feedback = app.store.assignments().feedback(again, bo.user).await.unwrap();
    let (judgement, first) = (Judgement::CertainlyDifferent, Some(Judgement::ProbablySame));
    assert_eq!(feedback, Some(Feedback::Again { judgement, outcome: Outcome::Approve, first }));
    assert_eq!(app.decisions(&id.to_string()).await.len(), 2, "nothing has changed");
    let figures = app.store.reviewers().figures(time::OffsetDateTime::UNIX_EPOCH).await.unwrap();
    let names: Vec<&str> = figures.iter().map(|figures| figures.name.as_str()).collect();
    assert_eq!(names, ["anna", "bo"]);
    assert!(figures.iter().all(|of| of.agreement == Rate { hits: 0, of: 1 }));
    assert!(figures[0].cases == 1 && figures[0].median.is_some() && figures[1].cases == 0);
    // Not twice to the same person.
    let next = claimed(&bo, AGAIN).await;
    assert_eq!(bo.assignment(next).await.kind, Kind::Review);
}
