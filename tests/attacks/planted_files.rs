//! Another account plants links and files where Verdict writes as root.
//!
//! As root, Postgres runs under another account, which owns its folder. As another user, the same
//! links are in a folder of that user. In both cases the target of a link may not be read, written
//! or given away.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use private_postgres::{Error, Folder, Mode, Server};
use tempfile::TempDir;

use crate::harness::{programs, run_verdict};

/// A file and a folder that the attacker wants to have changed, and a place where he wants a file.
struct Victims {
    folder: TempDir,
    before: Vec<(PathBuf, String)>,
}

const SECRET: &str = "4711\nroot:$6$secret:19000:0:99999:7:::\n";

impl Victims {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("shadow");
        fs::write(&file, SECRET).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let inner = folder.path().join("etc");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, PermissionsExt::from_mode(0o750)).unwrap();
        // Deleting a folder through a link would take this file.
        let kept = inner.join("postmaster.pid");
        fs::write(&kept, SECRET).unwrap();
        let before = [file, inner, kept].map(|path| (path.clone(), state(&path))).to_vec();
        Self { folder, before }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shadow")
    }

    fn inner(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    fn missing(&self) -> PathBuf {
        self.inner().join("cron.d")
    }

    /// Targets of planted links.
    fn links(&self) -> [PathBuf; 3] {
        [self.file(), self.inner(), self.missing()]
    }

    #[track_caller]
    fn are_unharmed(&self, by: &str) {
        for (path, before) in &self.before {
            assert_eq!(&state(path), before, "{by}");
        }
        assert!(!self.missing().exists(), "{by} made a file where a dangling link led");
    }
}

/// Owner, mode and content.
fn state(path: &Path) -> String {
    let about = fs::symlink_metadata(path).map(|about| {
        format!("{}:{} {:o} {}", about.uid(), about.gid(), about.mode(), about.nlink())
    });
    format!("{about:?} {:?}", fs::read_to_string(path).unwrap_or_default())
}

/// A folder that Postgres' account can get to, so that it keeps its data in it.
fn reachable() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

async fn start(folder: &Path) -> Result<Server, Error> {
    let programs = programs();
    let started = Server::start(&programs, folder, Mode::ThrowAway);
    tokio::time::timeout(Duration::from_mins(1), started).await.expect("an end, not a hang")
}

/// Starts with what was planted, and sees that it either serves or is refused.
async fn attempt(folder: &Path, victims: &Victims, planted: &str) {
    match start(folder).await {
        Ok(server) => server.stop().await.unwrap(),
        Err(error) => {
            assert!(!error.to_string().contains("$6$"), "{planted}: it tells a secret: {error}");
        }
    }
    victims.are_unharmed(planted);
}

#[tokio::test]
async fn private_postgres_follows_no_planted_symlink() {
    let (folder, victims) = (reachable(), Victims::new());
    let pg = folder.path().join("pg");
    start(&pg).await.unwrap().stop().await.unwrap();
    let place = pg.join("server");
    let names = [
        "password",
        "server.log",
        "server.log.1",
        "socket",
        "data.unfinished",
        "data/postmaster.pid",
        "data/PG_VERSION",
        "../lock",
        "../moved-to",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let path = place.join(name);
        let aside = folder.path().join(format!("aside-{index}"));
        let there = fs::rename(&path, &aside).is_ok();
        let target = victims.links()[index % 3].clone();
        for target in [victims.file(), target] {
            symlink(&target, &path).unwrap();
            attempt(&pg, &victims, name).await;
            // By now this is our own file, or still the link.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        if there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    // A second name of another's file, where the machine lets one make it.
    fs::remove_file(place.join("server.log")).unwrap();
    if fs::hard_link(victims.file(), place.join("server.log")).is_ok() {
        let mine = fs::metadata(place.join("server.log")).unwrap().uid();
        let _ = start(&pg).await.unwrap().stop().await;
        assert_eq!(fs::read_to_string(victims.file()).unwrap(), SECRET);
        assert_eq!(fs::metadata(victims.file()).unwrap().uid(), mine);
        let _ = fs::remove_file(place.join("server.log.1"));
    }
    start(&pg).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn planted_pipe_or_device_does_not_hang_private_postgres() {
    let (folder, victims) = (reachable(), Victims::new());
    let pg = folder.path().join("pg");
    start(&pg).await.unwrap().stop().await.unwrap();
    let pid_file = pg.join("server/data/postmaster.pid");
    assert!(Command::new("mkfifo").arg(&pid_file).status().unwrap().success());
    let refused = start(&pg).await.unwrap_err();
    assert!(matches!(refused, Error::NotOurs(_)), "{refused}");
    fs::remove_file(&pid_file).unwrap();
    // It never ends.
    symlink("/dev/zero", &pid_file).unwrap();
    let refused = start(&pg).await.unwrap_err();
    assert!(matches!(refused, Error::NotOurs(_)), "{refused}");
    fs::remove_file(&pid_file).unwrap();
    attempt(&pg, &victims, "nothing").await;
}

#[tokio::test]
async fn data_folder_cannot_be_swapped_for_a_symlink() {
    let (folder, victims) = (reachable(), Victims::new());
    let pg = folder.path().join("pg");
    start(&pg).await.unwrap().stop().await.unwrap();
    for name in ["server", "server/data"] {
        let (path, aside) = (pg.join(name), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink(victims.inner(), &path).unwrap();
        let refused = start(&pg).await.unwrap_err();
        assert!(matches!(refused, Error::NotOurs(_)), "{name}: {refused}");
        victims.are_unharmed(name);
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
}

#[tokio::test]
async fn demo_writes_through_no_symlink() {
    let (folder, victims) = (TempDir::new().unwrap(), Victims::new());
    let demo = folder.path().join("demo");
    fs::create_dir_all(demo.join("postgres")).unwrap();
    symlink(victims.file(), demo.join("verdict.log")).unwrap();
    symlink(victims.missing(), demo.join("verdict.toml")).unwrap();
    symlink(victims.inner(), demo.join("images")).unwrap();
    symlink(victims.missing(), demo.join("postgres/moved-to")).unwrap();
    let path = demo.to_str().unwrap();
    let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin")];
    let (code, said, error) =
        run_verdict(&["demo", "--exit", "--folder", path], &environment).await;
    assert_eq!(code, 0, "{said}{error}");
    victims.are_unharmed("the demo");
    let elsewhere = fs::read_to_string(demo.join("postgres/moved-to")).ok();
    if let Some(place) = elsewhere.as_deref().map(str::trim) {
        fs::remove_dir_all(place).unwrap();
    }
}

#[test]
fn root_refuses_folders_writable_by_other_accounts() {
    let folder = reachable();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let refused = Folder::ours(folder.path());
    // Other users may share a folder on purpose.
    assert_eq!(refused.is_err(), am_root(), "{refused:?}");
}

/// Whose files are new ones?
fn am_root() -> bool {
    fs::metadata(tempfile::NamedTempFile::new().unwrap().path()).unwrap().uid() == 0
}
