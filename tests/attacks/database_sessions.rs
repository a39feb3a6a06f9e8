//! Real databases and networks: read-only nodes, connections that a NAT drops, servers without
//! free connections. These are no attacks, yet each of them once kept callbacks out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;
use url::Url;
use verdict::app::Role;
use verdict::causes::Cause;
use verdict::store::signals::Signals;
use verdict::store::{Error, PoolerSearch, Settings, Store};

use crate::harness::{
    Database, Options, PATIENCE, Pair, Reply, TestApp, callback, empty_database, eventually,
    new_database, run_verdict,
};

/// Callbacks are accepted again within this time.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);

async fn run(database: &Database, statement: &str) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

fn name_of(database: &Database) -> String {
    Url::parse(&database.url).unwrap().path().trim_start_matches('/').to_owned()
}

async fn readiness(app: &TestApp) -> Reply {
    let request = app.client.get(format!("http://{}/readyz", app.operations));
    Reply::read(request.send().await.unwrap()).await
}

async fn posted(app: &TestApp, id: &str) -> u16 {
    app.post(callback(id, app.clock.now())).await.status
}

/// Within the time begins a row of so many callbacks that are all accepted, however long a busy
/// machine takes for them.
async fn accepts_again(app: &TestApp, what: &str, in_a_row: usize) {
    let began = Instant::now();
    let (mut n, mut accepted) = (0, 0);
    while accepted < in_a_row {
        let elapsed = began.elapsed();
        n += 1;
        let status = posted(app, &format!("pass-97-{what}{n}")).await;
        accepted = if status == 202 { accepted + 1 } else { 0 };
        if accepted < 2 {
            assert!(elapsed < RECOVERS_WITHIN, "{what}: status {status} after {n} callbacks");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Opens this many connections of the service, which rest afterwards: a lock has as many readers
/// wait at once.
async fn open_connections(app: &TestApp) {
    const MANY: usize = 8;
    let mut holder = PgConnection::connect(&app.database.url).await.unwrap();
    let lock = "begin read write; lock table verifications in access exclusive mode";
    holder.execute(AssertSqlSafe(lock)).await.unwrap();
    let lists = (0..MANY).map(|_| app.get("/v1/verifications?limit=5"));
    let all_wait = async {
        let mut watching = PgConnection::connect(&app.database.url).await.unwrap();
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&mut watching)
            .await
            .unwrap();
            if waiting >= i64::try_from(MANY).unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        holder.execute("commit").await.unwrap();
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(lists), all_wait);
    for reply in replies {
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// Has new sessions begin with this setting of the database, as after a failover.
async fn sessions_begin_with(database: &Database, setting: &str) {
    let name = name_of(database);
    run(database, &format!("alter database {name} set {setting}")).await;
    run(
        database,
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .await;
}

async fn read_only_no_more(database: &Database) {
    let name = name_of(database);
    let reset = "set transaction_read_only = off; alter database";
    let reset = format!("{reset} {name} reset default_transaction_read_only");
    run(database, &reset).await;
}

async fn api() -> TestApp {
    TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await
}

#[tokio::test]
async fn readiness_reports_a_read_only_database_and_recovers() {
    // This process does nothing else: a balancer that goes by readiness sends it no callbacks.
    let app = api().await;
    sessions_begin_with(&app.database, "default_transaction_read_only = on").await;
    let unready = eventually("readiness says so", || async {
        let reply = readiness(&app).await;
        (reply.status == 503 && reply.json["database"] == "read-only").then_some(reply)
    })
    .await;
    assert_eq!(unready.json["schema"], "current", "{unready:?}");
    open_connections(&app).await;
    read_only_no_more(&app.database).await;
    let healed = Instant::now();
    // Not once by chance: each connection of the pool is asked.
    let mut ready = 0;
    while ready < 3 {
        assert!(healed.elapsed() < RECOVERS_WITHIN, "ready {ready} times");
        let is_ready = readiness(&app).await.status == 200;
        ready = if is_ready { ready + 1 } else { 0 };
        // Longer than what was found is repeated.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn callbacks_alone_replace_read_only_sessions() {
    let app = api().await;
    sessions_begin_with(&app.database, "default_transaction_read_only = on").await;
    eventually("callbacks are refused", || async {
        (posted(&app, "pass-97-during").await == 503).then_some(())
    })
    .await;
    open_connections(&app).await;
    read_only_no_more(&app.database).await;
    accepts_again(&app, "after", 20).await;
}

#[tokio::test]
async fn sessions_with_a_wrong_search_path_are_replaced() {
    let app = api().await;
    sessions_begin_with(&app.database, "search_path = nowhere").await;
    eventually("callbacks are refused", || async {
        (posted(&app, "pass-97-during").await >= 500).then_some(())
    })
    .await;
    run(&app.database, &format!("alter database {} reset search_path", name_of(&app.database)))
        .await;
    accepts_again(&app, "path", 20).await;
}

#[tokio::test]
async fn vanished_prepared_statements_are_prepared_again() {
    // A new connection takes longer than a caller waits before it takes one that rests.
    let (database, slow) = new_database().await.behind_proxy().await;
    slow.delay(Duration::from_millis(20));
    let store = database.store();
    let mut all = Vec::new();
    for _ in 0..store.max_connections() {
        all.push(store.pool().acquire().await.unwrap());
    }
    for connection in &mut all {
        // The statement of `ping`.
        sqlx::query("select 1").execute(&mut **connection).await.unwrap();
        // As a pooler may do between two statements.
        sqlx::raw_sql("deallocate all").execute(&mut **connection).await.unwrap();
    }
    drop(all);
    eventually("all of them rest", || async {
        (store.connections().1 == usize::try_from(store.max_connections()).unwrap()).then_some(())
    })
    .await;
    for _ in 0..store.max_connections() {
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn dropped_idle_connections_cost_one_timeout_in_all() {
    let (database, proxy) = new_database().await.behind_proxy().await;
    let options =
        Options { role: Role::Api, database: Some(database.clone()), ..Options::default() };
    let app = TestApp::start_with(options).await;
    open_connections(&app).await;
    proxy.forget();
    accepts_again(&app, "forgotten", 40).await;
    assert_eq!(readiness(&app).await.status, 200);
}

#[tokio::test]
async fn dropped_listening_connection_is_noticed_and_replaced() {
    let direct = new_database().await;
    let (behind, proxy) = direct.behind_proxy().await;
    let stop = CancellationToken::new();
    let relay = |database: &Database| {
        let (signals, store, stop) = (Signals::default(), database.store(), stop.clone());
        let shared = signals.clone();
        tokio::spawn(async move { shared.relay(&store, stop).await });
        signals
    };
    let (teller, listener) = (relay(&direct), relay(&behind));
    let mut settled = listener.settled();
    let mut told = async |times: usize| {
        let began = Instant::now();
        let mut seen = 0;
        while seen < times {
            teller.something_settled();
            let next = tokio::time::timeout(Duration::from_millis(100), settled.changed()).await;
            seen += usize::from(next.is_ok());
            assert!(began.elapsed() < PATIENCE, "only {seen} of {times} arrived");
        }
    };
    told(3).await;
    proxy.forget();
    // More than the reconnection itself makes.
    told(10).await;
    stop.cancel();
}

/// The database as a role that may do everything in it and have so many connections.
async fn as_limited_role(database: &Database, connections: u32) -> Database {
    let role = format!("few_{}", name_of(database));
    run(
        database,
        &format!(
            "create role {role} login password 'few' connection limit {connections};
             grant usage on schema public to {role};
             grant all on all tables in schema public to {role};
             grant all on all sequences in schema public to {role};
             grant execute on all functions in schema public to {role}"
        ),
    )
    .await;
    let mut url = Url::parse(&database.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("few")).unwrap();
    Database::at(url)
}

#[tokio::test]
async fn role_with_a_low_connection_limit_shares_its_connections() {
    let database = as_limited_role(&new_database().await, 5).await;
    let options = Options { database: Some(database), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let first = app.accepted("pass-97-first").await;
    let path = format!("/v1/verifications/{first}");
    let mut shortest = Duration::MAX;
    for round in 0..4 {
        let began = Instant::now();
        let posts = (0..40).map(|n| {
            let (app, id) = (&app, format!("pass-97-r{round}n{n}"));
            async move { posted(app, &id).await }
        });
        let gets = (0..40).map(|_| async { app.get(&path).await.status });
        let (posts, gets) = tokio::join!(
            futures_util::future::join_all(posts),
            futures_util::future::join_all(gets)
        );
        assert!(posts.iter().all(|status| *status == 202), "{posts:?}");
        assert!(gets.iter().all(|status| *status == 200), "{gets:?}");
        shortest = shortest.min(began.elapsed());
    }
    // Without the fix, some request of each round waited for five seconds.
    assert!(shortest < Duration::from_secs(4), "{shortest:?}");
}

#[tokio::test]
async fn server_without_free_connections_is_named_as_the_cause() {
    let database = as_limited_role(&new_database().await, 0).await;
    let timeout = Duration::from_secs(1);
    let settings =
        Settings { url: database.url.clone().into(), max_connections: 2, timeout, schema: None };
    let refused = Store::new(&settings).unwrap().ping().await.unwrap_err();
    assert!(refused.to_string().contains("53300"), "{refused}");
    let advice = refused.cause().advice();
    assert!(advice.contains("max_connections") && advice.contains("limit of role"), "{advice}");
    let environment = [("DATABASE_URL", database.url.as_str())];
    let (_, said, _) = run_verdict(&["doctor"], &environment).await;
    assert!(said.contains("53300") && said.contains(advice), "{said}");
}

#[tokio::test]
async fn missing_right_is_not_reported_as_an_old_schema() {
    let database = new_database().await;
    let limited = as_limited_role(&database, 5).await;
    run(&database, "revoke usage on schema public from public").await;
    run(&database, &format!("revoke usage on schema public from few_{}", name_of(&database))).await;
    match limited.store().require_fit_schema().await {
        Err(error @ Error::Unseen(_)) => {
            let told = error.to_string();
            assert!(told.contains("public") && told.contains("grant it usage"), "{told}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn database_in_another_encoding_is_refused_with_a_reason() {
    let one = empty_database().await;
    let name = format!("latin_{}", name_of(&one));
    run(&one, &format!("create database {name} encoding 'LATIN1' locale 'C' template template0"))
        .await;
    let mut url = Url::parse(&one.url).unwrap();
    url.set_path(&name);
    let url = url.to_string();
    let store = Database::at(url.clone()).store();
    for refused in [store.migrate().await.map(drop), store.require_fit_schema().await] {
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("LATIN1") && told.contains("encoding 'UTF8'"), "{told}");
    }
    let environment = [("DATABASE_URL", url.as_str())];
    for command in ["migrate", "doctor"] {
        let (code, said, error) = run_verdict(&[command], &environment).await;
        assert_ne!(code, 0);
        assert!(format!("{said}{error}").contains("LATIN1"), "{command}: {said}{error}");
    }
}

#[tokio::test]
async fn ignored_url_parameters_are_refused_by_every_command() {
    for (parameter, name) in [
        ("ssl=true", "ssl"),
        ("channel_binding=require", "channel_binding"),
        ("target_session_attrs=standby", "target_session_attrs"),
        ("connect_timeout=3", "connect_timeout"),
    ] {
        let url = format!("postgres://u:geheim@127.0.0.1:1/d?{parameter}");
        for command in [&["migrate"][..], &["keys", "list"], &["doctor"]] {
            let (code, said, error) = run_verdict(command, &[("DATABASE_URL", &url)]).await;
            let told = format!("{said}{error}");
            assert_eq!(code, 2, "{command:?} {told}");
            assert!(told.contains("database.url") && told.contains(name), "{command:?} {told}");
            assert!(!told.contains("geheim"), "{told}");
        }
    }
}

#[tokio::test]
async fn ipv6_address_in_the_database_url_works() {
    let database = new_database().await;
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let mut url = Url::parse(&database.url).unwrap();
    let upstream = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
    url.set_host(Some("[::1]")).unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(upstream).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Database::at(url).store().ping().await.unwrap();
}

#[tokio::test]
async fn callbacks_are_accepted_after_failover_with_a_stale_address() {
    let Pair { primary, standby, direct, copy, _folder } = Pair::start().await;

    let (database, address) = direct.behind_proxy().await;
    let options =
        Options { role: Role::Api, database: Some(database.clone()), ..Options::default() };
    let app = TestApp::start_with(options).await;
    open_connections(&app).await;
    let first = SocketAddr::from(([127, 0, 0, 1], primary.port()));

    // The address leads to the standby for a while; the sockets to it stay open afterwards.
    address.lead_to(standby.address());
    address.cut();
    eventually("callbacks are refused", || async {
        (posted(&app, "pass-97-standby").await == 503).then_some(())
    })
    .await;
    eventually("readiness says so", || async {
        (readiness(&app).await.json["database"] == "read-only").then_some(())
    })
    .await;
    address.lead_to(first);
    accepts_again(&app, "back", 20).await;

    // The primary vanishes without a word, and the standby takes its place.
    address.lead_to(standby.address());
    address.forget();
    run(&copy, "select pg_promote()").await;
    accepts_again(&app, "promoted", 20).await;
    assert_eq!(readiness(&app).await.status, 200);
}

#[tokio::test]
async fn another_server_is_found_when_connecting_fails_at_once() {
    let Pair { primary, standby, direct, copy, _folder } = Pair::start().await;
    // Once its socket is gone, a server fails like a name that no longer resolves: at once.
    let folder = primary.socket_folder().unwrap().display().to_string().replace('/', "%2F");
    let (port, first) = (primary.port(), format!("127.0.0.1:{}", primary.port()));
    let both = format!("{folder}:{port},{}", standby.address());
    let store = Database::at(direct.url.replace(&first, &both)).store();
    // Nothing was connected before, so no statement meets a broken connection.
    primary.stop().await.unwrap();
    run(&copy, "select pg_promote()").await;
    let began = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(began.elapsed() < RECOVERS_WITHIN, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn nothing_is_read_from_a_standby() {
    let Pair { primary, standby, direct, copy, _folder } = Pair::start().await;
    let first = format!("127.0.0.1:{}", primary.port());
    let both = format!("{},{first}", standby.address());
    assert!(direct.url.contains(&first));
    let several = Database::at(direct.url.replace(&first, &both));
    let app = TestApp::start_with(Options { database: Some(several), ..Options::default() }).await;
    let early = app.verified("pass-97-early").await;
    // The standby stays behind, as one may at any time.
    run(&copy, "select pg_wal_replay_pause()").await;
    let late = app.verified("pass-97-late").await;
    let paths =
        [early, late].map(|shown| format!("/v1/verifications/{}", shown["id"].as_str().unwrap()));

    // No server takes writes: what has a 202 must not seem unknown.
    primary.stop().await.unwrap();
    for path in &paths {
        let reply = app.get(path).await;
        assert_eq!((reply.status, &reply.json["code"]), (503, &json!("unavailable")));
    }
    assert_eq!(readiness(&app).await.status, 503);

    // Nor where the standby is the only server of the URL.
    let alone = copy.store();
    let refused = alone.inspection().connect_once(PoolerSearch::Usual).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::Standby);
    assert_eq!(alone.ping().await.unwrap_err().cause(), Cause::Standby);
    assert!(!alone.takes_writes().await.unwrap());

    // It has received everything, and takes the place of the primary.
    run(&copy, "select pg_wal_replay_resume()").await;
    run(&copy, "select pg_promote()").await;
    for path in &paths {
        eventually("it is read again", || async {
            (app.get(path).await.status == 200).then_some(())
        })
        .await;
    }
    alone.ping().await.unwrap();
}
