//! Verifications in number, made in SQL as the service leaves them.

use sqlx::Executor;
use sqlx::types::Json;
use uuid::Uuid;
use verdict::domain::clock::Clock;
use verdict::vault::person_index::PERSON_INDEX;
use verdict::vault::{Key, KeyRing, Vault};

use crate::backtest;
use crate::environment::{Database, VAULT_KEY};

/// Rows of one statement.
const CHUNK: i64 = 250_000;

/// The id of the `n`th decided verification, from 1.
pub fn id(n: i64) -> Uuid {
    let digits = format!("01900000-0000-7000-8000-{n:012}");
    digits.parse().unwrap_or_default()
}

/// The same in SQL, of a variable named `:n`.
pub const ID: &str = "('01900000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid";

/// Decided verifications from the `from`th to the `to`th, each with its callback, key, answer and
/// decision. The sealed bodies are short: they are stored apart and never read here.
pub async fn decided(database: &Database, from: i64, to: i64) -> anyhow::Result<()> {
    // A service that finds nothing its key opens takes it for another one: what is made below opens
    // with none.
    let ring = KeyRing::new(vec![Key::parse("bench".to_owned(), VAULT_KEY)?])?;
    let (_, named) = Vault::new(ring).new_named_key(PERSON_INDEX)?;
    let (store, now) = (database.store(1)?, Clock::system().now());
    store.vault_keys().named_key(PERSON_INDEX, (&named.key_id, &named.bytes), now).await?;
    let mut first = from;
    while first <= to {
        let last = to.min(first + CHUNK - 1);
        let evidence = Json(backtest::evidence(1));
        sqlx::query(DECIDED).bind(first).bind(last).bind(evidence).execute(&database.pool).await?;
        first = last + 1;
    }
    Ok(())
}

const DECIDED: &str = "
with n as materialized (
    select n, ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid as id,
        ('01900000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid as result_id,
        ('01900000-0000-7000-a000-' || lpad(n::text, 12, '0'))::uuid as decision_id,
        -- Serial numbers that come in no order.
        md5(n::text) as key, timestamptz '2026-01-01' + n * interval '1 second' as at
    from generate_series($1::bigint, $2::bigint) as n
), verification as (
    insert into verifications (id, biz_type, biz_id, reference, state, closed, created_at,
        updated_at, callbacks, attempts, give_up_at, result_id, decision_id)
    -- One in a thousand is of a small scene, another has failed, a third is to be reviewed.
    select id, case n % 1000 when 1 then 'rare' else 'onboarding' end, key, 'user-' || n,
        case n % 1000 when 2 then 'failed' else 'decided' end, true, at, at, 1, 1, at, result_id,
        decision_id from n
), callback as (
    insert into callbacks (source, message_id, digest, verification_id, received_at,
        answer_state, answer_attempts)
    select 'app', 'msg_' || key, sha256(key::bytea), id, at, 'pending', 0 from n
), key as (
    insert into data_keys select id, 'bench', decode(repeat('ab', 60), 'hex') from n
), result as (
    insert into results (id, verification_id, attempt, fetched_at, request_id, http_status,
        verify_status, authority_score, evidence, sealed_body)
    select result_id, id, 1, at, key, 200, 1, 97.5, $3, decode(repeat('cd', 60), 'hex')
    from n
)
insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
    decided_by, decided_at)
select decision_id, id, result_id, 'sha256:bench', case n % 1000 when 3 then 'review' else 'approve' end,
    '[{\"code\": \"provider-passed\", \"rule\": \"passed\", \"outcome\": \"approve\", \"observed\":
        [{\"field\": \"verify_status\", \"value\": 1, \"operator\": \"eq\", \"bound\": 1}]}]',
    'policy', at
from n";

/// Verifications that wait to be asked about, due now.
pub async fn due(database: &Database, count: i64) -> anyhow::Result<()> {
    sqlx::query(
        "insert into verifications (id, biz_type, biz_id, state, created_at, updated_at, callbacks,
            due_at, give_up_at)
         select gen_random_uuid(), 'onboarding', gen_random_uuid()::text, 'pending', now(), now(), 1,
            now(), now() + interval '1 hour' from generate_series(1, $1::bigint)",
    )
    .bind(count)
    .execute(&database.pool)
    .await?;
    Ok(())
}

/// As autovacuum would leave it, given time.
pub async fn settle_down(database: &Database) -> anyhow::Result<()> {
    database.pool.execute("vacuum analyze").await?;
    database.pool.execute("checkpoint").await?;
    Ok(())
}
