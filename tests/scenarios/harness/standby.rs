//! A real standby of a real primary.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use private_postgres::{Mode, Programs, Server};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use url::Url;

use super::cluster::{Database, programs};
use super::eventually;

/// A migrated primary and its standby, both answering.
pub struct Pair {
    pub primary: Server,
    pub standby: Standby,
    /// The primary's database.
    pub direct: Database,
    /// The standby's.
    pub copy: Database,
    pub _folder: TempDir,
}

impl Pair {
    pub async fn start() -> Self {
        let folder = TempDir::new_in("/var/tmp").unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let programs = programs();
        let home = folder.path().join("pg");
        let primary = Server::start(&programs, &home, Mode::ThrowAway).await.unwrap();
        let direct = Database::at(primary.url("postgres"));
        direct.store().migrate().await.unwrap();
        let standby = Standby::of(&primary, &programs, folder.path());
        let mut url = Url::parse(&direct.url).unwrap();
        url.set_port(Some(standby.port)).unwrap();
        let copy = Database::at(url);
        eventually("the standby answers", || async {
            PgConnection::connect(&copy.url).await.ok().map(drop)
        })
        .await;
        Self { primary, standby, direct, copy, _folder: folder }
    }
}

/// A standby that follows a primary.
pub struct Standby {
    process: Child,
    pub port: u16,
}

impl Standby {
    /// Copies the primary and starts the copy.
    fn of(primary: &Server, programs: &Programs, folder: &Path) -> Self {
        let data = folder.join("standby");
        let source = Url::parse(&primary.url("postgres")).unwrap();
        let copied = Command::new(programs.bin().join("pg_basebackup"))
            .args(["--checkpoint=fast", "--write-recovery-conf", "--wal-method=stream", "-D"])
            .arg(&data)
            .arg("-d")
            .arg(source.as_str())
            .env_clear()
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let log = primary.log_path();
        let owner = std::fs::metadata(log.parent().unwrap()).unwrap();
        hand_over(&data, owner.uid(), owner.gid());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(programs.bin().join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=300",
        ] {
            command.args(["-c", setting]);
        }
        // pg_basebackup may be of a newer version than this server, and write options that the server
        // does not know.
        command.arg("-c").arg(format!("primary_conninfo={source}"));
        command.env_clear().env("LC_ALL", "C").current_dir(&data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        Self { process: command.spawn().unwrap(), port }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// To the user that the server runs as.
fn hand_over(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            hand_over(&entry.unwrap().path(), uid, gid);
        }
    }
}
