//! A private server's life, with real programs: they are needed here as for every test of ours.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, getpgid, kill_process, test_kill_process};
use sqlx::{Connection, PgConnection};

use crate::{Error, Mode, Programs, Server, leftover};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        // A name that nobody can guess: in /tmp anybody could have made it first.
        Self(tempfile::tempdir().expect("a folder").keep().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Ok(place) = std::fs::read_to_string(self.0.join("moved-to")) {
            let _ = std::fs::remove_dir_all(place.trim());
        }
        let _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

/// Of `PG_BIN`, and of the version that `PG_MAJOR` asks for.
fn programs() -> Programs {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    match std::env::var("PG_MAJOR") {
        Ok(major) => Programs::find_major(named.as_deref(), major.parse().expect("a number")),
        Err(_) => Programs::find(named.as_deref()),
    }
    .expect("PostgreSQL's programs")
}

/// A folder with programs that say they are of this version, and do nothing else.
fn programs_of(major: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["initdb", "postgres"] {
        let path = folder.path().join(name);
        let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {major}.1'\n");
        std::fs::write(&path, script).expect("written");
        let for_everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, for_everybody).expect("executable");
    }
    folder
}

#[test]
fn programs_of_another_major_version_are_refused() {
    let folder = programs_of(17);
    let found = Programs::find_major(Some(folder.path()), 17).expect("those of 17");
    assert_eq!(found.major(), 17);
    let error = Programs::find_major(Some(folder.path()), 18).expect_err("a refusal");
    assert!(matches!(error, Error::NotThatMajor { major: 17, wanted: 18, .. }), "{error}");
    assert!(error.to_string().contains("PG_BIN"), "{error}");
}

#[test]
fn version_that_is_no_longer_maintained_is_refused() {
    let folder = programs_of(14);
    let error = Programs::find(Some(folder.path())).expect_err("a refusal");
    assert!(matches!(error, Error::TooOld { major: 14, oldest: 15, .. }), "{error}");
}

#[tokio::test]
async fn programs_that_postgres_account_cannot_enter_are_refused_in_words() {
    // Any other account starts Postgres as itself.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let programs = programs_of(17);
    let for_root_alone = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(programs.path(), for_root_alone).expect("closed");
    let found = Programs::find(Some(programs.path())).expect("root can read them");
    let folder = Folder::new("closed");
    let error = Server::start(&found, &folder.0, Mode::ThrowAway).await.expect_err("a refusal");
    assert!(matches!(error, Error::ProgramsOutOfReach(_)), "{error}");
    assert!(error.to_string().contains("every account can enter"), "{error}");
}

#[tokio::test]
async fn server_is_of_the_major_version_of_its_programs() {
    let folder = Folder::new("version");
    let server = start(&folder.0, Mode::ThrowAway).await;
    let number = setting(&mut connect(&server).await, "server_version_num").await;
    let number: u32 = number.parse().expect("a number");
    assert_eq!(number / 10_000, programs().major());
    assert_eq!(server.major(), programs().major());
    server.stop().await.expect("a stop");
}

async fn start(folder: &Path, mode: Mode) -> Server {
    Server::start(&programs(), folder, mode).await.expect("a server")
}

async fn connect(server: &Server) -> PgConnection {
    PgConnection::connect(&server.url("postgres")).await.expect("a connection")
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    let asked = sqlx::query_scalar("select current_setting($1)").bind(name);
    asked.fetch_one(connection).await.expect("a setting")
}

fn runs(pid: Pid) -> bool {
    let zombie = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()))
        .is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(pid).is_ok() && !zombie
}

/// Waits for a process to end; far longer than it takes, so that only "never" fails.
async fn gone(pid: Pid) {
    let ended = async {
        while runs(pid) {
            tokio::time::sleep(leftover::POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(leftover::GRACE * 3, ended).await.expect("the process ends");
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = Folder::new("restart");
    let server = start(&folder.0, Mode::Durable).await;
    let mut client = connect(&server).await;
    sqlx::raw_sql("create table kept (n int); insert into kept values (42)")
        .execute(&mut client)
        .await
        .expect("a table");
    for (name, value) in [("fsync", "on"), ("synchronous_commit", "on"), ("data_checksums", "on")] {
        assert_eq!(setting(&mut client, name).await, value, "{name}");
    }
    let pid = server.pid();
    server.stop().await.expect("a stop");
    assert!(!runs(pid));

    let server = start(&folder.0, Mode::Durable).await;
    let kept: i32 = sqlx::query_scalar("select n from kept")
        .fetch_one(&mut connect(&server).await)
        .await
        .expect("the row");
    assert_eq!(kept, 42);
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn password_is_required_and_no_value_is_logged() {
    let folder = Folder::new("password");
    let server = start(&folder.0, Mode::ThrowAway).await;
    let without = format!("postgres://verdict:wrong@127.0.0.1:{}/postgres", server.port());
    assert!(PgConnection::connect(&without).await.is_err());
    assert!(!format!("{server:?}").contains(&server.url("")[21..40]));

    let mut client = connect(&server).await;
    sqlx::raw_sql("create table people (name text unique)")
        .execute(&mut client)
        .await
        .expect("a table");
    for _ in 0..2 {
        let insert = sqlx::query("insert into people values ($1)").bind("CANARY-IN-A-PARAMETER");
        let _ = insert.execute(&mut client).await;
    }
    assert!(sqlx::raw_sql("select 'CANARY-IN-A-TEXT'::int").execute(&mut client).await.is_err());
    let log = server.log_path();
    server.stop().await.expect("a stop");
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(log.contains("ready to accept connections"), "this is the log: {log}");
    assert!(!log.contains("CANARY"), "{log}");
}

#[tokio::test]
async fn a_folder_has_one_owner_at_a_time() {
    let folder = Folder::new("owner");
    let server = start(&folder.0, Mode::ThrowAway).await;
    let second = Server::start(&programs(), &folder.0, Mode::ThrowAway).await;
    assert!(matches!(second, Err(Error::InUse(_))), "{second:?}");
    connect(&server).await.ping().await.expect("the first is unharmed");
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_server_without_owner_is_stopped_and_replaced() {
    let folder = Folder::new("leftover");
    let mut orphan = start(&folder.0, Mode::ThrowAway).await;
    orphan.unlock();
    let server = start(&folder.0, Mode::ThrowAway).await;
    assert!(!runs(orphan.pid()));
    assert_ne!(server.pid(), orphan.pid());
    connect(&server).await.ping().await.expect("it answers");
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn process_with_a_reused_pid_is_not_killed() {
    let folder = Folder::new("stranger");
    let server = start(&folder.0, Mode::ThrowAway).await;
    let data = server.data();
    server.stop().await.expect("a stop");
    let mut stranger = Command::new("sleep").arg("600").spawn().expect("a stranger");
    let text = format!("{}\n{}\n", stranger.id(), data.display());
    std::fs::write(data.join("postmaster.pid"), text).expect("a stale file");

    let server = start(&folder.0, Mode::ThrowAway).await;
    assert!(runs(Pid::from_child(&stranger)));
    server.stop().await.expect("a stop");
    stranger.kill().and_then(|()| stranger.wait()).expect("the stranger ends");
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_in_words() {
    let folder = Folder::new("major");
    start(&folder.0, Mode::ThrowAway).await.stop().await.expect("a stop");
    let newer = programs().pretending_to_be(99);
    let error = Server::start(&newer, &folder.0, Mode::ThrowAway).await.expect_err("a refusal");
    assert!(matches!(error, Error::OtherMajor { ours: 99, .. }), "{error}");
    assert!(error.to_string().contains("PG_BIN"));
}

#[tokio::test]
async fn a_port_taken_at_the_last_moment_is_given_up_for_another() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port();
    let mut choices = 0;
    let server = Server::start_on(&programs(), &folder.0, Mode::ThrowAway, || {
        choices += 1;
        if choices == 1 {
            return Ok(port);
        }
        Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
    })
    .await
    .expect("a server");
    assert!(choices > 1 && server.port() != port);
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_killed_server_recovers_what_was_committed() {
    let folder = Folder::new("crash");
    let server = start(&folder.0, Mode::Durable).await;
    let mut client = connect(&server).await;
    sqlx::raw_sql("create table kept (n int); insert into kept values (42)")
        .execute(&mut client)
        .await
        .expect("a table");
    kill_process(server.pid(), Signal::KILL).expect("a crash");
    drop(server);

    let server = start(&folder.0, Mode::Durable).await;
    let kept: i32 = sqlx::query_scalar("select n from kept")
        .fetch_one(&mut connect(&server).await)
        .await
        .expect("the row");
    assert_eq!(kept, 42);
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_does_not_reach_postgres_before_us() {
    let folder = Folder::new("group");
    let server = start(&folder.0, Mode::ThrowAway).await;
    assert_eq!(getpgid(Some(server.pid())), Ok(server.pid()));
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_dropped_server_ends_and_its_data_is_whole() {
    let folder = Folder::new("drop");
    let server = start(&folder.0, Mode::Durable).await;
    let (pid, log) = (server.pid(), server.log_path());
    drop(server);
    gone(pid).await;
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(log.contains("fast shutdown"), "{log}");
}

#[tokio::test]
async fn a_place_whose_folder_is_gone_is_removed_at_the_next_start() {
    let [gone, live, next_folder] = ["gone", "live", "next"].map(|name| {
        let folder = Folder::new(name);
        let parent = folder.0.parent().expect("a parent");
        let for_us_alone = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(parent, for_us_alone).expect("protected");
        folder
    });
    let place_of = |folder: &Folder| std::fs::read_to_string(folder.0.join("moved-to"));
    start(&gone.0, Mode::ThrowAway).await.stop().await.expect("a stop");
    // Only as root a server lives outside its caller's folder.
    let Ok(place) = place_of(&gone) else {
        assert!(!rustix::process::geteuid().is_root());
        return;
    };
    let place = PathBuf::from(place.trim());
    assert!(place.is_dir());
    let server = start(&live.0, Mode::ThrowAway).await;
    assert!(place.is_dir(), "its folder is still there");
    std::fs::remove_dir_all(&gone.0).expect("removed");
    let next = start(&next_folder.0, Mode::ThrowAway).await;
    assert!(!place.exists());
    let kept = place_of(&live).expect("a note");
    assert!(Path::new(kept.trim()).is_dir());
    for server in [server, next] {
        connect(&server).await;
        server.stop().await.expect("a stop");
    }
}
