//! Each database role tries everything that its grants and the schema's functions allow.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::harness::{
    Options, Setting, callback, empty_database, eventually, new_database, now, run_verdict,
};
use crate::roles::{lay_out, user};

const ROLES: [&str; 5] =
    ["verdict_ingest", "verdict_api", "verdict_worker", "verdict_console", "verdict_reader"];

/// The SQLSTATE that this ends with, all of it in one transaction; `None`: it was done.
async fn refusal(pool: &PgPool, attack: &str) -> Option<String> {
    let done = async {
        let mut transaction = pool.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(attack.to_owned())).execute(&mut *transaction).await?;
        transaction.commit().await
    };
    let error: sqlx::Error = done.await.err()?;
    let code = error.as_database_error().and_then(|error| error.code().map(String::from));
    Some(code.unwrap_or_else(|| error.to_string()))
}

/// Everything that an attack could have changed, as one text.
async fn state_of(pool: &PgPool) -> String {
    let tables = [
        "verifications",
        "callbacks",
        "results",
        "decisions",
        "data_keys",
        "material",
        "erasures",
        "reviews",
        "audit",
        "policies",
        "policy_activations",
        "api_keys",
        "vault_keys",
        "images",
    ];
    let mut all = String::new();
    for table in tables {
        let rows = format!(
            "select coalesce(string_agg(t::text, e'\\n' order by t::text), '') from {table} t"
        );
        let rows: String = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(pool).await.unwrap();
        writeln!(all, "{table}\n{rows}").unwrap();
    }
    all
}

/// People of every kind, decided by a process that has ended since.
struct People {
    setting: Setting,
    names: Vec<(&'static str, String)>,
}

impl People {
    async fn new() -> Self {
        let setting =
            Setting::new(Options { fixed_clock: false, ..Options::default().patient() }).await;
        let process = setting.serve().await;
        let pool = setting.database.pool().await;
        let mut names = Vec::new();
        for (name, biz_id, state) in [
            ("approved", "pass-97", "decided"),
            ("erased", "pass-98", "decided"),
            ("begun", "pass-96", "decided"),
            ("rejected", "pass-88", "decided"),
            ("waiting", "quit-9-then-pass-96", "unfinished"),
        ] {
            assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
            let id = eventually("the provider is asked", || async {
                sqlx::query_scalar::<_, String>(
                    "select id::text from verifications where biz_id = $1 and state = $2",
                )
                .bind(biz_id)
                .bind(state)
                .fetch_optional(&pool)
                .await
                .unwrap()
            })
            .await;
            names.push((name, id));
        }
        let people = Self { setting, names };
        let path = people.filled("/v1/verifications/{rejected}");
        let older = people.setting.get(process.http, &path).await.json["decision"]["id"].clone();
        let request = people.setting.client.post(format!("http://{}{path}/reviews", process.http));
        let request = request.header("content-type", "application/json").body(VERDICT);
        let said = request.bearer_auth(&people.setting.api_key).send().await.unwrap();
        assert_eq!(said.status(), 201);
        let path = people.filled("/v1/verifications/{erased}/material");
        let why = [("verdict-purpose", "asked to")];
        let receipt = people.setting.ask("DELETE", process.http, &path, &why).await;
        assert!([200, 202].contains(&receipt.status), "{receipt:?}");
        eventually("the erasure is complete", || async {
            sqlx::query("select from erasures where completed_at is not null")
                .fetch_optional(&pool)
                .await
                .unwrap()
        })
        .await;
        process.kill().await;
        let mut names = people.names.clone();
        names.push(("older", older.as_str().unwrap().to_owned()));
        let owner = sqlx::query_scalar("select current_user::text").fetch_one(&pool).await.unwrap();
        names.push(("owner", owner));
        let people = Self { names, ..people };
        sqlx::raw_sql(AssertSqlSafe(people.filled(BEGUN))).execute(&pool).await.unwrap();
        people
    }

    fn filled(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
    }
}

const VERDICT: &str = r#"{ "outcome": "reject", "reason": "forged-card" }"#;
/// An erasure of which nobody has destroyed anything yet.
const BEGUN: &str = "
    update verifications set state = 'erased', closed = true, due_at = null where id = '{begun}';
    insert into erasures (verification_id, requested_at, requested_by, purpose)
    values ('{begun}', now(), 'cli:tester', 'asked to')";

/// The invariant of ARCHITECTURE.md, and what would break it.
const ATTACKS: &[(&str, &str)] = &[
    ("1: accepted work is lost", "update verifications set due_at = null where id = '{waiting}'"),
    ("1: accepted work is postponed", "update verifications set due_at = 'infinity' where id = '{waiting}'"),
    ("1: accepted work is called failed", "update verifications set state = 'failed' where id = '{waiting}'"),
    ("1: accepted work is called decided", "update verifications set state = 'decided' where id = '{waiting}'"),
    ("1: a verification is deleted", "delete from verifications where id = '{waiting}'"),
    ("1: a callback is deleted", "delete from callbacks where verification_id = '{waiting}'"),
    ("6: the approval of another verification", "update verifications set decision_id =
        (select decision_id from verifications where id = '{approved}') where id = '{rejected}'"),
    ("6: the approval of another verification, at the end of a lease", "
        update verifications set lease_token = '{approved}', lease_until = now() where id = '{rejected}';
        update verifications set lease_token = null, lease_until = null, decision_id =
            (select decision_id from verifications where id = '{approved}') where id = '{rejected}'"),
    ("7: an older decision", "update verifications set decision_id = '{older}' where id = '{rejected}'"),
    ("7: no decision", "update verifications set decision_id = null where id = '{rejected}'"),
    ("7: a decision is edited", "update decisions set outcome = 'approve'"),
    ("7: a decision is deleted", "delete from decisions"),
    ("7: a decision is written into the past", "
        insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
            decided_by, decided_at, position) overriding system value
        select gen_random_uuid(), verification_id, result_id, policy_digest, 'approve', reasons,
            'policy', decided_at, 0 from decisions where verification_id = '{rejected}' limit 1"),
    ("7: a result is edited", "update results set verify_status = 1"),
    ("7: a result is deleted", "delete from results"),
    ("7: a result is deleted from its partition", "delete from results_before"),
    ("7: a partition is dropped", "drop table results_before"),
    ("7: a young month is dropped", "select verdict_drop_month('results', 'results_before', 1)"),
    ("7: a month is dropped at once", "select verdict_drop_month('decisions', 'decisions_before', 0)"),
    ("7: another table is dropped", "select verdict_drop_month('audit', 'audit', 1)"),
    ("7: a partition is detached", "alter table decisions detach partition decisions_before"),
    ("7: a policy is edited", "update policies set body = ''"),
    ("7: history is truncated", "truncate decisions, results, audit"),
    ("8: the policy in use is changed, off the record", "
        insert into policy_activations (digest, activated_at, activated_by)
        select digest, now(), 'seed' from policies limit 1"),
    ("8: the policy of a scene is changed, off the record", "
        insert into policy_activations (digest, activated_at, activated_by, kind, biz_type)
        select digest, now(), 'cli:me', 'active', 'test' from policies limit 1"),
    ("12: a callback's answer is edited", "update callbacks set answer_state = 'decided'"),
    ("12: a callback's hint is edited", "update callbacks set hint_code = 7 where verification_id = '{approved}'"),
    ("12: a callback is redacted without an erasure", "
        update callbacks set occurred_at = null, hint_audit = null, hint_code = null,
            hint_platform = null, answer_reference = null where verification_id = '{approved}'"),
    ("17: a row of the audit is edited", "update audit set actor = 'service'"),
    ("17: a row of the audit is deleted", "delete from audit"),
    ("17: a row of the audit gets its place by hand", "
        insert into audit (position, at, actor, action, previous, digest)
        values (99, now(), 'service', 'x', '', '')"),
    ("17: a row of the audit names another database user", "
        insert into audit (at, actor, action, database_user) values (now(), 'service', 'x', 'verdict')"),
    ("17: a segment of the audit is dropped", "
        select verdict_cut_audit(0, 183, position, digest, now(), digest, digest) from audit
            order by position desc limit 1"),
    ("17: a cut of the audit is forged", "
        insert into audit_cuts select position, digest, at, digest, mac from audit_checkpoints"),
    ("17: a cut of the audit is deleted", "delete from audit_cuts"),
    ("17: a digest of a dropped row is deleted", "delete from audit_leaves"),
    ("17: a row of the audit goes into another segment", "
        insert into audit (at, actor, action, segment) values (now(), 'x', 'x', 1)"),
    ("17: a row of the audit goes into a partition by its name", "
        insert into audit_before (at, actor, action) values (now(), 'x', 'x')"),
    ("17: the end of the audit is moved", "update audit_head set position = 0"),
    ("17: the end of the audit is locked", "select from audit_head for update"),
    ("18: an erased person comes back", "update verifications set state = 'pending' where id = '{erased}'"),
    ("18: an erased person falls due", "update verifications set due_at = now() where id = '{erased}'"),
    ("18: an erased person is reopened", "update verifications set closed = false where id = '{erased}'"),
    ("18: an erased person gets a reference", "update verifications set reference = 'x' where id = '{erased}'"),
    ("18: an erased person is decided about, at the end of a lease", "
        update verifications set lease_token = '{approved}', lease_until = now() where id = '{erased}';
        update verifications set lease_token = null, lease_until = null, state = 'decided', decision_id =
            (select decision_id from verifications where id = '{approved}') where id = '{erased}'"),
    ("18: a key for an erased person", "insert into data_keys (verification_id, key_id, wrapped) values ('{erased}', 'test', '\\x01')"),
    ("18: a key for an erased person, by who holds the row", "
        update verifications set updated_at = now() where id = '{erased}';
        insert into data_keys (verification_id, key_id, wrapped) values ('{erased}', 'test', '\\x01')"),
    ("18: material of an erased person", "insert into material (result_id, verification_id, sealed, person)
        values (gen_random_uuid(), '{erased}', '\\x01', null)"),
    ("18: a note about an erased person", "
        insert into audit (at, actor, action, subject) values (now(), 'x', 'verification.review', '{erased}');
        insert into reviews (id, verification_id, about, outcome, reason, note, reviewer, reviewed_at)
        select gen_random_uuid(), '{erased}', decision_id, 'reject', 'x', '\\x01', 'key:x', now()
        from verifications where id = '{erased}'"),
    ("18: a callback of an erased person is filled in", "update callbacks set answer_reference = 'x' where verification_id = '{erased}'"),
    ("18: a receipt is taken back", "delete from erasures"),
    ("18: a receipt for keys that are there", "update erasures set unreadable_at = now() where verification_id = '{begun}'"),
    ("18: a state erased without a receipt", "update verifications set state = 'erased' where id = '{approved}'"),
    ("18: a receipt without a record", "
        with e as (update verifications set state = 'erased', closed = true, due_at = null
            where id = '{approved}' returning id)
        insert into erasures (verification_id, requested_at, requested_by, purpose)
        select id, now(), 'x', 'x' from e"),
    ("5: a key is destroyed without an erasure", "delete from data_keys where verification_id = '{approved}'"),
    ("5: material is destroyed without an erasure", "delete from material where verification_id = '{approved}'"),
    ("5: a key is replaced", "update data_keys set wrapped = '\\x01'"),
    ("5: a key that data needs is retired", "update vault_keys set retired_at = now()"),
    ("25: a person's rejection is decided anew", "update verifications set state = 'pending', due_at = now() where id = '{rejected}'"),
    ("25: a person's rejection is reopened, off the record", "update verifications set closed = false where id = '{rejected}'"),
    (
        "25: a person's rejection is decided anew, at the end of a lease",
        "
        update verifications set lease_token = '{approved}', lease_until = now() where id = '{rejected}';
        update verifications set lease_token = null, lease_until = null, state = 'pending', due_at = now()
        where id = '{rejected}'",
    ),
    (
        "25: a policy decides over a person",
        "
        insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons, decided_by, decided_at)
        select gen_random_uuid(), verification_id, result_id, policy_digest, 'approve', reasons, 'policy', now()
        from decisions where verification_id = '{rejected}' limit 1;
        update verifications set decision_id = (select id from decisions where verification_id = '{rejected}'
            order by position desc limit 1) where id = '{rejected}'",
    ),
    (
        "18: evidence is coarsened without an erasure",
        "select verdict_coarsen_erased('{approved}')",
    ),
    (
        "19: images are deleted without an erasure",
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
            values ('{approved}', 'delete-images', '{approved}', now(), now(), now())",
    ),
    ("25: a person decides, by nobody", "
        insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons, decided_by, decided_at)
        select gen_random_uuid(), verification_id, result_id, policy_digest, 'approve', reasons, 'person', now()
        from decisions where verification_id = '{rejected}' limit 1"),
    ("25: a person decides without a review", "
        with f as (select d.* from decisions d where verification_id = '{rejected}' order by position desc limit 1)
        select verdict_person_decides(gen_random_uuid(), verification_id, result_id, policy_digest,
            'approve', 'x', now()) from f;
        update verifications set decision_id = (select id from decisions where verification_id = '{rejected}'
            order by position desc limit 1) where id = '{rejected}'"),
    ("25: a person decides by a review that is not on record", "
        with d as (select * from decisions where verification_id = '{rejected}' order by position desc limit 1),
        new as materialized (select verdict_person_decides(gen_random_uuid(), verification_id, result_id,
            policy_digest, 'approve', 'x', now()) as id from d)
        insert into reviews (id, verification_id, about, outcome, reason, reviewer, reviewed_at, decision_id)
        select gen_random_uuid(), d.verification_id, d.id, 'approve', 'x', 'key:x', now(), new.id from d, new"),
    ("25: a person decides by the review of another decision", "
        insert into audit (at, actor, action, subject) values (now(), 'x', 'verification.review', '{rejected}');
        with d as (select * from decisions where verification_id = '{rejected}' order by position desc limit 1),
        new as materialized (select verdict_person_decides(gen_random_uuid(), verification_id, result_id,
            policy_digest, 'approve', 'x', now()) as id from d)
        insert into reviews (id, verification_id, about, outcome, reason, reviewer, reviewed_at, decision_id)
        select gen_random_uuid(), d.verification_id, v.decision_id, 'approve', 'x', 'key:x', now(), new.id
        from d, new, verifications v where v.id = '{approved}'"),
    ("a source takes a verification of another", "update verifications set source = 'other' where id = '{approved}'"),
    ("an API key is made", "insert into api_keys select gen_random_uuid(), 'x', sha256('x'), '{}', now(), null"),
    ("an API key lives again", "update api_keys set revoked_at = null"),
    ("all statements are blocked", "lock table verifications in access exclusive mode"),
    ("changes of policies are blocked", "select from policy_lock for update"),
    ("decisions by policies are blocked", "select from policy_lock for share"),
    ("migrations are blocked", "lock table _sqlx_migrations in share update exclusive mode"),
    ("the triggers are turned off", "set session_replication_role = replica"),
    ("the triggers are dropped", "alter table verifications disable trigger all"),
    ("a temporary table", "create temporary table audit_head (whole boolean, position bigint, digest bytea)"),
    ("a table", "create table public.x (a int)"),
    ("a function", "create function public.x() returns int language sql return 1"),
    ("a schema", "create schema x"),
    ("the clock is moved", "create or replace function verdict_now() returns timestamptz language sql return now() + interval '1 day'"),
    ("a trigger on one of our tables", "create trigger x before insert on verifications for each row execute function verdict_append_only()"),
    ("a rule on one of our tables", "create rule x as on insert to verifications do instead nothing"),
    ("a foreign key that keeps rows", "create table public.y (id uuid references verifications (id))"),
    ("a program of the server", "copy (select 1) to program 'true'"),
    ("the owner's role", "set role {owner}"),
    ("raw answers", "select sealed_body from results"),
    ("raw answers of a partition", "select sealed_body from results_before"),
];

#[tokio::test]
async fn no_role_breaks_an_invariant_by_sql() {
    let people = People::new().await;
    let owner = people.setting.database.pool().await;
    let before = state_of(&owner).await;
    let mut done = Vec::new();
    for role in ROLES {
        let pool = user(&people.setting.database, role).await.pool().await;
        for (what, attack) in ATTACKS {
            match refusal(&pool, &people.filled(attack)).await.as_deref() {
                // A missing right, or one of our triggers.
                Some("42501" | "23001") => {}
                Some(other) => done.push(format!("{role}: {what}: refused by {other}")),
                None => done.push(format!("{role}: {what}: done")),
            }
        }
    }
    assert!(done.is_empty(), "{}", done.join("\n"));
    assert_eq!(state_of(&owner).await, before, "something was changed");
}

/// Plants an object of each name in front of ours, in a schema of the role's own and among its
/// temporary objects, with the rights that config/roles.sql takes away.
async fn plant(owner: &PgPool, name: &str, home: &str, pool: &PgPool) {
    let grants = format!(
        "create schema planted authorization {name};
         grant temporary on database {} to {name}",
        sqlx::query_scalar::<_, String>("select current_database()")
            .fetch_one(owner)
            .await
            .unwrap()
    );
    let grants = grants.replace("planted", home);
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(owner).await.unwrap();
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
            order by a.attnum)
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace group by 1",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    let functions: Vec<(String, String, String)> = sqlx::query_as(
        "select proname::text, pg_get_function_identity_arguments(oid), format_type(prorettype, null)
         from pg_proc where pronamespace = 'public'::regnamespace
            and proname like 'verdict\\_%' and prorettype <> 'trigger'::regtype",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    // Each tells whether it runs with other rights than those of who is connected; a sequence keeps
    // that even where the statement is undone.
    let mut planted = "create sequence planted.borrowed;
        grant all on sequence planted.borrowed to public;
        create function planted.trap() returns trigger language plpgsql as $$
        begin
            if current_user <> session_user then perform nextval('planted.borrowed'); end if;
            return coalesce(new, old);
        end $$;
        create function planted.equal(a uuid, b uuid) returns boolean language plpgsql as $$
        begin
            if current_user <> session_user then perform nextval('planted.borrowed'); end if;
            return true;
        end $$;
        create function planted.plus(a bigint, b integer) returns bigint language plpgsql as $$
        begin
            if current_user <> session_user then perform nextval('planted.borrowed'); end if;
            return 0;
        end $$;
        create operator planted.= (function = planted.equal, leftarg = uuid, rightarg = uuid);
        create operator planted.<> (function = planted.equal, leftarg = uuid, rightarg = uuid);
        create operator planted.+ (function = planted.plus, leftarg = bigint, rightarg = integer);"
        .to_owned();
    for (table, columns) in tables {
        for place in ["pg_temp", "planted"] {
            write!(
                planted,
                "create table {place}.{table} ({columns});
                 insert into {place}.{table} default values;
                 create trigger trap before insert or update or delete on {place}.{table}
                    for each row execute function planted.trap();"
            )
            .unwrap();
        }
    }
    for (function, arguments, returns) in functions {
        let returns = if returns == "policy_activations" {
            "setof public.policy_activations"
        } else {
            &returns
        };
        write!(
            planted,
            "create function planted.{function}({}) returns {returns} language plpgsql as $$
             begin
                if current_user <> session_user then perform nextval('planted.borrowed'); end if;
                return {};
             end $$;",
            arguments.replace("link audit", "link public.audit"),
            if returns.starts_with("setof") { "" } else { "null" },
        )
        .unwrap();
    }
    let planted = planted.replace("planted", home);
    sqlx::raw_sql(AssertSqlSafe(planted)).execute(pool).await.unwrap();
}

/// Calls of our functions, and statements that fire our triggers.
const TOUCHES: &[&str] = &[
    "insert into public.audit (at, actor, action) values (now(), 'x', 'x')",
    "select * from public.verdict_activations()",
    "select public.verdict_newest_activation()",
    "select public.verdict_now()",
    "select public.verdict_person_index_key()",
    "select public.verdict_audit_digest(null)",
    "select public.verdict_netstring('x')",
    "select public.verdict_person_decides(gen_random_uuid(), '{rejected}', gen_random_uuid(), 'x', 'approve', 'x', now())",
    "update public.verifications set decision_id = '{older}' where id = '{approved}'",
    "update public.verifications set due_at = now() where id = '{erased}'",
    "update public.verifications set closed = false where id = '{rejected}'",
    "update public.verifications set state = 'erased' where id = '{approved}'",
    "update public.verifications set due_at = null where id = '{waiting}'",
    "insert into public.data_keys (verification_id, key_id, wrapped) values ('{erased}', 'test', '\\x01')",
    "insert into public.material (result_id, verification_id, sealed) values (gen_random_uuid(), '{erased}', '\\x01')",
    "insert into public.policy_activations (digest, activated_at, activated_by) select digest, now(), 'seed' from public.policies limit 1",
    "insert into public.erasures (verification_id, requested_at, requested_by, purpose) values ('{approved}', now(), 'x', 'x')",
    "update public.callbacks set hint_code = null where verification_id = '{approved}'",
    "delete from public.data_keys where verification_id = '{approved}'",
    "delete from public.material where verification_id = '{approved}'",
    "update public.vault_keys set retired_at = now()",
    "update public.erasures set unreadable_at = now() where verification_id = '{begun}'",
];

#[tokio::test]
async fn planted_objects_do_not_run_with_owner_rights() {
    let people = People::new().await;
    let database = &people.setting.database;
    let owner = database.pool().await;
    for role in ROLES {
        let member = user(database, role).await;
        let name = url::Url::parse(&member.url).unwrap().username().to_owned();
        // One connection: temporary objects belong to it.
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
        let pool = pool.connect(&member.url).await.unwrap();
        let home = format!("planted_{role}");
        plant(&owner, &name, &home, &pool).await;
        let before = audit_length(&owner).await;
        for path in ["pg_temp, planted, public, pg_catalog", "planted, pg_catalog, pg_temp"] {
            for touch in TOUCHES {
                let attack = format!("set search_path = {path}; {}", people.filled(touch));
                let attack = attack.replace("planted", &home);
                let _ = refusal(&pool, &attack).await;
            }
        }
        // Only where the role may add a row.
        let added = audit_length(&owner).await - before;
        let may_add = ["verdict_api", "verdict_worker", "verdict_console"];
        assert_eq!(added > 0, may_add.contains(&role), "{role}: {added}");
        let planted: Vec<String> = sqlx::query_scalar(
            "select proname::text from pg_proc
            where pronamespace = 'public'::regnamespace and prorettype = 'trigger'::regtype",
        )
        .fetch_all(&owner)
        .await
        .unwrap();
        for function in planted {
            for table in ["pg_temp.audit".to_owned(), format!("{home}.audit")] {
                let hang = format!(
                    "create trigger hung before insert on {table} for each row execute function public.{function}()"
                );
                assert_eq!(refusal(&pool, &hang).await.as_deref(), Some("42501"), "{role}: {hang}");
            }
        }
        let borrowed = format!("select is_called from {home}.borrowed");
        let borrowed: bool =
            sqlx::query_scalar(AssertSqlSafe(borrowed)).fetch_one(&owner).await.unwrap();
        assert!(!borrowed, "{role}: a planted object ran with another role's rights");
    }
    let (code, _, error) = people.setting.run(&["audit", "verify"], "").await;
    assert_eq!(code, 0, "{error}");
}

async fn audit_length(owner: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from audit").fetch_one(owner).await.unwrap()
}

#[tokio::test]
async fn functions_pin_search_path_and_are_not_public() {
    let database = new_database().await;
    lay_out(&database, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
    let owner = database.pool().await;
    let loose: Vec<String> = sqlx::query_scalar(
        "select p.oid::regprocedure::text from pg_proc p
         where proname like 'verdict\\_%' and (
            has_function_privilege('public', p.oid, 'execute')
            or prosqlbody is null and proname not in ('verdict_current_decision', 'verdict_not_after_erasure')
                and not coalesce('search_path=pg_catalog, public, pg_temp' = any (proconfig), false))",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(loose.is_empty(), "{loose:?}");
    let rights: Vec<String> = sqlx::query_scalar(
        "select format('%s: %s', role, what) from unnest($1::text[]) as role, lateral (values
            ('temporary objects', has_database_privilege(role, current_database(), 'temporary')),
            ('schemas', has_database_privilege(role, current_database(), 'create')),
            ('objects among ours', has_schema_privilege(role, 'public', 'create')),
            ('membership', exists (select from pg_auth_members where member = role::regrole
                and not (role = 'verdict_console' and roleid = 'verdict_api'::regrole)))
         ) as has (what, it) where it",
    )
    .bind(ROLES.to_vec())
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(rights.is_empty(), "{rights:?}");
}

#[tokio::test]
async fn audit_rows_record_time_and_database_user_themselves() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrator = Migrator::new(migrations).await.unwrap();
    migrator.run_to(20_261_125_000_030, &mut connection).await.unwrap();
    let row =
        "insert into audit (at, actor, action, purpose) values ('2001-01-01', 'service', 'x', 'y')";
    sqlx::raw_sql(row).execute(&mut connection).await.unwrap();
    database.store().migrate().await.unwrap();
    let setting =
        Setting::on(database.clone(), Options::default(), &verdict::domain::clock::Clock::system())
            .await;
    let mut users = Vec::new();
    for role in ["verdict_api", "verdict_worker"] {
        let member = user(&database, role).await;
        sqlx::raw_sql(row).execute(&member.pool().await).await.unwrap();
        users.push(url::Url::parse(&member.url).unwrap().username().to_owned());
    }
    let rows: Vec<(Option<String>, bool)> = sqlx::query_as(
        "select database_user, at > now() - interval '5 minutes' from audit order by position",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let [first, second] = [users[0].clone(), users[1].clone()];
    assert_eq!(rows, [(None, false), (Some(first.clone()), true), (Some(second), true)]);

    let (code, said, error) = setting.run(&["audit", "verify"], "").await;
    assert!(code == 0 && said.contains("3 rows"), "{said}{error}");
    let (_, list, _) = setting.run(&["audit", "list"], "").await;
    // The first line has the names of the columns.
    assert!(list.lines().nth(2).unwrap().contains(&first), "{list}");
    let (_, export, _) = setting.run(&["audit", "list", "--json"], "").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, good) in [(export.clone(), true), (export.replace(&first, "somebody"), false)] {
        std::fs::write(file.path(), text).unwrap();
        let verify = ["audit", "verify", "--file", file.path().to_str().unwrap()];
        assert_eq!(run_verdict(&verify, &[]).await.0 == 0, good);
    }
    // The owner can disable triggers, and still cannot remove a user unnoticed.
    let erased = "alter table audit disable trigger all; update audit set database_user = null where position = 2";
    sqlx::raw_sql(erased).execute(&mut connection).await.unwrap();
    let (code, _, error) = setting.run(&["audit", "verify"], "").await;
    assert!(code == 1 && error.contains("row 2 was changed"), "{error}");
}

/// Writes an export's chain anew, as anybody can: with other actors, and digests that fit.
fn written_anew(export: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut previous = hex::encode(Sha256::digest(b"verdict audit"));
    let mut all = String::new();
    for line in export.lines() {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(checkpoint) = line.get_mut("checkpoint") {
            checkpoint["digest"] = json!(previous);
        } else if let Some(head) = line.get_mut("head") {
            head["digest"] = json!(previous);
        } else {
            line["actor"] = json!("cli:nobody");
            line["previous"] = json!(previous);
            let at = line["at"].as_str().unwrap();
            let at =
                time::OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339);
            let mut parts = vec![
                line["position"].to_string(),
                (at.unwrap().unix_timestamp_nanos() / 1000).to_string(),
            ];
            parts.extend(["actor", "action"].map(|name| line[name].as_str().unwrap().to_owned()));
            let mut content = String::new();
            for part in &parts {
                write!(content, "{}:{part},", part.len()).unwrap();
            }
            for name in ["subject", "purpose", "details", "previous"] {
                let part = match &line[name] {
                    serde_json::Value::Null => {
                        content.push('-');
                        continue;
                    }
                    serde_json::Value::String(text) => text.clone(),
                    json => json.to_string(),
                };
                write!(content, "{}:{part},", part.len()).unwrap();
            }
            if let Some(user) = line.get("database_user").and_then(serde_json::Value::as_str) {
                write!(content, "{}:{user},", user.len()).unwrap();
            }
            previous = hex::encode(Sha256::digest(content));
            line["digest"] = json!(previous);
        }
        all.push_str(&line.to_string());
        all.push('\n');
    }
    all
}

#[tokio::test]
async fn strict_audit_verify_fails_without_a_checked_signature() {
    let people = People::new().await;
    let strict = ["audit", "verify", "--strict"];
    let (code, said, error) = people.setting.run(&strict, "").await;
    assert!(code == 0 && said.starts_with("whole"), "{said}{error}");
    let (_, export, _) = people.setting.run(&["audit", "list", "--json"], "").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().to_str().unwrap().to_owned();
    let (loose, of_file) =
        (["audit", "verify", "--file", &name], ["audit", "verify", "--strict", "--file", &name]);
    let unsigned: Vec<&str> =
        export.lines().filter(|line| !line.contains("\"checkpoint\"")).collect();
    let unsigned = unsigned.join("\n") + "\n";
    for (text, wanted) in [
        (export.clone(), None),
        (written_anew(&export), Some("was not made by this installation")),
        (written_anew(&unsigned), Some("no signature is behind the last")),
        (unsigned, Some("no signature is behind the last")),
    ] {
        std::fs::write(file.path(), text).unwrap();
        // Every digest fits.
        assert_eq!(run_verdict(&loose, &[]).await.0, 0);
        let (code, said, error) = people.setting.run(&of_file, "").await;
        assert_eq!(code, i32::from(wanted.is_some()), "{said}{error}");
        assert!(wanted.is_none_or(|wanted| error.contains(wanted)), "{error}");
        // Without the installation nothing can be checked.
        let (code, _, error) = run_verdict(&of_file, &[]).await;
        assert!(code == 1 && error.contains("--strict"), "{error}");
    }
    let mut setting = people.setting;
    setting.options.vault_keys = &[];
    let (code, _, error) = setting.run(&strict, "").await;
    assert!(code == 1 && error.contains("cannot be checked"), "{error}");
}

#[tokio::test]
async fn reader_role_cannot_block_writers() {
    let people = People::new().await;
    let database = &people.setting.database;
    let reader = user(database, "verdict_reader").await;
    let mut reader = PgConnection::connect(&reader.url).await.unwrap();
    // Every lock that a reader can have: all advisory locks by their old names, every table read.
    sqlx::raw_sql(
        "begin;
         select pg_advisory_xact_lock(hashtext('verdict.policies'));
         select count(*) from verifications; select count(*) from audit; select count(*) from audit_head;
         select count(*) from policy_activations; select count(*) from erasures",
    )
    .execute(&mut reader)
    .await
    .unwrap();
    for lock in ["audit_head", "policy_lock", "verifications", "policy_activations", "audit"] {
        for strength in ["update", "no key update", "share", "key share"] {
            let attack = format!("select from {lock} for {strength}");
            let pool = user(database, "verdict_reader").await.pool().await;
            assert_eq!(refusal(&pool, &attack).await.as_deref(), Some("42501"), "{attack}");
        }
    }
    let process = people.setting.serve().await;
    let digest =
        people.setting.get(process.http, "/v1/policies").await.json["items"][0]["digest"].clone();
    let path = format!("/v1/policies/{}/activate", digest.as_str().unwrap());
    let why = [("verdict-purpose", "a try")];
    assert_eq!(people.setting.ask("POST", process.http, &path, &why).await.status, 204);
    let path = people.filled("/v1/verifications/{approved}/material");
    assert_eq!(people.setting.ask("GET", process.http, &path, &why).await.status, 200);
    process.kill().await;
    drop(reader);
}

#[tokio::test]
async fn reader_role_sees_no_person_digest_or_blind_index() {
    let database = new_database().await;
    let pool = user(&database, "verdict_reader").await.pool().await;
    for column in [
        "digest from callbacks",
        "salt from callbacks",
        "sha256 from images",
        "person from images",
        "person from material",
        "sealed from material",
        "person from tasks",
        "links from tasks",
        "wrapped from data_keys",
        "wrapped from named_keys",
        "digest from api_keys",
        "note from reviews",
        "sealed_body from results",
    ] {
        let attack = format!("select {column}");
        assert_eq!(refusal(&pool, &attack).await.as_deref(), Some("42501"), "{attack}");
    }
    for column in [
        "source from callbacks",
        "state from images",
        "outcome from reviews",
        "reference from verifications",
    ] {
        assert_eq!(refusal(&pool, &format!("select {column}")).await, None, "{column}");
    }
}

#[tokio::test]
async fn role_users_have_statement_timeouts() {
    let database = new_database().await;
    let serving = user(&database, "verdict_api").await;
    let looking = user(&database, "verdict_reader").await;
    // Users that were there before get theirs as well.
    lay_out(&database, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
    for (who, limits) in [(serving, ["10s", "30s", "1min"]), (looking, ["1min", "5s", "15min"])] {
        let row = sqlx::query(
            "select current_setting('idle_in_transaction_session_timeout'),
            current_setting('lock_timeout'), current_setting('statement_timeout')",
        )
        .fetch_one(&who.pool().await)
        .await
        .unwrap();
        assert_eq!([row.get::<String, _>(0), row.get(1), row.get(2)], limits.map(String::from));
    }
}

#[tokio::test]
async fn reader_that_holds_the_migration_lock_is_named() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrator = Migrator::new(migrations).await.unwrap();
    migrator.run_to(20_261_125_000_030, &mut connection).await.unwrap();
    // The lock is "verdict" in ASCII.
    let reader = user(&new_database().await, "verdict_reader").await;
    let mut url = url::Url::parse(&reader.url).unwrap();
    url.set_path(url::Url::parse(&database.url).unwrap().path());
    let mut reader = PgConnection::connect(url.as_str()).await.unwrap();
    let hold = "select pg_advisory_lock(x'0076657264696374'::bigint)";
    sqlx::raw_sql(hold).execute(&mut reader).await.unwrap();
    let environment = [("DATABASE_URL", database.url.as_str())];
    let (code, _, error) = run_verdict(&["migrate"], &environment).await;
    assert!(code == 1 && error.contains("holds the lock of migrations"), "{error}");
    reader.close().await.unwrap();
    let (code, said, error) = run_verdict(&["migrate"], &environment).await;
    assert!(code == 0 && said.contains("current"), "{said}{error}");
}
