//! Verifications that wait for their result, for attackers who want to wake them.

use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::{Callback, TestApp};

/// Runs statements without parameters.
pub async fn execute(pool: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await.unwrap();
}

/// A verification of face-verify that this source has reported, whose result is asked for in an
/// hour; its id.
pub async fn waiting(
    app: &TestApp,
    pool: &PgPool,
    (source, secret): (&str, &str),
    certify_id: &str,
) -> String {
    let body =
        json!({ "product": "face-verify", "biz_type": "1000000006", "certify_id": certify_id });
    let id = format!("msg_{certify_id}");
    let at = app.clock.now().unix_timestamp();
    let callback = Callback::signed_as(&id, &body.to_string(), at, secret);
    let reply = app.post(Callback { source: source.to_owned(), ..callback }).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    sleeps(pool, certify_id).await;
    reply.id()
}

/// Its result is asked for in an hour.
pub async fn sleeps(pool: &PgPool, certify_id: &str) {
    let set = format!(
        "update verifications set state = 'unfinished', due_at = now() + interval '1 hour'
         where certify_id = '{certify_id}'"
    );
    execute(pool, &set).await;
}

pub async fn is_due(pool: &PgPool, certify_id: &str) -> bool {
    let due = "select exists (select from verifications where certify_id = $1 and due_at <= now())";
    sqlx::query_scalar(due).bind(certify_id).fetch_one(pool).await.unwrap()
}
