//! What operators look for: a verification by whatever names it, rows of the audit, dead letters.

use uuid::Uuid;
use verdict::domain::ids::VerificationId;
use verdict::domain::verification::State;
use verdict::store::audit::{AuditContext, Wanted};

use crate::harness::protocol::{START, Steps};
use crate::harness::{Callback, TestApp, now};

fn audit_context(actor: &str) -> AuditContext {
    AuditContext { actor: actor.to_owned(), purpose: Some("look".to_owned()), at: START }
}

#[tokio::test]
async fn verification_is_found_by_whatever_names_it() {
    let app = TestApp::start().await;
    let body = serde_json::json!({ "biz_type": "test", "biz_id": "pass-97-a",
        "reference": "order-8812" });
    let message = Callback::signed(&body.to_string(), app.clock.now());
    let message_id = message.headers[1].1.clone();
    let id = app.post(message).await.id();
    let view = app.settled(&id).await;
    app.verified("pass-97-b").await;
    let wanted = vec![id.parse::<VerificationId>().unwrap()];
    let uuid = |value: &serde_json::Value| value.as_str().unwrap().parse::<Uuid>().unwrap();
    let search = app.store.search();
    for of in [&view["id"], &view["decision"]["id"], &view["decision"]["result_id"]] {
        assert_eq!(search.by_id(uuid(of)).await.unwrap(), wanted, "{of}");
    }
    assert!(search.by_id(Uuid::nil()).await.unwrap().is_empty());
    let sources = ["app".to_owned()];
    for text in ["pass-97-a", "order-8812", &message_id] {
        assert_eq!(search.by_text(text, &sources).await.unwrap(), wanted, "{text}");
    }
    for nothing in ["pass-97", "", "order-8812 "] {
        assert!(search.by_text(nothing, &sources).await.unwrap().is_empty(), "{nothing}");
    }
    // A message of a source that is not asked about.
    assert!(search.by_text(&message_id, &["other".to_owned()]).await.unwrap().is_empty());
}

#[tokio::test]
async fn audit_is_searched_from_the_newest_row_on() {
    let steps = Steps::new().await;
    let (audit, subject) = (steps.store.audit(), Uuid::from_u128(7));
    for n in 0..6 {
        let (actor, action) = if n % 2 == 0 {
            ("user:1 person:anna", "policy.activate")
        } else {
            ("key:2", "verification.refetch")
        };
        let about = (n < 4).then_some(subject);
        audit.record(&audit_context(actor), action, about, None).await.unwrap();
    }
    let found = async |wanted: &Wanted, before: Option<i64>, limit: i64| {
        let found = steps.store.audit().search(wanted, before, limit).await.unwrap();
        let positions: Vec<i64> = found.rows.iter().map(|row| row.position).collect();
        (positions, found.next)
    };
    let (newest, _) = steps.store.audit().audit_head().await.unwrap();
    let all = Wanted::default();
    assert_eq!(found(&all, None, 2).await, (vec![newest, newest - 1], Some(newest - 1)));
    assert_eq!(found(&all, Some(newest - 1), 2).await.0, [newest - 2, newest - 3]);
    let anna = Wanted { actor: Some("anna".to_owned()), ..Wanted::default() };
    assert_eq!(found(&anna, None, 9).await.0, [newest - 1, newest - 3, newest - 5]);
    let refetches = Wanted { action: Some("verification.".to_owned()), ..Wanted::default() };
    assert_eq!(found(&refetches, None, 9).await.0, [newest, newest - 2, newest - 4]);
    let about = Wanted { subject: Some(subject), ..refetches };
    assert_eq!(found(&about, None, 9).await, (vec![newest - 2, newest - 4], None));
    let later = Wanted { since: Some(now() + time::Duration::DAY), ..all };
    assert!(found(&later, None, 9).await.0.is_empty());
}

#[tokio::test]
async fn chosen_dead_letters_are_asked_about_again_and_no_others() {
    let steps = Steps::new().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(steps.accept_new(&steps.message(name)).await.id);
    }
    // Ids of one millisecond are in no order.
    ids[..2].sort();
    sqlx::query("update verifications set state = 'failed', due_at = null where biz_id <> 'c'")
        .execute(&steps.look)
        .await
        .unwrap();
    let operations = steps.store.operations();
    let by_code = operations.dead_letters_by_code(None).await.unwrap();
    assert_eq!((by_code.len(), by_code[0].count, &by_code[0].code), (1, 2, &None));
    let elsewhere = ["elsewhere".to_owned()];
    assert!(operations.dead_letters_by_code(Some(&elsewhere)).await.unwrap().is_empty());
    let letters = operations.dead_letters(State::Failed, None, None, None, 9).await.unwrap();
    let listed: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    assert_eq!(listed, [ids[0].0, ids[1].0]);
    let after = operations.dead_letters(State::Failed, None, None, Some(ids[0]), 9).await.unwrap();
    assert_eq!(after.len(), 1);
    let none = operations.dead_letters(State::Failed, Some("NoPermission"), None, None, 9).await;
    assert!(none.unwrap().is_empty());

    // The third is no dead letter.
    let chosen = [ids[0], ids[2]];
    let context = audit_context("cli:tester");
    let hour = std::time::Duration::from_hours(1);
    assert_eq!(steps.store.listing().refetch_chosen(&chosen, hour, &context).await.unwrap(), 1);
    assert_eq!(steps.store.listing().refetch_chosen(&chosen, hour, &context).await.unwrap(), 0);
    let state = |id: VerificationId| {
        let look = &steps.look;
        async move {
            sqlx::query_scalar::<_, String>("select state from verifications where id = $1")
                .bind(id.0)
                .fetch_one(look)
                .await
                .unwrap()
        }
    };
    assert_eq!((state(ids[0]).await, state(ids[1]).await), ("pending".into(), "failed".into()));
    let recorded: i64 =
        sqlx::query_scalar("select count(*) from audit where action = 'verification.refetch'")
            .fetch_one(&steps.look)
            .await
            .unwrap();
    assert_eq!(recorded, 1);
}
