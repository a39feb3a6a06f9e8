//! A folder held by its handle, in which another account may plant links, pipes and files.
//!
//! As root we work in a folder that belongs to the account Postgres runs under. An
//! attacker who holds that account can put a link to any file in the place of ours between two of
//! our steps. So every name
//! is opened relative to the handle, never followed if it is a link, created only where nothing is
//! there, and given away by handle: what was checked is what is used.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fchmod, fchown, fstat, fsync, mkdirat, openat, renameat,
    statat, unlinkat,
};
use rustix::process::{Gid, Uid};

use crate::error::{Error, io as failed};

/// An open folder. Its path is for messages, and for programs that run under another account.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

impl Folder {
    /// The folder that the caller names, made if missing. As root it must be root's, and nobody
    /// else may write to it.
    pub fn ours(path: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("make", path))?;
        let path = path.canonicalize().map_err(failed("find", path))?;
        let folder = Self::open(&path)?;
        let me = rustix::process::geteuid();
        if me.is_root() {
            let found = folder.about()?;
            let others_write =
                Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH);
            if found.st_uid != me.as_raw() || others_write {
                return Err(Error::NotOurs(path));
            }
        }
        Ok(folder)
    }

    /// One that exists, by a path that nobody else can change.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let handle = openat(rustix::fs::CWD, path, FOLDER, Mode::empty());
        Ok(Self { handle: handle.map_err(io_error("open", path))?, path: path.to_owned() })
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made for us alone if missing. A link in its place is refused.
    pub fn subfolder(&self, name: &str) -> Result<Self, Error> {
        let path = self.path.join(name);
        match mkdirat(&self.handle, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.existing_subfolder(name),
            Err(error) => Err(io_error("make", &path)(error)),
        }
    }

    /// A folder in it that must be there.
    pub(crate) fn existing_subfolder(&self, name: &str) -> Result<Self, Error> {
        let path = self.path.join(name);
        match openat(&self.handle, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => Ok(Self { handle, path }),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => Err(Error::NotOurs(path)),
            Err(error) => Err(io_error("open", &path)(error)),
        }
    }

    /// A new file in the place of whatever has that name; a folder of that name is an error.
    pub fn new_file(&self, name: &str, mode: u32) -> Result<File, Error> {
        let path = self.path.join(name);
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io_error("remove", &path)(error)),
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(
            &self.handle,
            name,
            flags | OFlags::WRONLY | OFlags::APPEND,
            Mode::from_raw_mode(mode),
        )
        .map(File::from)
        .map_err(io_error("write", &path))
    }

    /// The file of that name, made if missing, and left as it is: to be locked.
    pub(crate) fn file_to_lock(&self, name: &str) -> Result<File, Error> {
        let path = self.path.join(name);
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(handle) => plain(handle, &path).map(File::from),
            // A pipe that nobody reads cannot be opened for writing.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => Err(Error::NotOurs(path)),
            Err(error) => Err(io_error("open", &path)(error)),
        }
    }

    /// The beginning of a plain file, at most `limit` bytes; `None`: there is no such name. Links,
    /// pipes and devices are refused: one would be followed, the others might never end.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<String>, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => plain(handle, &path)?,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                return Err(Error::NotOurs(path));
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let mut bytes = Vec::new();
        let read = File::from(handle).take(limit).read_to_end(&mut bytes);
        read.map_err(failed("read", &path))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Something has that name, a dangling link included.
    pub(crate) fn has(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let renamed = renameat(&self.handle, from, &self.handle, to);
        renamed.map_err(io_error("rename", &self.path.join(from)))
    }

    /// Removes a name that is no folder, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(io_error("remove", &self.path.join(name))(error)),
        }
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        fsync(&self.handle).map_err(io_error("sync", &self.path))
    }

    pub(crate) fn about(&self) -> Result<Stat, Error> {
        fstat(&self.handle).map_err(io_error("look at", &self.path))
    }

    /// Gives it to an account, or leaves the owner as it is, for nobody else to enter.
    pub(crate) fn hand_over(&self, owner: Option<(u32, u32)>) -> Result<(), Error> {
        hand_over(&self.handle, &self.path, 0o700, owner)
    }
}

/// Sets mode and owner of what is open, whatever its name leads to by now.
pub(crate) fn hand_over(
    handle: impl AsFd,
    path: &Path,
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let handle = handle.as_fd();
    fchmod(handle, Mode::from_raw_mode(mode)).map_err(io_error("protect", path))?;
    let Some((uid, gid)) = owner else { return Ok(()) };
    fchown(handle, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(io_error("hand over", path))
}

/// A plain file with no other name: a second name would be another file's.
fn plain(handle: OwnedFd, path: &Path) -> Result<OwnedFd, Error> {
    let found = fstat(&handle).map_err(io_error("look at", path))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_nlink > 1 {
        return Err(Error::NotOurs(path.to_owned()));
    }
    Ok(handle)
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Error {
    let failed = failed(what, path);
    move |error| failed(io::Error::from(error))
}
