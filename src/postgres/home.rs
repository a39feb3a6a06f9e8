//! The folder a server lives in: lock, data, socket, password and log.
//!
//! The caller's folder holds `lock` and, where Postgres can get there, everything else in
//! `server/`. As root with a folder that only root can enter (below root's home, say), the rest lives
//! in `/var/tmp` instead, under a name derived from the caller's path, and `moved-to` says so.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::{Error, io as failed};

/// Longest path of a socket, less `/.s.PGSQL.65535`: `sun_path` holds 104 bytes on macOS, 108 on
/// Linux, the closing zero included.
const SOCKET_FOLDER_MAX: usize = 103 - 15;

/// A locked folder, ready for a server.
#[derive(Debug)]
pub(super) struct Home {
    /// Held as long as the server is ours. Closed on exec, so that no child keeps it.
    lock: Option<File>,
    pub(super) account: Account,
    place: PathBuf,
}

impl Home {
    /// Locks `folder` and makes what is missing in it.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        let folder = folder.canonicalize().map_err(failed("find", folder))?;
        let lock = lock(&folder)?;
        let account = Account::choose();
        let place = if account.reaches(&folder) {
            folder.join("server")
        } else {
            let place = elsewhere(&folder);
            let note = folder.join("moved-to");
            fs::write(&note, format!("{}\n", place.display())).map_err(failed("write", &note))?;
            place
        };
        let home = Self { lock: Some(lock), account, place };
        home.private_folder(&home.place)?;
        home.private_folder(&home.socket())?;
        Ok(home)
    }

    /// Leaves the folder to the next owner.
    pub(super) fn unlock(&mut self) {
        drop(self.lock.take());
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn data(&self) -> PathBuf {
        self.place.join("data")
    }

    /// Where `initdb` works until it is done.
    pub(super) fn unfinished_data(&self) -> PathBuf {
        self.place.join("data.unfinished")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.place.join("server.log")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.place.join("password")
    }

    fn socket(&self) -> PathBuf {
        self.place.join("socket")
    }

    /// The socket's folder, unless its path is too long for a socket.
    pub(super) fn socket_folder(&self) -> Option<PathBuf> {
        Some(self.socket()).filter(|path| path.as_os_str().len() <= SOCKET_FOLDER_MAX)
    }

    /// The password: 32 random bytes in hex, made once and kept with the data.
    pub(super) fn password(&self) -> Result<SecretString, Error> {
        let path = self.password_file();
        match fs::read_to_string(&path) {
            Ok(kept) if !kept.trim().is_empty() => return Ok(kept.trim().into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &path)(error)),
        }
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| failed("draw random bytes for", &path)(io::Error::other("no entropy")))?;
        let password = hex::encode(bytes);
        self.new_file(&path, &format!("{password}\n"))?;
        Ok(password.into())
    }

    /// A fresh log; the one of the run before stays beside it.
    pub(super) fn new_log(&self) -> Result<File, Error> {
        let path = self.log();
        if path.exists() {
            let older = path.with_extension("log.1");
            fs::rename(&path, &older).map_err(failed("rename", &path))?;
        }
        self.new_file(&path, "")
    }

    fn new_file(&self, path: &Path, text: &str) -> Result<File, Error> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(failed("write", path))?;
        file.write_all(text.as_bytes()).map_err(failed("write", path))?;
        self.account.own(path, 0o600)?;
        Ok(file)
    }

    /// Makes a folder for the account alone. One that exists must be the account's or ours: in
    /// `/var/tmp` anybody could have put one there first.
    fn private_folder(&self, path: &Path) -> Result<(), Error> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(path).map_err(failed("look at", path))?;
                let me = rustix::process::geteuid().as_raw();
                if !found.is_dir() || ![self.account.uid, me].contains(&found.uid()) {
                    return Err(Error::NotOurs(path.to_owned()));
                }
            }
            Err(error) => return Err(failed("make", path)(error)),
        }
        self.account.own(path, 0o700)
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// A place anybody can get to, which outlives a restart of the machine, the same for every run.
fn elsewhere(folder: &Path) -> PathBuf {
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let name = format!("verdict-postgres-{}", hex::encode(&digest[..8]));
    let lasting = Path::new("/var/tmp");
    if lasting.is_dir() { lasting.join(name) } else { Path::new("/tmp").join(name) }
}
