//! A locked folder in which a server lives.
//!
//! The caller's folder holds the lock and, where Postgres can get there, everything else
//! ([`crate::layout`]). As root with a folder that only root can enter (below root's home, say), the
//! rest lives in `/var/tmp` instead, under a name derived from the caller's path; `moved-to` names it,
//! and its own `belongs-to` names the caller's folder. When that one is gone, the next start removes
//! the place.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::abandoned;
use crate::account::Account;
use crate::error::{Error, io as failed};
use crate::folder::{Folder, hand_over};
use crate::layout::{DATA, LOCK, LOG, OWNER_NOTE, PASSWORD, PLACES, SOCKET};

/// Longest path of a socket, less `/.s.PGSQL.65535`: `sun_path` holds 104 bytes on macOS, 108 on
/// Linux, the closing zero included.
const SOCKET_FOLDER_MAX: usize = 103 - 15;

/// A locked folder, ready for a server.
#[derive(Debug)]
pub(crate) struct Home {
    /// Held as long as the server is ours. Closed on exec, so that no child keeps it.
    lock: Option<File>,
    pub(crate) account: Account,
    place: Folder,
}

impl Home {
    /// Locks `folder` and makes what is missing in it.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let folder = Folder::ours(folder)?;
        let lock = lock(&folder)?;
        let account = Account::choose();
        let place = if account.reaches(folder.path()) {
            account.private_subfolder(&folder, "server")?
        } else {
            let (parent, name) = elsewhere(folder.path());
            abandoned::remove_orphaned_places(parent, account);
            let place = account.private_subfolder(&Folder::open(parent)?, &name)?;
            let mut owner = place.new_file(OWNER_NOTE, 0o644)?;
            writeln!(owner, "{}", folder.path().display())
                .map_err(failed("write", place.path()))?;
            let mut note = folder.new_file("moved-to", 0o644)?;
            writeln!(note, "{}", place.path().display()).map_err(failed("write", folder.path()))?;
            place
        };
        let home = Self { lock: Some(lock), account, place };
        home.account.private_subfolder(&home.place, SOCKET)?;
        Ok(home)
    }

    /// Leaves the folder to the next owner.
    pub(crate) fn unlock(&mut self) {
        drop(self.lock.take());
    }

    /// Where everything but the lock is. Postgres' account may plant anything in it.
    pub(crate) fn place(&self) -> &Folder {
        &self.place
    }

    /// For Postgres, which runs under its own account; we read through [`Self::place`].
    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join(DATA)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.place.path().join(LOG)
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.place.path().join(PASSWORD)
    }

    /// The beginning of the current server's log.
    pub(crate) fn read_log(&self) -> String {
        self.place.read(LOG, 1 << 20).ok().flatten().unwrap_or_default()
    }

    /// The state file that a running server keeps.
    pub(crate) fn postmaster_pid(&self) -> Option<String> {
        self.place.existing_subfolder(DATA).ok()?.read("postmaster.pid", 4096).ok()?
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join(SOCKET)
    }

    /// The socket's folder, unless its path is too long for a socket.
    pub(crate) fn socket_folder(&self) -> Option<PathBuf> {
        Some(self.socket()).filter(|path| path.as_os_str().len() <= SOCKET_FOLDER_MAX)
    }

    /// The password: 32 random bytes in hex, made once and kept with the data.
    pub(crate) fn password(&self) -> Result<SecretString, Error> {
        if let Some(kept) = self.place.read(PASSWORD, 4096)?
            && !kept.trim().is_empty()
        {
            return Ok(kept.trim().into());
        }
        let path = self.password_file();
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| failed("draw random bytes for", &path)(io::Error::other("no entropy")))?;
        let password = hex::encode(bytes);
        let mut file = self.new_file(PASSWORD)?;
        writeln!(file, "{password}").map_err(failed("write", &path))?;
        Ok(password.into())
    }

    /// A fresh log; the one of the run before stays beside it.
    pub(crate) fn new_log(&self) -> Result<File, Error> {
        if self.place.has(LOG) {
            self.place.rename(LOG, "server.log.1")?;
        }
        self.new_file(LOG)
    }

    fn new_file(&self, name: &str) -> Result<File, Error> {
        let file = self.place.new_file(name, 0o600)?;
        hand_over(&file, &self.place.path().join(name), 0o600, self.account.new_owner())?;
        Ok(file)
    }
}

fn lock(folder: &Folder) -> Result<File, Error> {
    let file = folder.file_to_lock(LOCK)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(folder.path().to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", folder.path())(error)),
    }
}

/// A place anybody can get to, which outlives a restart of the machine, the same for every run.
fn elsewhere(folder: &Path) -> (&'static Path, String) {
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let name = format!("{PLACES}{}", hex::encode(&digest[..8]));
    let lasting = Path::new("/var/tmp");
    (if lasting.is_dir() { lasting } else { Path::new("/tmp") }, name)
}
