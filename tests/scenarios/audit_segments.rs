//! The audit lies in segments. Retention drops the oldest, and the chain is verified across the drop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use uuid::Uuid;
use verdict::audit_log::{self, Kept, drop_oldest};
use verdict::domain::ids::{Ids, VerificationId};
use verdict::domain::timeline::{RemovedKind, What};
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::vault::{AuditSeal, Key, KeyRing, Vault};

use crate::harness::{
    Options, Setting, empty_database, eventually, new_database, now, run_verdict, vault_secret,
};

/// The newest migration before the audit had segments.
const BEFORE: i64 = 20_261_130_000_060;
const DAY: i64 = 86_400;
/// As every version adds a row.
const ADD: &str = "insert into audit (at, actor, action, subject, purpose, details)
    values (now(), 'cli:tester', 'test', null, null, null)";

pub async fn one<T>(pool: &PgPool, statement: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(pool).await.unwrap()
}

pub async fn record(store: &Store, rows: usize, subject: Option<Uuid>) {
    let audit = AuditContext { actor: "cli:tester".to_owned(), purpose: None, at: now() };
    for _ in 0..rows {
        store.audit().record(&audit, "test", subject, None).await.unwrap();
    }
}

/// The shortest clocks that go together.
pub fn options() -> Options {
    let more = "[retention]\nperson_days = 30\naudit_days = 183".to_owned();
    Options { fixed_clock: false, more, ..Options::default() }
}

pub async fn seal(store: &Store) -> AuditSeal {
    let key = Key::parse("test", &vault_secret("test")).unwrap();
    let vault = Vault::new(KeyRing::new(vec![key]).unwrap());
    audit_log::seal(store, &vault).await.unwrap().unwrap()
}

/// Serves until every row has a checkpoint.
pub async fn signed(setting: &Setting, pool: &PgPool) {
    let process = setting.serve().await;
    eventually("every row is signed", || async {
        let signed = "select (select max(position) from audit_checkpoints)
            = (select position from audit_head)";
        one::<Option<bool>>(pool, signed).await.unwrap_or(false).then_some(())
    })
    .await;
    process.kill().await;
}

#[tokio::test]
async fn migration_segments_the_audit_while_others_add_rows() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let migrator = Migrator::new(root.join("migrations")).await.unwrap();
    migrator.run_to(BEFORE, &mut connection).await.unwrap();
    let role = format!("segments_{}", Ids::random().nonce());
    for grant in [
        format!("create role {role}"),
        format!(
            "grant select, insert (at, actor, action, subject, purpose, details) on audit to {role}"
        ),
    ] {
        connection.execute(AssertSqlSafe(grant)).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (done, role) = (Arc::clone(&done), role.clone());
        async move {
            // One session throughout, with the plans that it has kept, and without rights on anything
            // that is new.
            connection.execute("set plan_cache_mode = force_generic_plan").await.unwrap();
            connection.execute(AssertSqlSafe(format!("set role {role}"))).await.unwrap();
            let mut added = 0_i64;
            while !done.load(Ordering::SeqCst) || added < 20 {
                sqlx::query(ADD).execute(&mut connection).await.unwrap();
                added += 1;
            }
            added
        }
    });
    let pool = database.pool().await;
    eventually("rows are there", || async {
        (one::<i64>(&pool, "select position from audit_head").await > 5).then_some(())
    })
    .await;
    let (code, said, error) = run_verdict(&["migrate"], &[("DATABASE_URL", &database.url)]).await;
    done.store(true, Ordering::SeqCst);
    let added = writer.await.unwrap();
    assert_eq!(code, 0, "{said}{error}");
    let whole = audit_log::verify(&database.store(), None, &[]).await.unwrap();
    assert_eq!((whole.last.position, whole.dropped), (added, 0));
    let rights: (bool, bool) = sqlx::query_as(AssertSqlSafe(format!(
        "select has_column_privilege('{role}', 'audit', 'digest', 'insert'),
             has_any_column_privilege('{role}', 'audit_before', 'select')"
    )))
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(rights, (false, false));
}

#[tokio::test]
async fn new_segments_open_while_others_add_rows() {
    let database = new_database().await;
    let (pool, store) = (database.pool().await, database.store());
    record(&store, 1, None).await;
    assert!(!store.audit_cuts().turn().await.unwrap(), "it is of this month");
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (done, pool) = (Arc::clone(&done), pool.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    // Several rows in one statement, and in one transaction.
                    let mut transaction = pool.begin().await.unwrap();
                    sqlx::query(ADD).execute(&mut *transaction).await.unwrap();
                    let two = "insert into audit (at, actor, action)
                        select now(), 'cli:tester', n::text from generate_series(1, 2) n";
                    sqlx::query(two).execute(&mut *transaction).await.unwrap();
                    transaction.commit().await.unwrap();
                }
            })
        })
        .collect();
    for month in 1..=4 {
        let before: i64 = one(&pool, "select position from audit_head").await;
        eventually("rows are added", || async {
            let position: i64 = one(&pool, "select position from audit_head").await;
            (position > before + 6).then_some(())
        })
        .await;
        database.shift_clock(month * 40 * DAY).await;
        // It gives up where it has to wait.
        eventually("a segment is opened", || async {
            let _ = store.audit_cuts().turn().await;
            let open: i32 = one(&pool, "select segment from audit_head").await;
            (i64::from(open) == month).then_some(())
        })
        .await;
    }
    done.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let whole = audit_log::verify(&store, None, &[]).await.unwrap();
    assert_eq!(whole.last.position, one::<i64>(&pool, "select count(*) from audit").await);
    assert_eq!(one::<i64>(&pool, "select count(distinct segment) from audit").await, 5);
    let mixed =
        "select count(*) from (select segment < lag(segment) over (order by position) as back
        from audit) s where back";
    assert_eq!(one::<i64>(&pool, mixed).await, 0, "segments follow one another");
    for edit in ["update audit_segment_1 set actor = 'x'", "truncate audit_segment_1"] {
        let refused = pool.execute(edit).await.unwrap_err().to_string();
        assert!(refused.contains("rows of audit are never edited"), "{edit}: {refused}");
    }
    // A month in which nothing happened needs no segment.
    database.shift_clock(240 * DAY).await;
    assert!(store.audit_cuts().turn().await.unwrap());
    database.shift_clock(280 * DAY).await;
    assert!(!store.audit_cuts().turn().await.unwrap());
}

#[tokio::test]
async fn segment_is_kept_while_a_person_in_it_is() {
    let setting = Setting::new(options()).await;
    let (pool, store) = (setting.database.pool().await, setting.database.store());
    let person = Uuid::from_u128(7);
    let add =
        "insert into verifications (id, biz_type, biz_id, state, closed, created_at, updated_at,
            callbacks, attempts, give_up_at)
        values ('00000000-0000-0000-0000-000000000007', 'test', '1', 'decided', true, now(), now(),
            1, 1, now())";
    pool.execute(add).await.unwrap();
    record(&store, 3, Some(person)).await;
    signed(&setting, &pool).await;
    let seal = seal(&store).await;
    let drop_it = async |days| drop_oldest(&store, &seal, days, now()).await;
    setting.database.shift_clock(184 * DAY).await;
    assert_eq!(drop_it(183).await.unwrap(), Kept::Young, "it is open");
    assert!(store.audit_cuts().turn().await.unwrap());
    assert_eq!(drop_it(185).await.unwrap(), Kept::Young);
    // The database decides, whoever asks.
    let by_hand = |segment: i32, days: i32| {
        format!(
            "select verdict_cut_audit({segment}, {days}, position, digest, now(), digest, digest)
             from audit order by position desc limit 1"
        )
    };
    for (segment, days) in [(0, 182), (0, 185), (1, 183)] {
        let refused = pool.execute(AssertSqlSafe(by_hand(segment, days))).await.unwrap_err();
        assert!(refused.to_string().contains("the audit"), "{segment}, {days}: {refused}");
    }

    let last: i64 = one(&pool, "select position from audit_head").await;
    assert_eq!(drop_it(183).await.unwrap(), Kept::Needed(last));
    let erasure = "insert into erasures (verification_id, requested_at, requested_by, purpose)
        values ('00000000-0000-0000-0000-000000000007', now(), 'cli:tester', 'test')";
    for change in [erasure, "update verifications set state = 'erased'"] {
        pool.execute(change).await.unwrap();
    }
    assert_eq!(drop_it(183).await.unwrap(), Kept::Needed(last), "its erasure is not complete");
    pool.execute("update erasures set completed_at = now()").await.unwrap();

    // A change is not hidden by a cut, and a reader is not waited for.
    let changed = |purpose: &str| {
        format!(
            "alter table audit disable trigger all; update audit set purpose = {purpose}
             where position = {last}; alter table audit enable trigger all"
        )
    };
    sqlx::raw_sql(AssertSqlSafe(changed("'x'"))).execute(&pool).await.unwrap();
    let broken = drop_it(183).await.unwrap_err().to_string();
    assert_eq!(broken, format!("row {last} was changed"));
    sqlx::raw_sql(AssertSqlSafe(changed("null"))).execute(&pool).await.unwrap();
    let mut reader = pool.begin().await.unwrap();
    reader.execute("select count(*) from audit").await.unwrap();
    let refused = drop_it(183).await.unwrap_err().to_string();
    assert!(refused.contains("55P03"), "{refused}");
    reader.rollback().await.unwrap();
    assert_eq!(one::<i64>(&pool, "select count(*) from audit_leaves").await, 0);

    let rows = u64::try_from(last).unwrap();
    assert_eq!(drop_it(183).await.unwrap(), Kept::Not { rows, last });
    assert_eq!(drop_it(183).await.unwrap(), Kept::Young);
    let whole = audit_log::verify(&store, Some(&seal), &[]).await.unwrap();
    assert_eq!((whole.dropped, whole.last.position), (last, last + 1));
    let timeline = store.timeline().events_of(VerificationId(person)).await.unwrap();
    let removed = timeline.iter().any(|event| {
        matches!(&event.what, What::Removed(removed)
            if removed.kind == RemovedKind::Audit && removed.days == Some(183))
    });
    assert!(removed, "{timeline:?}");
}

#[tokio::test]
async fn change_on_record_looks_only_into_the_open_segment() {
    let database = new_database().await;
    let (pool, store) = (database.pool().await, database.store());
    record(&store, 1, None).await;
    for month in 1..=3 {
        database.shift_clock(month * 40 * DAY).await;
        assert!(store.audit_cuts().turn().await.unwrap());
        record(&store, 1, None).await;
    }
    let mut transaction = pool.begin().await.unwrap();
    for change in [
        "insert into verifications (id, biz_type, biz_id, state, closed, created_at, updated_at,
            callbacks, attempts, give_up_at)
         values ('00000000-0000-0000-0000-000000000007', 'test', '1', 'erased', true, now(), now(),
            1, 1, now()),
            ('00000000-0000-0000-0000-000000000008', 'test', '2', 'decided', true, now(), now(),
            1, 1, now())",
        "insert into audit (at, actor, action, subject) values
            (now(), 'cli:tester', 'verification.erase', '00000000-0000-0000-0000-000000000007'),
            (now(), 'cli:tester', 'verification.review', '00000000-0000-0000-0000-000000000008')",
        "insert into erasures (verification_id, requested_at, requested_by, purpose)
         values ('00000000-0000-0000-0000-000000000007', now(), 'cli:tester', 'test')",
        "insert into reviews (id, verification_id, about, outcome, reason, reviewer, reviewed_at)
         values (gen_random_uuid(), '00000000-0000-0000-0000-000000000008', gen_random_uuid(),
            'reject', 'test', 'cli:tester', now())",
    ] {
        sqlx::query(change).execute(&mut *transaction).await.unwrap();
    }
    // Scans by this transaction, in the open segment and in the others.
    let (open, others): (i64, i64) = sqlx::query_as(
        "select coalesce(sum(scans) filter (where part = 'audit_segment_3'::regclass), 0)::bigint,
             coalesce(sum(scans) filter (where part <> 'audit_segment_3'::regclass), 0)::bigint
         from (
             select h.inhrelid as part, pg_stat_get_xact_numscans(h.inhrelid) + (
                 select sum(pg_stat_get_xact_numscans(i.indexrelid)) from pg_index i
                 where i.indrelid = h.inhrelid) as scans
             from pg_inherits h where h.inhparent = 'audit'::regclass) parts",
    )
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    assert!(open > 0 && others == 0, "{open} of the open segment, {others} of others");
    transaction.rollback().await.unwrap();
}

/// Two dropped segments, and a third with the rows about dropping them. The position of each cut.
pub async fn dropped_twice(setting: &Setting, pool: &PgPool) -> (i64, i64) {
    let store = setting.database.store();
    record(&store, 4, Some(Uuid::nil())).await;
    signed(setting, pool).await;
    setting.database.shift_clock(40 * DAY).await;
    assert!(store.audit_cuts().turn().await.unwrap());
    record(&store, 3, None).await;
    signed(setting, pool).await;
    setting.database.shift_clock(300 * DAY).await;
    let process = setting.serve().await;
    eventually("a worker drops both", || async {
        (one::<i64>(pool, "select count(*) from audit_cuts").await == 2).then_some(())
    })
    .await;
    let idle = "select count(*) from audit_checkpoints
        where position < (select max(position) from audit_cuts)";
    eventually("and the checkpoints before the newest cut", || async {
        (one::<i64>(pool, idle).await == 0).then_some(())
    })
    .await;
    let log = process.kill().await.join("\n");
    assert!(log.contains("retention: audit segment dropped"), "{log}");
    signed(setting, pool).await;
    // Those that a cut does not stand for are kept, whoever asks.
    let refused = pool.execute("delete from audit_checkpoints").await.unwrap_err().to_string();
    assert!(refused.contains("rows of audit_checkpoints are never edited"), "{refused}");
    assert!(one::<i64>(pool, "select count(*) from audit_checkpoints").await > 0);
    (
        one(pool, "select min(position) from audit_cuts").await,
        one(pool, "select max(position) from audit_cuts").await,
    )
}

#[tokio::test]
async fn audit_is_verified_across_dropped_segments() {
    let setting = Setting::new(options()).await;
    let pool = setting.database.pool().await;
    let (_, last) = dropped_twice(&setting, &pool).await;
    assert_eq!(one::<i64>(&pool, "select min(position) from audit").await, last + 1);
    let recorded = format!(
        "select count(*) from audit where action = 'retention.drop'
            and purpose = 'retention.audit_days' and (details::json ->> 'until')::bigint <= {last}"
    );
    assert_eq!(one::<i64>(&pool, &recorded).await, 2);
    let dropped = format!("(the first {last} dropped by retention)");
    let known: Vec<String> = sqlx::query_scalar(
        "select position || ':' || encode(digest, 'hex') from audit_leaves order by position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let (code, export, error) = setting.run(&["audit", "list", "--json"], "").await;
    assert_eq!(code, 0, "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &export).unwrap();
    let name = file.path().to_str().unwrap().to_owned();
    let (live, of_file) = (["audit", "verify"], ["audit", "verify", "--file", name.as_str()]);
    let other = format!("2:{}", "0".repeat(64));
    for verify in [&live[..], &of_file[..]] {
        for more in [&[][..], &["--strict"], &["--expect", &known[1], "--expect", &known[4]]] {
            let (code, said, error) = setting.run(&[verify, more].concat(), "").await;
            assert!(code == 0 && said.contains(&dropped), "{verify:?} {more:?}: {said}{error}");
        }
        // A dropped row is known by its digest.
        let (code, _, error) = setting.run(&[verify, &["--expect", &other]].concat(), "").await;
        assert!(code == 1 && error.contains("anew: row 2"), "{verify:?}: {error}");
    }
    // Without configuration and database.
    assert_eq!(run_verdict(&of_file, &[]).await.0, 0);
    let lines: Vec<&str> = export.lines().collect();
    let without = |beginning: &str| {
        let kept = lines.iter().filter(|line| !line.starts_with(beginning));
        kept.fold(String::new(), |all, line| all + line + "\n")
    };
    for (bent, says) in [
        (without("{\"cut\""), format!("digests of dropped rows up to row {last}")),
        (without("{\"leaves\""), "what does not belong there".to_owned()),
        (export.replace(&known[1][2..], &known[0][2..]), "the chain was written anew".to_owned()),
    ] {
        std::fs::write(file.path(), &bent).unwrap();
        let (code, _, error) = run_verdict(&of_file, &[]).await;
        assert!(code == 1 && !error.is_empty(), "{says}: {error}");
        assert!(
            error.contains(&says) || error.contains("digests of dropped rows"),
            "{says}: {error}"
        );
    }
    // Dropped rows are not listed.
    let (code, rows, error) = setting.run(&["audit", "list"], "").await;
    let first = rows.lines().nth(1).unwrap_or_default();
    assert!(code == 0 && first.starts_with(&format!("{} ", last + 1)), "{rows}{error}");
}

/// A superuser of the database attacks after two segments were dropped, up to `{first}` and `{last}`:
/// the attack, its SQL, and the answer of `audit verify`.
pub const ATTACKS: &[(&str, &str, &str)] = &[
    (
        "the rows are deleted, and a cut is forged from a checkpoint",
        "with gone as (delete from audit where position <= {signed} returning position, digest)
            insert into audit_leaves select position, digest from gone;
         insert into audit_cuts select position, digest, at, digest, mac from audit_checkpoints
            where position = {signed}",
        "the cut at row {signed} was not made by this installation",
    ),
    (
        "a cut is moved",
        "update audit_cuts set position = {last} - 1 where position = {last}",
        "was not made by this installation",
    ),
    (
        "a cut is dated back",
        "update audit_cuts set at = at - interval '1 day' where position = {last}",
        "the cut at row {last} was not made by this installation",
    ),
    (
        "a digest of a dropped row is changed, and no checkpoint is left that names it",
        "delete from audit_checkpoints where position <= {last};
         update audit_leaves set digest = sha256(digest) where position = 2",
        "digests of dropped rows were changed: they are not those of the cut at row {first}",
    ),
    (
        "a digest is deleted",
        "delete from audit_leaves where position = 2",
        "digests of dropped rows are missing: after row 1 comes row 3",
    ),
    (
        "the newest digests are deleted",
        "delete from audit_leaves where position = {last}",
        "digests of dropped rows are missing",
    ),
    (
        "all digests are deleted",
        "delete from audit_leaves",
        "digests of dropped rows are missing: after row 0 comes row {first}",
    ),
    (
        "the newest cut is deleted",
        "delete from audit_cuts where position = {last}",
        "there are digests of dropped rows up to row {last}, and no cut",
    ),
    (
        "the newest cut is deleted with its digests",
        "delete from audit_cuts where position = {last};
         delete from audit_leaves where position > {first};
         delete from audit_checkpoints where position > {first} and position <= {last}",
        "after row {first} comes row {next}: rows are missing",
    ),
    (
        "all cuts and digests are deleted",
        "delete from audit_cuts; delete from audit_leaves;
         delete from audit_checkpoints where position <= {last}",
        "the rows before row {next} are missing, and no cut accounts for them",
    ),
    (
        "a dropped row comes back, with other content",
        "insert into audit (position, at, actor, action, previous, digest)
         select 2, at, 'cli:nobody', action, previous, digest from audit where position = {next}",
        "after row {last} comes row 2",
    ),
    (
        "a second row in the place of another",
        "insert into audit (position, at, actor, action, previous, digest)
         select position, at, 'cli:nobody', action, previous, digest from audit
         where position = {next}",
        "row {next}",
    ),
    (
        "a partition is dropped without a cut",
        "drop table audit_segment_2",
        "after row {last} comes row {after}: rows are missing",
    ),
];

#[tokio::test]
async fn audit_verify_names_each_attack_on_what_was_dropped() {
    let setting = Setting::new(options()).await;
    let pool = setting.database.pool().await;
    let (first, last) = dropped_twice(&setting, &pool).await;
    let store = setting.database.store();
    // A third segment with rows, for the last attack.
    setting.database.shift_clock(340 * DAY).await;
    assert!(store.audit_cuts().turn().await.unwrap());
    let after: i64 = one::<i64>(&pool, "select position from audit_head").await + 1;
    record(&store, 2, None).await;
    let signed: i64 = one(&pool, "select max(position) from audit_checkpoints").await;
    let seal = seal(&store).await;
    audit_log::verify(&store, Some(&seal), &[]).await.unwrap();
    let tables = ["audit", "audit_cuts", "audit_leaves", "audit_checkpoints"];
    let mut restore = String::new();
    for table in tables {
        let saved = format!("create table saved_{table} as select * from {table}");
        pool.execute(AssertSqlSafe(saved)).await.unwrap();
        let again = "delete from {table}; insert into {table} select * from saved_{table};";
        restore.push_str(&again.replace("{table}", table));
    }
    let filled = |text: &str| {
        text.replace("{first}", &first.to_string())
            .replace("{last}", &last.to_string())
            .replace("{next}", &(last + 1).to_string())
            .replace("{signed}", &signed.to_string())
            .replace("{after}", &after.to_string())
    };
    let off = tables.map(|table| format!("alter table {table} disable trigger all;")).concat();
    let is_last = ATTACKS.len() - 1;
    for (number, (attack, sql, says)) in ATTACKS.iter().enumerate() {
        let (sql, says) = (filled(sql), filled(says));
        // A row that is added becomes the newest one, wherever it is meant to go.
        if number < is_last && !sql.starts_with("insert") {
            let refused = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&pool).await;
            assert!(refused.is_err(), "{attack}: not even refused");
        }
        sqlx::raw_sql(AssertSqlSafe(format!("{off}{sql}"))).execute(&pool).await.unwrap();
        let (code, _, error) = setting.run(&["audit", "verify"], "").await;
        assert!(code == 1 && error.contains(&says), "{attack}: {error}");
        if number < is_last {
            let on = off.replace("disable", "enable");
            let undo = format!("{off}{restore}{on}");
            sqlx::raw_sql(AssertSqlSafe(undo)).execute(&pool).await.unwrap();
            audit_log::verify(&store, Some(&seal), &[]).await.unwrap();
        }
    }
}
