//! A superuser of the database rewrites the audit, with and without the key of the installation. The
//! head that a witness signed before names each attack.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, FromRow, PgPool};
use verdict::domain::audit_chain::Chain;
use verdict::vault::AuditSeal;

use crate::audit_segments::{dropped_twice, one, options, record, seal};
use crate::audit_witness::{audit_section, log_key, witnessed};
use crate::harness::{Options, Setting, WitnessFiles, now};

/// What the attacker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// Every right in the database.
    Rights,
    /// The key of the installation as well. The attack works on `forged`, a copy of the rows with `ord`
    /// for their order. Then everything is computed and signed anew: rows, checkpoints and cuts.
    Key,
    /// The rights alone, and the head is the one in the table.
    TableOnly,
}
use With::{Key, Rights, TableOnly};

/// The attack, its SQL, and the answer of `audit verify`. `{first}` and `{last}`: the newest rows of
/// dropped segments; `{row}`: a row in the middle of the kept ones; `{size}`: rows that the witness
/// signed.
const ATTACKS: &[(&str, With, &str, &str)] = &[
    // Edits without the key.
    (
        "another actor",
        Rights,
        "update audit set actor = 'cli:nobody' where position = {row}",
        "row {row} was changed",
    ),
    (
        "another action",
        Rights,
        "update audit set action = 'x' where position = {row}",
        "row {row} was changed",
    ),
    (
        "another subject",
        Rights,
        "update audit set subject = gen_random_uuid() where position = {row}",
        "row {row} was changed",
    ),
    (
        "another purpose",
        Rights,
        "update audit set purpose = 'x' where position = {row}",
        "row {row} was changed",
    ),
    (
        "other details",
        Rights,
        "update audit set details = '{}' where position = {row}",
        "row {row} was changed",
    ),
    (
        "another time",
        Rights,
        "update audit set at = at + interval '1 second' where position = {row}",
        "row {row} was changed",
    ),
    (
        "another database user",
        Rights,
        "update audit set database_user = 'x' where position = {row}",
        "row {row} was changed",
    ),
    (
        "a row with a digest that fits",
        Rights,
        "update audit a set actor = 'x' where position = {row}; update audit a set digest = verdict_audit_digest(a) where position = {row}",
        "row {after} does not continue the row before it",
    ),
    ("a row is deleted", Rights, "delete from audit where position = {row}", "rows are missing"),
    ("all rows are deleted", Rights, "delete from audit", "there is not a single row"),
    (
        "the newest row is deleted",
        Rights,
        "delete from audit where position = {size}",
        "the newest rows are missing",
    ),
    (
        "two rows change places",
        Rights,
        "update audit set position = -position where position in ({row}, {after}); update audit set position = case when position = -{row} then {after} else {row} end where position < 0",
        "row {row} was changed",
    ),
    (
        "the head of the chain names another row",
        Rights,
        "update audit_head set digest = sha256(digest)",
        "is not the one that the chain's head names",
    ),
    (
        "a checkpoint is forged",
        Rights,
        "update audit_checkpoints set mac = sha256(mac)",
        "was not made by this installation",
    ),
    (
        "a checkpoint is moved",
        Rights,
        "update audit_checkpoints set at = at - interval '1 hour'",
        "was not made by this installation",
    ),
    // The same with the key: the chain is whole, and its signatures fit.
    (
        "another actor, all anew",
        Key,
        "update forged set actor = 'cli:nobody' where position = {row}",
        ANEW,
    ),
    (
        "another action, all anew",
        Key,
        "update forged set action = 'x' where position = {row}",
        ANEW,
    ),
    (
        "another subject, all anew",
        Key,
        "update forged set subject = gen_random_uuid() where position = {row}",
        ANEW,
    ),
    (
        "another purpose, all anew",
        Key,
        "update forged set purpose = 'x' where position = {row}",
        ANEW,
    ),
    (
        "other details, all anew",
        Key,
        "update forged set details = '{}' where position = {row}",
        ANEW,
    ),
    (
        "another time, all anew",
        Key,
        "update forged set at = at + interval '1 microsecond' where position = {row}",
        ANEW,
    ),
    (
        "another database user, all anew",
        Key,
        "update forged set database_user = 'x' where position = {row}",
        ANEW,
    ),
    (
        "the newest row, all anew",
        Key,
        "update forged set purpose = 'x' where position = {size}",
        ANEW,
    ),
    (
        "the oldest kept row, all anew",
        Key,
        "update forged set purpose = 'x' where position = (select min(position) from forged)",
        ANEW,
    ),
    ("everything is dated back", Key, "update forged set at = at - interval '1 day'", ANEW),
    ("every actor is another one", Key, "update forged set actor = 'service'", ANEW),
    (
        "a row is taken out, and none is in its place",
        Key,
        "delete from forged where position = {row}",
        SHORTER,
    ),
    (
        "a row is taken out, and another is added at the end",
        Key,
        "update forged set ord = ord + 1000, purpose = 'x' where position = {row}",
        ANEW,
    ),
    (
        "a row is moved to the end",
        Key,
        "update forged set ord = ord + 1000 where position = {row}",
        ANEW,
    ),
    (
        "two rows change places, all anew",
        Key,
        "update forged set ord = case position when {row} then {after} else {row} end where position in ({row}, {after})",
        ANEW,
    ),
    ("all rows in the opposite order", Key, "update forged set ord = -ord", ANEW),
    (
        "a row is put in between",
        Key,
        "insert into forged select * from forged where position = {row}; update forged set purpose = 'x' where ctid = (select max(ctid) from forged)",
        ANEW,
    ),
    (
        "a row is put in front",
        Key,
        "insert into forged select * from forged where position = {row}; update forged set ord = -1 where ctid = (select max(ctid) from forged)",
        ANEW,
    ),
    (
        "a fork: the newest two rows are others",
        Key,
        "update forged set action = 'x' where position > {size} - 2",
        ANEW,
    ),
    (
        "a fork with more rows than before",
        Key,
        "update forged set action = 'x' where position > {size} - 2; insert into forged select * from forged; insert into forged select * from forged",
        ANEW,
    ),
    ("the newest row is taken away", Key, "delete from forged where position = {size}", SHORTER),
    ("the newest rows are taken away", Key, "delete from forged where position > {row}", SHORTER),
    (
        "all rows but one are taken away",
        Key,
        "delete from forged where position > (select min(position) from forged)",
        SHORTER,
    ),
    (
        "an old backup: what came after it is gone",
        Key,
        "delete from forged where position > {row} + 1",
        SHORTER,
    ),
    (
        "an old backup, and other rows since",
        Key,
        "delete from forged where position > {row}; insert into forged select f.* from forged f, generate_series(1, 100) n where f.position = {row}",
        ANEW,
    ),
    (
        "a dropped row had another digest",
        Key,
        "update audit_leaves set digest = sha256(digest) where position = 2",
        ANEW,
    ),
    (
        "the newest dropped row had another digest",
        Key,
        "update audit_leaves set digest = sha256(digest) where position = {last}",
        ANEW,
    ),
    (
        "two dropped rows change places",
        Key,
        "update audit_leaves set position = -position where position in (2, 3); update audit_leaves set position = case position when -2 then 3 else 2 end where position < 0",
        ANEW,
    ),
    ("all dropped rows were others", Key, "update audit_leaves set digest = sha256(digest)", ANEW),
    // The table of heads, as `audit verify` reads it where no head is kept elsewhere.
    (
        "a head with more rows",
        TableOnly,
        "update audit_cosigned_heads set size = size + 1",
        NOT_SIGNED,
    ),
    (
        "a head with another root",
        TableOnly,
        "update audit_cosigned_heads set root = sha256(root)",
        NOT_SIGNED,
    ),
    (
        "a head of another time",
        TableOnly,
        "update audit_cosigned_heads set cosigned_at = cosigned_at + interval '1 day'",
        NOT_SIGNED,
    ),
    (
        "a head with fewer rows in its note",
        TableOnly,
        "update audit_cosigned_heads set note = replace(note, E'\\n{size}\\n', E'\\n{row}\\n')",
        "is not signed by the key of this audit",
    ),
    (
        "a note that is none",
        TableOnly,
        "update audit_cosigned_heads set note = ''",
        "is no head of an audit",
    ),
    (
        "a cosignature of another witness",
        TableOnly,
        "update audit_cosigned_heads h set note = o.note from audit_cosigned_heads o where o.witness <> h.witness",
        NOT_SIGNED,
    ),
];
const ANEW: &str = "the audit was written anew";
const SHORTER: &str = "the newest are missing, as after an old backup was restored";
const NOT_SIGNED: &str = "is not signed by it: it was forged, or changed";

/// The tables that an attack may change.
const TABLES: [&str; 6] = [
    "audit",
    "audit_cuts",
    "audit_leaves",
    "audit_checkpoints",
    "audit_head",
    "audit_cosigned_heads",
];

async fn run(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(pool)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Writes the rows of `forged` in the place of all, each with the position and digest that it would have
/// had, and the head behind them.
const REWRITE: &str = "
    do $$
    declare
        forgery record;
        link audit;
        before record;
    begin
        delete from audit;
        select coalesce(max(position), 0) as position, coalesce(
            (select digest from audit_leaves order by position desc limit 1),
            sha256('verdict audit')) as digest into before from audit_leaves;
        for forgery in select * from forged order by ord, position loop
            link.segment := (select segment from audit_head);
            link.position := before.position + 1;
            link.at := forgery.at;
            link.actor := forgery.actor;
            link.action := forgery.action;
            link.subject := forgery.subject;
            link.purpose := forgery.purpose;
            link.details := forgery.details;
            link.database_user := forgery.database_user;
            link.previous := before.digest;
            link.digest := verdict_audit_digest(link);
            insert into audit (segment, position, at, actor, action, subject, purpose, details,
                database_user, previous, digest)
            values (link.segment, link.position, link.at, link.actor, link.action, link.subject,
                link.purpose, link.details, link.database_user, link.previous, link.digest);
            select link.position as position, link.digest as digest into before;
        end loop;
        update audit_head set position = before.position, digest = before.digest;
        delete from audit_checkpoints where position > before.position;
        insert into audit_checkpoints (position, at, digest, mac)
        values (before.position, now(), before.digest, before.digest) on conflict do nothing;
    end $$;";

#[derive(FromRow)]
struct Leaf {
    position: i64,
    digest: Vec<u8>,
}

/// Signs every checkpoint and cut over what is there now, as the installation would have.
async fn sign_anew(pool: &PgPool, seal: &AuditSeal) {
    let digests = "select position, digest from audit_leaves
        union all select position, digest from audit order by position";
    let leaves: Vec<Leaf> = sqlx::query_as(digests).fetch_all(pool).await.unwrap();
    let positions = async |table: &str| -> Vec<i64> {
        let all = format!("select position from {table} order by position");
        sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(pool).await.unwrap()
    };
    let (checkpoints, cuts) = (positions("audit_checkpoints").await, positions("audit_cuts").await);
    let (at, mut chain, mut sql) = (now(), Chain::default(), String::new());
    let micros = i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap();
    for Leaf { position, digest } in &leaves {
        chain.follow_leaf(*position, &hex::encode(digest)).unwrap();
        if checkpoints.contains(position) {
            let mac = hex::encode(seal.sign(*position, micros, digest));
            let digest = hex::encode(digest);
            let _ = write!(
                sql,
                "update audit_checkpoints set digest = '\\x{digest}', mac = '\\x{mac}',
                    at = to_timestamp(0) + {micros} * interval '1 microsecond'
                 where position = {position};"
            );
        }
        if cuts.contains(position) {
            let fold = chain.leaves();
            let mac = hex::encode(seal.sign_cut(*position, micros, digest, fold.bytes()));
            let (digest, fold) = (hex::encode(digest), hex::encode(fold.bytes()));
            let _ = write!(
                sql,
                "update audit_cuts set digest = '\\x{digest}', leaves = '\\x{fold}', mac = '\\x{mac}',
                    at = to_timestamp(0) + {micros} * interval '1 microsecond'
                 where position = {position};"
            );
        }
    }
    run(pool, sql).await;
}

#[tokio::test]
async fn fifty_attacks_of_a_superuser_are_named() {
    let retention = options().more;
    let more = format!("{}{retention}\n", audit_section(""));
    let mut setting = Setting::new(Options { more, ..options() }).await;
    let (pool, store) = (setting.database.pool().await, setting.database.store());
    let (first, last) = dropped_twice(&setting, &pool).await;
    let (seal, key) = (seal(&store).await, log_key(&setting).await);
    let files = [
        WitnessFiles::new("witness.example/w1").await,
        WitnessFiles::new("witness.example/w2").await,
    ];
    let witnesses = [files[0].serve(&key).await, files[1].serve(&key).await];
    let tables: String = (0..2).map(|n| witnesses[n].table(&files[n])).collect();
    setting.options.more = format!("{}{retention}\n", audit_section(&tables));
    record(&store, 8, None).await;
    witnessed(&setting, &pool).await;
    let size: i64 = one(&pool, "select min(size) from audit_cosigned_heads").await;
    assert_eq!(size, one::<i64>(&pool, "select position from audit_head").await);

    let mut restore = String::new();
    for table in TABLES {
        run(&pool, format!("create table saved_{table} as select * from {table}")).await;
        let again = "delete from {table}; insert into {table} select * from saved_{table};";
        restore.push_str(&again.replace("{table}", table));
    }
    let off = TABLES.map(|table| format!("alter table {table} disable trigger all;")).concat();
    let state = files[0].state();
    let (row, after) = (size - 4, size - 3);
    let filled = |text: &str| {
        text.replace("{first}", &first.to_string())
            .replace("{last}", &last.to_string())
            .replace("{row}", &row.to_string())
            .replace("{after}", &after.to_string())
            .replace("{size}", &size.to_string())
    };
    let verify = ["audit", "verify", "--strict", "--head", state.to_str().unwrap()];
    let (code, said, error) = setting.run(&verify, "").await;
    assert!(code == 0 && said.contains("agrees with the head in"), "{said}{error}");

    assert_eq!(ATTACKS.len(), 50);
    run(&pool, off.clone()).await;
    for (attack, with, sql, says) in ATTACKS {
        let (sql, says) = (filled(sql), filled(says));
        if *with == Key {
            let copy = "drop table if exists forged;
                create table forged as select *, position::float8 as ord from audit;";
            run(&pool, format!("{copy}{sql};{REWRITE}")).await;
            sign_anew(&pool, &seal).await;
            // Without the head of a witness there is nothing to see.
            run(&pool, "delete from audit_cosigned_heads".to_owned()).await;
            let (code, _, error) = setting.run(&verify[..2], "").await;
            assert_eq!(
                code, 0,
                "{attack}: noticed without a witness, so it shows nothing: {error}"
            );
        } else {
            run(&pool, sql).await;
        }
        let with_head = if *with == TableOnly { &verify[..2] } else { &verify[..] };
        let (code, _, error) = setting.run(with_head, "").await;
        assert!(code == 1 && error.contains(&says), "{attack}: {error}");
        run(&pool, restore.clone()).await;
    }
    let (code, _, error) = setting.run(&verify, "").await;
    assert_eq!(code, 0, "everything is as before: {error}");

    // The key of the installation is exchanged, and everything is signed with the other one.
    run(
        &pool,
        "alter table named_keys disable trigger all; delete from named_keys where name = 'audit'"
            .to_owned(),
    )
    .await;
    setting.options.more = format!("{}{retention}\n", audit_section(""));
    setting.serve().await.kill().await;
    let other = crate::audit_segments::seal(&store).await;
    sign_anew(&pool, &other).await;
    setting.options.more = format!("{}{retention}\n", audit_section(&tables));
    let (code, _, error) = setting.run(&verify, "").await;
    assert!(code == 1 && error.contains("is not signed by the key of this audit"), "{error}");
    for witness in witnesses {
        witness.kill().await;
    }
}
