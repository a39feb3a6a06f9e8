//! The database: the server, the schema, and what waits there.

use time::OffsetDateTime;

use super::advice::about_database;
use super::finding::Finding;
use super::vault_keys::keys_with_other_bytes;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::store::inspection::Server;
use crate::store::{Error, OLDEST_SERVER, Protection, SchemaState, Store, is_supported_server};
use crate::vault::Vault;

/// A clock that is off by more stamps wrong times.
const SKEW: time::Duration = time::Duration::seconds(5);
/// And by more refuses good callbacks, whose tolerance this is.
const SKEW_THAT_REFUSES: time::Duration = time::Duration::minutes(5);
/// A transaction open for longer keeps dead rows from being removed.
const LONG_SECONDS: f64 = 600.0;
/// Due work that waits for longer is late.
const LATE_SECONDS: f64 = 60.0;

/// The checks of [`of_server`].
pub const SERVER_CHECKS: [&str; 4] = ["database", "durability", "connections", "clock-database"];

/// The server's own state.
pub fn of_server(
    server: &Server,
    now: OffsetDateTime,
    (pool, is_the_only_one): (u32, bool),
) -> [(&'static str, Vec<Finding>); 4] {
    [
        ("database", vec![reachable(server)]),
        ("durability", durability(server)),
        ("connections", vec![connections(server, i64::from(pool), is_the_only_one)]),
        ("clock-database", vec![clock_against(server.now, now)]),
    ]
}

fn reachable(server: &Server) -> Finding {
    let says = format!("Postgres {} answers, the role is {}", server.version, server.role);
    if !is_supported_server(&server.version) {
        return Finding::failed(
            format!("{says}; Verdict needs Postgres {OLDEST_SERVER} or newer"),
            "upgrade the server, or point database.url at another one",
        );
    }
    if server.transaction_read_only == "on" {
        return Finding::failed(
            format!("{says}; it reads and takes no writes (transaction_read_only)"),
            "see default_transaction_read_only of the server, the database and the role \
             (select * from pg_db_role_setting), and set it off where it is on",
        );
    }
    if server.encoding != "UTF8" {
        return Finding::failed(
            format!("{says}; it stores text as {}, not as UTF8", server.encoding),
            "create a database with `create database verdict encoding 'UTF8' template template0` \
             and point database.url at it",
        );
    }
    Finding::ok(says)
}

/// There is no connection to be had.
pub fn unreachable(error: &Error) -> Finding {
    Finding::failed(error.to_string(), about_database(error))
}

/// How the connection is protected on its way, as the URL says; asks nobody.
pub fn protection(protection: Protection) -> Finding {
    match protection {
        Protection::Local => Finding::ok("the connection does not leave this machine"),
        Protection::VerifyFull => {
            Finding::ok("TLS with a verified certificate (sslmode=verify-full)")
        }
        Protection::Weaker(mode) => Finding::warning(
            format!(
                "database.url spells sslmode={mode}: an attacker on the way can read or change everything"
            ),
            "leave sslmode out, which means verify-full, and give the authority of the server's \
             certificate as sslrootcert=/path/ca.pem; ignore this on a network that no other machine reaches",
        ),
    }
}

fn durability(server: &Server) -> Vec<Finding> {
    let mut found = Vec::new();
    if server.fsync == "off" {
        found.push(Finding::failed(
            "fsync is off: a crash of the machine loses what was accepted",
            "set fsync = on in postgresql.conf and restart Postgres",
        ));
    }
    if server.synchronous_commit == "off" {
        found.push(Finding::failed(
            "synchronous_commit is off: what was accepted may be lost in a crash",
            "set synchronous_commit = on for this role and database",
        ));
    }
    if server.full_page_writes == "off" {
        found.push(Finding::warning(
            "full_page_writes is off: a crash may leave half-written pages",
            "set full_page_writes = on, unless the file system never tears a page",
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok("a commit is on disk before it is answered"));
    }
    found
}

fn connections(server: &Server, pool: i64, is_the_only_one: bool) -> Finding {
    let most = i64::from(server.connections);
    // The pool, and one that listens.
    let wanted = pool + 1;
    let says =
        format!("this process takes up to {wanted} of {most}, {} are in use now", server.connected);
    let hint = "lower database.max_connections, or raise Postgres' max_connections";
    if wanted > most {
        Finding::failed(says, hint)
    } else if server.connected + wanted > most {
        let who = if is_the_only_one { "it" } else { "each such process" };
        Finding::warning(format!("{says}: {who} may find none left"), hint)
    } else {
        Finding::ok(says)
    }
}

/// Ours against another's: how far ours is ahead.
pub fn clock_against(theirs: OffsetDateTime, ours: OffsetDateTime) -> Finding {
    let skew = ours - theirs;
    let seconds = skew.as_seconds_f64().abs();
    let says = if seconds < 0.05 {
        "this machine's clock differs by 0.0 s".to_owned()
    } else if skew.is_positive() {
        format!("this machine's clock differs by +{seconds:.1} s: it is ahead")
    } else {
        format!("this machine's clock differs by -{seconds:.1} s: it is behind")
    };
    let hint = "have both machines follow the same time servers (chrony, systemd-timesyncd)";
    if skew.abs() >= SKEW_THAT_REFUSES {
        Finding::failed(says, hint)
    } else if skew.abs() > SKEW {
        Finding::warning(says, hint)
    } else {
        Finding::ok(says)
    }
}

/// Our time that is nearest to theirs, between the question and its answer: a slow answer is no
/// difference of the clocks.
pub fn nearest(theirs: OffsetDateTime, [asked, answered]: [OffsetDateTime; 2]) -> OffsetDateTime {
    theirs.max(asked).min(answered)
}

pub async fn clock(clock: &Clock, store: &Store) -> Finding {
    let asked = clock.now();
    match store.inspection().database_now().await {
        Ok(then) => clock_against(then, nearest(then, [asked, clock.now()])),
        Err(error) => unasked(&error),
    }
}

pub async fn schema(store: &Store) -> Finding {
    match store.schema_state().await {
        Ok(state @ SchemaState::Current) => Finding::ok(format!("the schema is {state}")),
        Ok(state @ SchemaState::Newer) => Finding::warning(
            format!("the schema is {state}"),
            "an upgrade is under way: finish it by starting the newer binary everywhere",
        ),
        Ok(state @ SchemaState::Behind) => Finding::failed(
            format!("the schema is {state}"),
            "run `verdict migrate`, as the owner of the schema",
        ),
        Ok(state @ SchemaState::Ahead) => Finding::failed(
            format!("the schema is {state}"),
            "start the binary that the schema was migrated with, or a newer one",
        ),
        Ok(state @ SchemaState::Different) => Finding::failed(
            format!("the schema is {state}"),
            "run a binary built from the same migrations, or use a database made by this one",
        ),
        Err(error) => unasked(&error),
    }
}

pub async fn indexes(store: &Store) -> Finding {
    match store.inspection().invalid_indexes().await {
        Ok(invalid) if invalid.is_empty() => Finding::ok("every index is whole"),
        Ok(invalid) => Finding::failed(
            format!("the building of {} was cut short", invalid.join(", ")),
            "as the owner: drop index concurrently …, then `verdict migrate`; not while one runs",
        ),
        Err(error) => unasked(&error),
    }
}

/// The owner of the schema, and the rights of others to create objects in its database.
pub async fn owner(store: &Store, role: &str, is_owner: bool) -> Vec<Finding> {
    let ownership = match store.inspection().ownership().await {
        Ok(ownership) => ownership,
        Err(error) => return vec![unasked(&error)],
    };
    let Some(owner) = ownership.owner else {
        return vec![Finding::skipped("there is no schema yet: see schema")];
    };
    let mut found = Vec::new();
    if ownership.owner_is_superuser {
        found.push(Finding::warning(
            format!(
                "{owner} owns the schema and is a superuser: its password opens the whole server"
            ),
            "make a role without superuser the owner, as config/owner.sql does",
        ));
    }
    if ownership.creates && !is_owner {
        found.push(Finding::warning(
            format!("{role} may create objects in this database, temporary ones or others"),
            "as the owner of the database run config/roles.sql, which takes that right away",
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok(format!("{owner} owns the schema and is no superuser")));
    }
    found
}

pub async fn transactions(store: &Store) -> Vec<Finding> {
    let mut found = Vec::new();
    match store.inspection().long_transactions(LONG_SECONDS).await {
        Ok(long) if long.count > 0 => found.push(Finding::warning(
            format!(
                "{} open for more than {} min, the oldest for {}: dead rows cannot be removed",
                long.count,
                LONG_SECONDS / 60.0,
                minutes(long.oldest_seconds)
            ),
            "find them in pg_stat_activity by xact_start, and end them with pg_terminate_backend",
        )),
        Ok(_) => {}
        Err(error) => found.push(unasked(&error)),
    }
    match store.inspection().inspect_server().await {
        Ok(server) if server.idle_transaction_ms == 0 => found.push(Finding::warning(
            "idle_in_transaction_session_timeout is 0: a forgotten transaction stays indefinitely",
            "alter database … set idle_in_transaction_session_timeout = '60s'",
        )),
        Ok(_) => {}
        Err(error) => found.push(unasked(&error)),
    }
    if found.is_empty() {
        found.push(Finding::ok("none is open for long, and idle ones are ended"));
    }
    found
}

pub async fn vault_keys(vault: &Vault, store: &Store) -> Vec<Finding> {
    let needed = match store.vault_keys().vault_keys_in_use().await {
        Ok(needed) => needed,
        Err(error) => return vec![unasked(&error)],
    };
    let missing: Vec<&str> =
        needed.iter().map(String::as_str).filter(|id| !vault.ring().has(id)).collect();
    if !missing.is_empty() {
        return vec![Finding::failed(
            format!("data needs {}, which vault.keys lacks", missing.join(", ")),
            "put it back behind the primary one, then run `verdict vault rotate`",
        )];
    }
    let others = match keys_with_other_bytes(vault, store).await {
        Ok(others) => others,
        Err(error) => return vec![unasked(&error)],
    };
    if !others.is_empty() {
        return vec![Finding::failed(
            format!("{} does not open what it wrapped: its secret is another", others.join(", ")),
            "restore the secret that this id had; a new secret needs a new id",
        )];
    }
    let primary = vault.primary_id();
    if needed.is_empty() || needed.iter().any(|id| id == primary) {
        let behind = needed.iter().filter(|id| *id != primary).count();
        if behind > 0 {
            return vec![Finding::warning(
                format!(
                    "{primary} wraps, {} still needed",
                    counted(behind, "older one is", "older ones are")
                ),
                "run `verdict vault rotate` once every process has the primary one",
            )];
        }
        return vec![Finding::ok(format!("{primary} wraps, none is missing"))];
    }
    vec![Finding::warning(
        format!("{primary} is the primary one and wraps nothing yet"),
        "restart every process with it, then run `verdict vault rotate`",
    )]
}

pub async fn backlog(store: &Store) -> Finding {
    match store.metrics_queries().backlog().await {
        Ok(backlog) if backlog.oldest_seconds > LATE_SECONDS => Finding::warning(
            format!(
                "{} due, the oldest for {}",
                backlog.waiting + backlog.leased,
                minutes(backlog.oldest_seconds)
            ),
            "check that a worker runs; if so, look at breaker and provider here, and at \
             provider.queries_per_second",
        ),
        Ok(backlog) => Finding::ok(format!(
            "{} due, the oldest for {:.0} s",
            backlog.waiting + backlog.leased,
            backlog.oldest_seconds
        )),
        Err(error) => unasked(&error),
    }
}

pub async fn breaker(account: &str, store: &Store) -> Finding {
    match store.inspection().open_breaker(account).await {
        Ok(None) => Finding::ok("closed: calls go out"),
        Ok(Some(open)) => {
            let says = format!("open for {} ({})", minutes(open.open_seconds), open.breaker);
            match open.breaker.as_str() {
                "credentials" => Finding::failed(
                    says,
                    "give provider.access_key_id and its secret again, and the permission to call \
                     DescribeVerifyResult; it closes by itself",
                ),
                "clock" => Finding::failed(says, "set the clock of the workers' machines right"),
                _ => Finding::warning(
                    says,
                    "the provider fails for all verifications: nothing is lost, it closes by itself",
                ),
            }
        }
        Err(error) => unasked(&error),
    }
}

pub async fn dead_letters(store: &Store) -> Finding {
    match store.inspection().dead_letters().await {
        Ok(Some(0)) => Finding::ok("no verification is a dead letter"),
        Ok(Some(count)) => Finding::warning(
            format!(
                "{} (state failed)",
                counted(count, "verification is a dead letter", "verifications are dead letters")
            ),
            "look at the results, then refetch: POST /v1/verifications/{id}/refetch, or `verdict refetch --state failed`",
        ),
        Ok(None) => Finding::skipped("there are too many verifications to count in time"),
        Err(error) => unasked(&error),
    }
}

/// A question the database did not answer.
pub fn unasked(error: &Error) -> Finding {
    match error {
        Error::Refused { code, .. } if code == "42P01" || code == "42703" || code == "42883" => {
            Finding::skipped("the schema lacks a table or column of this check: see schema")
        }
        Error::Refused { code, .. } if code == "42501" => {
            Finding::skipped("this role may not see it: see rights")
        }
        error => Finding::failed(error.to_string(), about_database(error)),
    }
}

fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn slow_answer_is_no_difference_of_clocks() {
        let asked = datetime!(2026-11-27 12:00 UTC);
        let answered = asked + Duration::minutes(6);
        let ahead = |theirs: OffsetDateTime| nearest(theirs, [asked, answered]) - theirs;
        assert_eq!(ahead(asked + Duration::minutes(1)), Duration::ZERO);
        assert_eq!(ahead(asked - Duration::seconds(9)), Duration::seconds(9));
        assert_eq!(ahead(answered + Duration::seconds(9)), Duration::seconds(-9));
        // Our clock was set back meanwhile.
        assert_eq!(nearest(asked, [answered, asked]), asked);
    }
}
