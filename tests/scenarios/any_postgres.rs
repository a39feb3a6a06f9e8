//! Databases of other kinds: several servers, another schema, a pooler in between.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use private_postgres::{Mode, Programs, Server};
use tempfile::TempDir;
use url::Url;
use verdict::causes::Cause;
use verdict::store::PoolerSearch;

use crate::harness::{
    Database, Options, Pair, Recorder, TestApp, callback, empty_database, eventually, new_database,
    programs, run_verdict,
};
use crate::roles::lay_out;

/// A URL with these servers, in this order.
fn url_of(database: &Database, servers: &[String]) -> Database {
    Database::at(database.url.replace(&host(database), &servers.join(",")))
}

/// The server of a database.
fn host(database: &Database) -> String {
    let url = Url::parse(&database.url).unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

#[tokio::test]
async fn service_uses_the_server_that_takes_writes_and_follows_it() {
    let Pair { primary, standby, direct, copy, _folder } = Pair::start().await;
    // A port that nobody listens on, the standby, and last the server that takes writes.
    let mut servers = ["127.0.0.1:1".to_owned(), standby.address().to_string()].to_vec();
    servers.push(format!("127.0.0.1:{}", primary.port()));
    let database = url_of(&direct, &servers);
    let app = TestApp::start_with(Options { database: Some(database), ..Options::default() }).await;
    let before = app.verified("pass-97-before").await;
    assert_eq!(before["state"], "decided");
    eventually("the standby has it", || async {
        let row = sqlx::query_scalar::<_, i64>("select count(*) from decisions");
        let found = row.fetch_one(&copy.pool().await).await.ok()?;
        (found == 1).then_some(())
    })
    .await;

    // The standby takes its place.
    primary.stop().await.unwrap();
    sqlx::raw_sql("select pg_promote()").execute(&copy.pool().await).await.unwrap();
    eventually("callbacks are accepted again", || async {
        let reply = app.post(callback("pass-97-after", app.clock.now())).await;
        (reply.status == 202).then_some(())
    })
    .await;
    assert_eq!(app.verified("pass-97-later").await["state"], "decided");
    let id = before["id"].as_str().unwrap();
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).await.json, before);
}

#[tokio::test]
async fn start_waits_for_a_standby_where_another_server_refuses() {
    let Pair { primary, standby, direct, copy, _folder: folder } = Pair::start().await;
    let first = format!("127.0.0.1:{}", primary.port());
    let database = url_of(&direct, &[first, standby.address().to_string()]);
    // As a former primary that only its operator may reach.
    let rules = folder.path().join("pg/server/data/pg_hba.conf");
    std::fs::write(rules, "host all all 127.0.0.1/32 reject\n").unwrap();
    let reload = sqlx::raw_sql("select pg_reload_conf()");
    reload.execute(&direct.pool().await).await.unwrap();
    eventually("the first server refuses", || async {
        sqlx::PgPool::connect(&direct.url).await.err().map(drop)
    })
    .await;

    let none = database.store().inspection().connect_at_start().await.unwrap_err();
    assert_eq!(none.error.cause(), Cause::NotAdmitted, "the standby is as it should be");
    assert!(!none.is_of_the_url, "a start waits");
    sqlx::raw_sql("select pg_promote()").execute(&copy.pool().await).await.unwrap();
    let app = TestApp::start_with(Options { database: Some(database), ..Options::default() }).await;
    assert_eq!(app.verified("pass-97-promoted").await["state"], "decided");
}

#[tokio::test]
async fn two_deployments_share_a_database_in_schemas_of_their_own() {
    let database = empty_database().await;
    let (one, two) = (database.in_schema("one"), database.in_schema("two"));
    for deployment in [&one, &two] {
        let migrated = deployment.store().migrate().await.unwrap();
        assert!(migrated.applied > 0, "{migrated}");
        assert_eq!(deployment.store().migrate().await.unwrap().applied, 0);
    }
    let start = |database: &Database| {
        TestApp::start_with(Options { database: Some(database.clone()), ..Options::default() })
    };
    let (first, second) = (start(&one).await, start(&two).await);
    assert_eq!(first.verified("pass-97-u1").await["state"], "decided");
    assert_eq!(second.verified("fail-12-u1").await["state"], "decided");
    let pool = database.pool().await;
    for (schema, biz_id) in [("one", "pass-97-u1"), ("two", "fail-12-u1")] {
        let rows = format!("select string_agg(biz_id, ' ') from {schema}.verifications");
        let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(rows));
        assert_eq!(rows.fetch_one(&pool).await.unwrap(), biz_id);
    }
    let in_public = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    let in_public = sqlx::query_scalar::<_, i64>(in_public);
    assert_eq!(in_public.fetch_one(&pool).await.unwrap(), 0, "no table of ours is in public");
}

#[tokio::test]
async fn wake_ups_reach_only_processes_of_the_same_schema() {
    let database = empty_database().await;
    let (one, two) = (database.in_schema("one"), database.in_schema("two"));
    let mut channels = Vec::new();
    for deployment in [&one, &two] {
        deployment.store().migrate().await.unwrap();
        let options = Options { database: Some(deployment.clone()), ..Options::default() };
        let app = TestApp::start_with(options).await;
        let listening = eventually("the process listens", || async {
            sqlx::query_scalar::<_, String>(
                "select query from pg_stat_activity
                 where datname = current_database() and query ilike 'listen%'
                 order by backend_start desc limit 1",
            )
            .fetch_optional(&database.pool().await)
            .await
            .unwrap()
        })
        .await;
        channels.push(listening);
        drop(app);
    }
    assert_ne!(channels[0], channels[1]);
}

#[tokio::test]
async fn schema_that_is_not_there_is_reported_by_its_name() {
    let database = new_database().await;
    let store = database.in_schema("elsewhere").store();
    let told = store.require_fit_schema().await.unwrap_err().to_string();
    assert!(told.contains("verdict migrate"), "{told}");
    for (name, said) in [("Two", "small letters"), ("pg_x", "keeps for itself")] {
        let environment = [("DATABASE_URL", &*database.url), ("VERDICT__DATABASE__SCHEMA", name)];
        let (code, _, error) = run_verdict(&["migrate"], &environment).await;
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("database.schema") && error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn server_is_of_the_version_that_was_asked_for() {
    let number = sqlx::query_scalar::<_, String>("show server_version_num");
    let number = number.fetch_one(&empty_database().await.pool().await).await.unwrap();
    assert_eq!(number.parse::<u32>().unwrap() / 10_000, programs().major());
}

/// Set on both servers: `pg_upgrade` takes one password.
const COMMON_PASSWORD: &str = "known-to-both";

/// Moves the data of the first folder's server, stopped, into the second's.
fn upgrade(from: &Programs, old: &Path, to: &Programs, new: &Path) {
    let owner = std::fs::metadata(new.join("server")).unwrap();
    let mut command = Command::new(to.bin().join("pg_upgrade"));
    command.arg("--old-bindir").arg(from.bin()).arg("--new-bindir").arg(to.bin());
    command.arg("--old-datadir").arg(old.join("server/data"));
    command.arg("--new-datadir").arg(new.join("server/data"));
    command.args(["--username", "verdict", "--no-sync"]);
    command.env_clear().env("LC_ALL", "C").env("PGPASSWORD", COMMON_PASSWORD);
    command.current_dir(new.join("server"));
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// `PG_BIN_BEFORE` names the programs of an older version; `scripts/postgres-matrix.sh` sets it.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
async fn service_goes_on_after_pg_upgrade() {
    let Some(before) = std::env::var_os("PG_BIN_BEFORE") else {
        eprintln!("skipped: PG_BIN_BEFORE names no older Postgres, so none is upgraded");
        return;
    };
    let (from, to) = (Programs::find(Some(Path::new(&before))).unwrap(), programs());
    assert!(from.major() < to.major(), "PG_BIN_BEFORE is of an older version");
    let folder = TempDir::new_in("/var/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let start = async |programs: &Programs, folder: &Path| {
        Server::start(programs, folder, Mode::ThrowAway).await.unwrap()
    };
    let app_on = async |server: &Server| {
        let database = Database::at(server.url_as("verdict", COMMON_PASSWORD, "postgres"));
        TestApp::start_with(Options { database: Some(database), ..Options::default() }).await
    };
    let events = async |app: &TestApp, after: usize| {
        let reply = app.get(&format!("/v1/events?after={after}&wait=30")).await;
        let items = reply.json["items"].as_array().unwrap().clone();
        items.into_iter().map(|event| event["id"].clone()).collect::<Vec<_>>()
    };

    let servers = [start(&from, &old).await, start(&to, &new).await];
    for server in &servers {
        let database = Database::at(server.url("postgres"));
        let common = format!("alter role verdict password '{COMMON_PASSWORD}'");
        let common = sqlx::raw_sql(sqlx::AssertSqlSafe(common));
        common.execute(&database.pool().await).await.unwrap();
    }
    let [server, empty] = servers;
    empty.stop().await.unwrap();
    let direct = Database::at(server.url_as("verdict", COMMON_PASSWORD, "postgres"));
    direct.store().migrate().await.unwrap();
    let app = app_on(&server).await;
    let decided = app.verified("pass-97-before").await;
    let numbered = events(&app, 0).await;
    assert!(!numbered.is_empty());
    drop(app);
    server.stop().await.unwrap();

    upgrade(&from, &old, &to, &new);
    let server = start(&to, &new).await;
    let app = app_on(&server).await;
    let id = decided["id"].as_str().unwrap();
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).await.json, decided);
    let kept = events(&app, 0).await;
    assert!(kept.starts_with(&numbered), "{kept:?} begins with {numbered:?}");
    assert_eq!(app.verified("pass-97-after").await["state"], "decided");
    assert!(!events(&app, kept.len()).await.is_empty(), "numbering continues");
    drop(app);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn owner_that_has_created_the_roles_gets_no_time_limits() {
    // A server of this test's own: roles are of the whole server.
    let folder = TempDir::new().unwrap();
    let home = folder.path().join("pg");
    let server = Server::start(&programs(), &home, Mode::ThrowAway).await.unwrap();
    let superuser = Database::at(server.url("kept"));
    let prepare = [
        "create role keeper login createrole password 'only-here'",
        "create database kept owner keeper",
    ];
    for statement in prepare {
        let pool = Database::at(server.url("postgres")).pool().await;
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    }
    let pool = superuser.pool().await;
    let owner = Database::at(server.url_as("keeper", "only-here", "kept"));
    owner.store().migrate().await.unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    lay_out(&owner, source).await;
    let user = "create role api_1 login in role verdict_api; create role analyst_1 login noinherit
        in role verdict_reader";
    sqlx::raw_sql(user).execute(&owner.pool().await).await.unwrap();

    lay_out(&superuser, source).await;
    let limits = "select array_agg(setrole::regrole::text || ' ' || limits order by 1)
        from pg_db_role_setting, unnest(setconfig) limits where limits like 'statement_timeout%'";
    let limits = sqlx::query_scalar::<_, Vec<String>>(limits).fetch_one(&pool).await.unwrap();
    assert_eq!(limits, ["analyst_1 statement_timeout=15min", "api_1 statement_timeout=60s"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn server_older_than_15_is_refused_with_a_reason() {
    let database = empty_database().await;
    // A server of this version is not to be had: this one says that it is of it.
    let pretend = "create schema planted;
        create function planted.current_setting(text) returns text language sql as $$
            select case $1 when 'server_version' then '14.23' else pg_catalog.current_setting($1) end
        $$;
        do $$ begin
            execute format('alter database %I set search_path = planted, pg_catalog, public',
                current_database());
        end $$";
    sqlx::raw_sql(pretend).execute(&database.pool().await).await.unwrap();
    for command in ["migrate", "doctor"] {
        let (code, said, error) =
            run_verdict(&[command], &[("DATABASE_URL", &*database.url)]).await;
        assert_ne!(code, 0, "{command}");
        let told = format!("{said}{error}");
        assert!(
            told.contains("Postgres 14.23") && told.contains("15 or newer"),
            "{command}: {told}"
        );
    }
    let tables = "select count(*) from pg_class where relname = 'verifications'";
    let tables = sqlx::query_scalar::<_, i64>(tables);
    let tables = tables.fetch_one(&database.pool().await).await.unwrap();
    assert_eq!(tables, 0, "nothing was migrated");
}

/// `PgBouncer` before a database.
struct PgBouncer {
    process: Child,
    database: Database,
    _folder: TempDir,
}

impl PgBouncer {
    /// `None`: it is not installed.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    async fn start(database: &Database, mode: &str) -> Option<Self> {
        // `scripts/newer-pgbouncer.sh` names another one.
        let program = std::env::var_os("VERDICT_PGBOUNCER").unwrap_or_else(|| "pgbouncer".into());
        let found = Command::new(&program).arg("--version").output();
        if found.is_err() {
            eprintln!(
                "skipped: pgbouncer is missing (apt-get install pgbouncer), so no pooler is tried"
            );
            return None;
        }
        let folder = TempDir::new_in("/var/tmp").unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let mut url = Url::parse(&database.url).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = folder.path().join("pgbouncer.ini");
        let users = folder.path().join("users");
        let password = url.password().unwrap_or_default();
        std::fs::write(&users, format!("\"{}\" \"{password}\"\n", url.username())).unwrap();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n\
             default_pool_size = 40\n",
            url.port().unwrap(),
            users.display(),
        );
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(&program);
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root.
            command.args(["-u", "nobody"]);
        }
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(listener);
        let process = command.spawn().unwrap();
        url.set_port(Some(port)).unwrap();
        let started = Self { process, database: Database::at(url), _folder: folder };
        eventually("PgBouncer answers", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        Some(started)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn command_opens_one_connection_to_find_a_pooler() {
    let database = new_database().await;
    let recorder = Recorder::default();
    let watched = recorder.before(&database).await;
    let list = ["policy", "list"];
    let (code, _, error) = run_verdict(&list, &[("DATABASE_URL", &watched.url)]).await;
    assert_eq!(code, 0, "{error}");
    // The one that says why there is none, and one beside it.
    assert_eq!(recorder.connections_with("verdict.session"), 2);
}

#[tokio::test]
async fn pooler_of_sessions_is_used_and_one_of_transactions_is_refused() {
    let database = new_database().await;
    let Some(sessions) = PgBouncer::start(&database, "session").await else { return };
    let options = Options { database: Some(sessions.database.clone()), ..Options::default() };
    let app = TestApp::start_with(options).await;
    assert_eq!(app.verified("pass-97-pooled").await["state"], "decided");

    let transactions = PgBouncer::start(&database, "transaction").await.unwrap();
    for _ in 0..5 {
        let store = transactions.database.store();
        let told =
            store.inspection().connect_once(PoolerSearch::Thorough).await.unwrap_err().to_string();
        assert!(told.contains("pool_mode = session"), "{told}");
    }
    let url = &transactions.database.url;
    for command in [&["migrate"][..], &["doctor"], &["policy", "list"]] {
        let (code, said, error) = run_verdict(command, &[("DATABASE_URL", url)]).await;
        assert_ne!(code, 0, "{command:?}");
        assert!(format!("{said}{error}").contains("pool_mode = session"), "{said}{error}");
    }
}

/// A database whose answers about sessions take longer than the answers of a server that is well.
/// With a pooler of transactions before it, each session finds what another one has set.
async fn slow_database(pooled: bool) -> Database {
    let database = empty_database().await;
    let found = if pooled {
        "(select value from planted.kept)"
    } else {
        "pg_catalog.current_setting(name, missing)"
    };
    let pretend = format!(
        "create schema planted;
        create table planted.kept (value text);
        create function planted.set_config(name text, value text, local boolean) returns text
            language plpgsql as $$ begin
                insert into planted.kept values (value);
                return pg_catalog.set_config(name, value, local);
            end $$;
        create function planted.current_setting(name text, missing boolean) returns text
            language plpgsql as $$ begin
                perform pg_catalog.pg_sleep(0.8);
                return {found};
            end $$;
        create function planted.current_setting(name text) returns text
            language plpgsql as $$ begin
                perform pg_catalog.pg_sleep(2.2);
                return pg_catalog.current_setting(name);
            end $$;
        do $$ begin
            execute format('alter database %I set search_path = planted, pg_catalog, public',
                current_database());
        end $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(pretend)).execute(&database.pool().await).await.unwrap();
    database
}

#[tokio::test]
async fn slow_database_is_waited_for_and_hides_no_pooler() {
    let database = slow_database(false).await;
    for database in [&database, &url_of(&database, &["127.0.0.1:1".to_owned(), host(&database)])] {
        database.store().inspection().connect_once(PoolerSearch::Thorough).await.unwrap();
    }
    let pooled = slow_database(true).await.store();
    let told = pooled.inspection().connect_once(PoolerSearch::Thorough).await.unwrap_err();
    assert!(told.to_string().contains("pool_mode = session"), "{told}");
}
