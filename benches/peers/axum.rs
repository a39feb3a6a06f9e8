//! Plain axum with sqlx: one signed callback (Standard Webhooks), one durable row.

#![expect(clippy::disallowed_methods, reason = "as one would write it who has no such rules")]
#![expect(clippy::print_stderr, reason = "a fault has to be seen")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::net::TcpListener;
use uuid::Uuid;

const TOLERANCE: u64 = 300;
const INSERT: &str = "insert into callbacks
        (source, message_id, digest, verification_id, biz_type, biz_id, reference)
    values ($1, $2, $3, $4, $5, $6, $7) on conflict (source, message_id) do nothing";
const KNOWN: &str =
    "select digest, verification_id from callbacks where source = $1 and message_id = $2";

#[derive(Clone)]
struct Peer {
    pool: PgPool,
    secret: Arc<[u8]>,
}

#[derive(Deserialize)]
struct Callback {
    biz_type: String,
    biz_id: String,
    reference: Option<String>,
}

type Refusal = (StatusCode, &'static str);

/// Serves until it is killed.
pub async fn serve() -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let secret = STANDARD.decode(variable("WEBHOOK_SECRET")?.trim_start_matches("whsec_"))?.into();
    let pool = PgPoolOptions::new().max_connections(16);
    let pool = pool.connect(&variable("DATABASE_URL")?).await?;
    let app = Router::new().route("/v1/callbacks/{source}", post(accept));
    let listener = TcpListener::bind(("127.0.0.1", variable("PORT")?.parse()?)).await?;
    Ok(axum::serve(listener, app.with_state(Peer { pool, secret })).await?)
}

async fn accept(
    State(peer): State<Peer>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let id = message_id(&peer.secret, &headers, &body)
        .ok_or((StatusCode::UNAUTHORIZED, "signature-invalid"))?;
    let callback: Callback = serde_json::from_slice(&body)
        .map_err(|_| (StatusCode::UNPROCESSABLE_ENTITY, "invalid-field"))?;
    let digest = Sha256::digest(&body);
    let mut verification = Uuid::new_v4();
    let inserted = sqlx::query(INSERT)
        .bind(&source)
        .bind(id)
        .bind(&digest[..])
        .bind(verification)
        .bind(&callback.biz_type)
        .bind(&callback.biz_id)
        .bind(&callback.reference)
        .execute(&peer.pool)
        .await
        .map_err(unavailable)?;
    if inserted.rows_affected() == 0 {
        let known = sqlx::query_as::<_, (Vec<u8>, Uuid)>(KNOWN).bind(&source).bind(id);
        let (same, first) = known.fetch_one(&peer.pool).await.map_err(unavailable)?;
        if same != digest[..] {
            return Err((StatusCode::CONFLICT, "idempotency-mismatch"));
        }
        verification = first;
    }
    let Callback { biz_type, biz_id, .. } = callback;
    let answer =
        json!({ "id": verification, "biz_type": biz_type, "biz_id": biz_id, "state": "pending" });
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// The message's id, if the sender has signed it just now.
fn message_id<'a>(secret: &[u8], headers: &'a HeaderMap, body: &[u8]) -> Option<&'a str> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    if now.abs_diff(timestamp.parse().ok()?) > TOLERANCE {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let fits = |given: &str| {
        let given = given.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        given.is_some_and(|given| mac.clone().verify_slice(&given).is_ok())
    };
    header("webhook-signature")?.split(' ').any(fits).then_some(id)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: sqlx::Error) -> Refusal {
    eprintln!("{error}");
    (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
}
