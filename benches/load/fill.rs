//! Verifications in number, made in SQL as the service leaves them.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;
use verdict::domain::clock::Clock;
use verdict::vault::person_index::PERSON_INDEX;
use verdict::vault::{Key, KeyRing, Vault};

use crate::backtest;
use crate::environment::{Database, VAULT_KEY};

/// Rows of one statement.
const CHUNK: i64 = 250_000;

/// Sessions that fill a table at the same time.
const SESSIONS: usize = 2;

/// 2026-01-01, in milliseconds since 1970: the time from which rows count.
const FIRST: i64 = 1_767_225_600_000;

/// Milliseconds between two rows.
const STEP: i64 = 100;

/// The id of the `n`th decided verification, from 1. It carries the time of its row, as a list by
/// time expects.
pub fn id(n: i64) -> Uuid {
    let time = format!("{:012x}", FIRST + n * STEP);
    let digits = format!("{time}70008000{n:012}");
    digits.parse().unwrap_or_default()
}

/// The same in SQL, of an expression such as `:n`.
pub fn id_in_sql(n: &str) -> String {
    format!(
        "(lpad(to_hex({FIRST} + {n} * {STEP}), 12, '0') || '70008000' || lpad({n}::text, 12, '0'))::uuid"
    )
}

/// Decided verifications from the `from`th to the `to`th, each with its callback, key, answer and
/// decision. The sealed bodies are short: they are stored apart and never read here.
pub async fn decided(database: &Database, from: i64, to: i64) -> anyhow::Result<()> {
    know_the_vault(database).await?;
    let mut first = from;
    while first <= to {
        let last = to.min(first + CHUNK - 1);
        let evidence = Json(backtest::evidence(1));
        let insert = format!(
            "with n as materialized (
                select * from generate_series($1::bigint, $2::bigint) as n{}){DECIDED}",
            at()
        );
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(first).bind(last).bind(evidence);
        insert.execute(&database.pool).await?;
        first = last + 1;
    }
    Ok(())
}

/// A service that finds nothing its key opens takes it for another one, and the data keys that are
/// made here open with none.
async fn know_the_vault(database: &Database) -> anyhow::Result<()> {
    let ring = KeyRing::new(vec![Key::parse("bench".to_owned(), VAULT_KEY)?])?;
    let (_, named) = Vault::new(ring).new_named_key(PERSON_INDEX)?;
    let (store, now) = (database.store(1)?, Clock::system().now());
    store.vault_keys().named_key(PERSON_INDEX, (&named.key_id, &named.bytes), now).await?;
    Ok(())
}

/// After the table expression `n`, which `decided` makes.
const DECIDED: &str = ", verification as (
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

/// Which tables are filled besides verifications and callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Data key, result, decision and event of each.
    Everything,
    /// Nothing: the verifications have failed.
    Lean,
}

/// The first `count` verifications of an empty database, as a dump is restored: rows first, without
/// triggers, then the indexes.
pub async fn in_bulk(database: &Database, count: i64, contents: Contents) -> anyhow::Result<()> {
    let lean = contents == Contents::Lean;
    if !lean {
        know_the_vault(database).await?;
    }
    let mut connection = database.pool.acquire().await?;
    connection.execute(sqlx::raw_sql(SETTINGS)).await?;
    connection.execute(sqlx::raw_sql(BEFORE)).await?;
    let next = AtomicUsize::new(0);
    let chunks = chunks(count, lean);
    let sessions = (0..SESSIONS).map(|_| fill_chunks(database, &chunks, &next, lean));
    try_join_all(sessions).await?;
    if !lean {
        sqlx::query(NUMBERED).bind(count).execute(&mut *connection).await?;
    }
    for table in ["verifications", "callbacks", "data_keys", "results", "decisions", "events"] {
        connection.execute(AssertSqlSafe(format!("reindex table {table}"))).await?;
    }
    // Settings of the session go with it.
    Ok(connection.close().await?)
}

/// The head of an insert, and the first and last row that it fills.
type Chunk = (&'static str, i64, i64);

fn chunks(count: i64, lean: bool) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for table in if lean { &TABLES[..2] } else { &TABLES[..] } {
        let mut first = 1;
        while first <= count {
            let last = count.min(first + CHUNK - 1);
            chunks.push((*table, first, last));
            first = last + 1;
        }
    }
    chunks
}

/// One session, which takes whichever chunk is next until there is none.
async fn fill_chunks(
    database: &Database,
    chunks: &[Chunk],
    next: &AtomicUsize,
    lean: bool,
) -> anyhow::Result<()> {
    let mut connection = database.pool.acquire().await?;
    connection.execute(sqlx::raw_sql(SETTINGS)).await?;
    let evidence = Json(backtest::evidence(1));
    while let Some((table, first, last)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
        let rows = "from generate_series($1::bigint, $2::bigint) as n";
        let insert = format!("{table} {rows}{}{GIVEN}", at());
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(first).bind(last);
        insert.bind(&evidence).bind(lean).execute(&mut *connection).await?;
    }
    Ok(connection.close().await?)
}

/// Without triggers, and without waiting for the disk.
const SETTINGS: &str = "
set session_replication_role = replica;
set synchronous_commit = off;
set maintenance_work_mem = '1GB'";

/// Postgres leaves an index alone that is not ready; `reindex` builds it.
const BEFORE: &str = "
do $$ begin perform verdict_event_week(current_date); end $$;
insert into policies values ('sha256:bench', 'bench', 'none', now()) on conflict do nothing;
update pg_index set indisready = false, indisvalid = false where indrelid in (
    select c.oid from pg_class c left join pg_inherits i on i.inhrelid = c.oid
    where c.relkind = 'r' and coalesce(i.inhparent, c.oid) = any
        ('{verifications,callbacks,data_keys,results,decisions,events}'::regclass[]))";

/// The verification's id, its result's, its decision's, its key and its time. The keys are serial
/// numbers that come in no order.
fn at() -> String {
    format!(
        " cross join lateral (select
            {FIRST} + n * {STEP} as ms, lpad(n::text, 12, '0') as serial) as counted
        cross join lateral (select lpad(to_hex(ms), 12, '0') as time) as digits
        cross join lateral (select
            (time || '70008000' || serial)::uuid as id,
            (time || '70009000' || serial)::uuid as result_id,
            (time || '7000a000' || serial)::uuid as decision_id,
            md5(n::text) as key, to_timestamp(ms / 1000.0) as at) as of"
    )
}

/// Every statement of `TABLES` takes these, whether it needs them or not.
const GIVEN: &str = " where ($3::jsonb, $4::boolean) is not null";

/// As `DECIDED` writes them, and the events.
const TABLES: [&str; 6] = [
    "insert into verifications (id, biz_type, biz_id, reference, state, closed, created_at,
        updated_at, callbacks, attempts, give_up_at, result_id, decision_id)
     select id, case n % 1000 when 1 then 'rare' else 'onboarding' end, key, 'user-' || n,
        case when $4 or n % 1000 = 2 then 'failed' else 'decided' end, true, at, at, 1, 1, at,
        case when not $4 then result_id end, case when not $4 then decision_id end",
    "insert into callbacks (source, message_id, digest, verification_id, received_at,
        answer_state, answer_attempts)
     select 'app', 'msg_' || key, sha256(key::bytea), id, at, 'pending', 0",
    "insert into data_keys select id, 'bench', decode(repeat('ab', 60), 'hex')",
    "insert into results (id, verification_id, attempt, fetched_at, request_id, http_status,
        verify_status, authority_score, evidence, sealed_body)
     select result_id, id, 1, at, key, 200, 1, 97.5, $3, decode(repeat('cd', 60), 'hex')",
    "insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
        decided_by, decided_at)
     select decision_id, id, result_id, 'sha256:bench',
        case n % 1000 when 3 then 'review' else 'approve' end,
        '[{\"code\": \"provider-passed\", \"rule\": \"passed\", \"outcome\": \"approve\", \"observed\":
            [{\"field\": \"verify_status\", \"value\": 1, \"operator\": \"eq\", \"bound\": 1}]}]',
        'policy', at",
    "insert into events (logged_on, number, kind, verification_id, verification_sequence,
        decision_id, with_reference, at)
     select current_date, n, 'verification.decided', id, 1, decision_id, true, at",
];

/// The event log has the numbers of all of them.
const NUMBERED: &str = "
with week as (
    insert into event_weeks values (date_trunc('week', current_date)::date, 1) on conflict do nothing
)
update event_log set number = $1, logged_on = current_date, seen = pg_current_snapshot()";

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
