//! Each grant of config/roles.sql is needed by a statement that a process of that role sends.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::{Database, Statement};

/// Grants for what these processes do not do in the scenarios of `roles`, each with its reason.
const RARE: &[(&str, &str)] = &[
    // Read where the schema is newer than the binary.
    ("verdict_api", "select on schema_floor"),
    ("verdict_ingest", "select on schema_floor"),
    ("verdict_worker", "select on schema_floor"),
    // Verifications that the API started without a source, or that are older than the column.
    ("verdict_ingest", "update on verifications (source)"),
    // Returns from the provider's page: the attack `returns` runs with this role.
    ("verdict_ingest", "select on starts (callback_token)"),
    ("verdict_api", "update on verifications (woken_at)"),
    ("verdict_ingest", "update on verifications (woken_at)"),
    // The provider's callback about a start whose CertifyId another verification has.
    ("verdict_ingest", "update on verifications (answered_by)"),
    // Adding a policy, and comparing one in shadow.
    ("verdict_api", "insert on policies (added_at)"),
    ("verdict_api", "insert on policies (body)"),
    ("verdict_api", "insert on policies (digest)"),
    ("verdict_api", "insert on policies (name)"),
    ("verdict_api", "select on shadow_decisions"),
    // A second person agrees to what another one has proposed.
    ("verdict_api", "update on proposals (seconded_by)"),
    ("verdict_api", "update on proposals (seconded_person)"),
    ("verdict_api", "update on proposals (seconded_user)"),
    // `verdict policy redecide`.
    ("verdict_worker", "execute on verdict_newest_activation"),
    // Persons whose time of retention is over, and images.
    ("verdict_worker", "insert on audit (purpose)"),
    ("verdict_worker", "insert on erasures (purpose)"),
    ("verdict_worker", "insert on erasures (requested_at)"),
    ("verdict_worker", "insert on erasures (requested_by)"),
    ("verdict_worker", "insert on erasures (verification_id)"),
    ("verdict_worker", "insert on provider_deletions (bucket_objects)"),
    ("verdict_worker", "insert on provider_deletions (due_at)"),
    ("verdict_worker", "insert on provider_deletions (requested_at)"),
    ("verdict_worker", "insert on provider_deletions (verification_id)"),
    ("verdict_worker", "select on results (bucket_objects)"),
    // The provider has deleted its copy of an erased person.
    ("verdict_worker", "update on provider_deletions (deleted_at)"),
    ("verdict_worker", "update on verifications (reference)"),
    ("verdict_worker", "update on verifications (trace_parent)"),
    // Used by the triggers that check the audit row of an erasure.
    ("verdict_worker", "select on audit"),
    // Used by the trigger that checks the review of a person's decision.
    ("verdict_worker", "select on reviews (decision_id)"),
    // Links have expired, and newer ones are asked for.
    ("verdict_worker", "update on tasks (asked_again_at)"),
    // Reading the event log, for deliveries.
    ("verdict_worker", "select on events"),
    ("verdict_worker", "select on event_epochs"),
    ("verdict_worker", "select on event_log"),
    ("verdict_worker", "select on event_weeks"),
    // `verdict doctor` asks how far the partitions by month reach.
    ("verdict_api", "execute on verdict_months"),
    ("verdict_worker", "execute on verdict_months"),
    ("verdict_api", "execute on verdict_rows_of_no_month"),
    ("verdict_worker", "execute on verdict_rows_of_no_month"),
    // Months of results and decisions whose time of retention is over.
    ("verdict_worker", "execute on verdict_old_months"),
    ("verdict_worker", "execute on verdict_drop_month"),
    // The default of a column of the audit calls it, so no statement names it.
    ("verdict_api", "execute on verdict_audit_segment"),
    ("verdict_worker", "execute on verdict_audit_segment"),
    // `verdict doctor` asks which segment of the audit is open.
    ("verdict_api", "execute on verdict_audit_reach"),
    ("verdict_worker", "execute on verdict_audit_reach"),
    // Segments of the audit whose time of retention is over.
    ("verdict_worker", "execute on verdict_cut_audit"),
    ("verdict_worker", "select on audit_cuts"),
    ("verdict_worker", "execute on verdict_drop_checkpoints"),
    // The tree over the audit, where witnesses are configured; `verdict doctor` asks for its heads.
    ("verdict_worker", "select on audit_leaves"),
    ("verdict_worker", "select on audit_cosigned_heads"),
    ("verdict_worker", "insert on audit_cosigned_heads (cosigned_at)"),
    ("verdict_worker", "insert on audit_cosigned_heads (note)"),
    ("verdict_worker", "insert on audit_cosigned_heads (origin)"),
    ("verdict_worker", "insert on audit_cosigned_heads (root)"),
    ("verdict_worker", "insert on audit_cosigned_heads (size)"),
    ("verdict_worker", "insert on audit_cosigned_heads (witness)"),
    ("verdict_worker", "update on audit_cosigned_heads (cosigned_at)"),
    ("verdict_worker", "update on audit_cosigned_heads (note)"),
    ("verdict_worker", "update on audit_cosigned_heads (root)"),
    ("verdict_worker", "update on audit_cosigned_heads (size)"),
    ("verdict_api", "select on audit_cosigned_heads"),
    ("verdict_console", "select on audit_cosigned_heads"),
    // An erasure whose images may still be written: they are deleted a second time.
    ("verdict_worker", "update on tasks (objects_counted)"),
    // Weeks of the event log whose time of retention is over.
    ("verdict_worker", "execute on verdict_drop_events"),
    // Whether newer links came after the provider was asked for them.
    ("verdict_worker", "select on results (attempt)"),
    ("verdict_worker", "select on results (verify_status)"),
];

/// A process tries these and continues without them if its role may not read them.
const REFUSED: &[(&str, &str)] =
    &[("verdict_api", "select name, key_id, wrapped from named_keys order by name")];

/// A right of a role, and how it is taken away.
#[derive(Debug, sqlx::FromRow)]
struct Grant {
    /// As in [`RARE`]: `insert on callbacks (salt)`.
    says: String,
    /// The table or function, as statements spell it.
    object: String,
    revoke: String,
}

/// The grants that none of these statements needs, and the statements for which the role lacks a
/// grant.
pub async fn not_needed(owner: &Database, role: &str, statements: BTreeSet<Statement>) -> String {
    let mut connection = PgConnection::connect(&owner.url).await.unwrap();
    run(&mut connection, "set plan_cache_mode = force_generic_plan").await.unwrap();
    let prepared = prepare(&mut connection, statements).await;
    assert!(prepared.len() > 4, "{role}: only {} statements were recorded", prepared.len());
    let mut wrong = Vec::new();
    for (number, text) in prepared.iter().enumerate() {
        let expected = !REFUSED.contains(&(role, text));
        if allowed(&mut connection, role, "select", number, text).await != expected {
            wrong.push(format!("{role}: not refused or allowed as expected: {text}"));
        }
    }
    for grant in grants(&mut connection, role).await {
        let mut needed = RARE.contains(&(role, &grant.says));
        for (number, text) in prepared.iter().enumerate() {
            if !needed && text.contains(&grant.object) {
                needed = !allowed(&mut connection, role, &grant.revoke, number, text).await;
            }
        }
        if !needed {
            wrong.push(format!("{role}: not needed: {}", grant.says));
        }
    }
    wrong.join("\n")
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

/// Prepares what can be; the texts, by their numbers.
async fn prepare(connection: &mut PgConnection, statements: BTreeSet<Statement>) -> Vec<String> {
    let mut prepared = Vec::new();
    for (text, types) in statements {
        // A limit for the rest of the message, before the query itself.
        let text = match text.split_once("'1s'; ") {
            Some((_, query)) => query.to_owned(),
            None => text,
        };
        let types: Vec<i64> = types.into_iter().map(i64::from).collect();
        let types: String = sqlx::query_scalar(
            "select coalesce('(' || string_agg(case oid when 0 then 'unknown' else format_type(oid::oid, null) end, ', '
                order by place) || ')', '') from unnest($1::bigint[]) with ordinality as t (oid, place)",
        )
        .bind(types)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        let statement = format!("prepare s{}{types} as {text}", prepared.len());
        if run(connection, &statement).await.is_ok() {
            prepared.push(text);
        }
    }
    prepared
}

/// Whether the role may run this statement after that change of its rights, which is undone again.
async fn allowed(
    connection: &mut PgConnection,
    role: &str,
    change: &str,
    number: usize,
    text: &str,
) -> bool {
    let most = (1..=99).rev().find(|place| text.contains(&format!("${place}"))).unwrap_or(0);
    let nulls = vec!["null"; most].join(", ");
    let call = if most == 0 { String::new() } else { format!("({nulls})") };
    let tried = format!("begin; {change}; set local role {role}; explain execute s{number}{call}");
    let outcome = run(connection, &tried).await;
    run(connection, "rollback").await.unwrap();
    match outcome {
        Ok(()) => true,
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code().map(String::from));
            assert_eq!(code.as_deref(), Some("42501"), "{error}: {text}");
            false
        }
    }
}

async fn grants(connection: &mut PgConnection, role: &str) -> Vec<Grant> {
    sqlx::query_as(
        "select format('%s on %s', lower(acl.privilege_type), c.relname) as says, c.relname::text as object,
            format('revoke %s on %s from %s', acl.privilege_type, c.oid::regclass, $1) as revoke
         from pg_class c, aclexplode(c.relacl) acl
         where acl.grantee = $1::text::regrole and c.relname <> '_sqlx_migrations'
         union all
         select format('%s on %s (%s)', lower(acl.privilege_type), c.relname, a.attname), c.relname::text,
            format('revoke %s (%I) on %s from %s', acl.privilege_type, a.attname, c.oid::regclass, $1)
         from pg_class c join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) acl
         where acl.grantee = $1::text::regrole
         union all
         select format('execute on %s', p.proname), p.proname::text,
            format('revoke execute on function %s from %s', p.oid::regprocedure, $1)
         from pg_proc p, aclexplode(p.proacl) acl
         -- `verdict_now` is inlined, and so not seen.
         where acl.grantee = $1::text::regrole and p.proname <> 'verdict_now'
         order by 1",
    )
    .bind(role)
    .fetch_all(connection)
    .await
    .unwrap()
}
