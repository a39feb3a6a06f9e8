//! Under which account Postgres runs: ours, or another one where we are root.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::Error;
use crate::folder::Folder;

/// The user without any rights, where the machine names none (Linux' overflow uid).
const NOBODY: Account = Account { uid: 65534, gid: 65534, switched: true };

/// The user and group that own the data and run the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// We are root and Postgres runs as someone else, because it refuses to run as root.
    pub(crate) switched: bool,
}

impl Account {
    /// Ours; as root that of the user `postgres` (its package makes it), else `nobody`.
    pub(crate) fn choose() -> Self {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            let gid = rustix::process::getegid();
            return Self { uid: uid.as_raw(), gid: gid.as_raw(), switched: false };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        named(&users, "postgres").or_else(|| named(&users, "nobody")).unwrap_or(NOBODY)
    }

    /// The owner that new files and folders get; `None`: they stay ours.
    pub(crate) fn new_owner(self) -> Option<(u32, u32)> {
        self.switched.then_some((self.uid, self.gid))
    }

    /// A folder for the account alone, made if missing. One that exists must be the account's or
    /// ours: in `/var/tmp` anybody could have put one there first.
    pub(crate) fn private_subfolder(self, of: &Folder, name: &str) -> Result<Folder, Error> {
        let folder = of.subfolder(name)?;
        let me = rustix::process::geteuid().as_raw();
        if ![self.uid, me].contains(&folder.about()?.st_uid) {
            return Err(Error::NotOurs(folder.path().to_owned()));
        }
        folder.hand_over(self.new_owner())?;
        Ok(folder)
    }

    /// Whether the account can get to `folder`. Access lists beyond the mode bits are not asked.
    pub(crate) fn reaches(self, folder: &Path) -> bool {
        !self.switched
            || folder.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|meta| self.enters(&meta)))
    }

    fn enters(self, folder: &Metadata) -> bool {
        let shift = match folder {
            own if own.uid() == self.uid => 6,
            group if group.gid() == self.gid => 3,
            _ => 0,
        };
        folder.mode() >> shift & 1 == 1
    }
}

fn named(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(|field| field.parse().ok());
    let (uid, gid) = (numbers.next()??, numbers.next()??);
    (uid != 0).then_some(Account { uid, gid, switched: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name_and_is_never_root() {
        let users = "root:x:0:0::/:/bin/sh\npostgres2:x:9:9::/:/bin/sh\n\
                     postgres:x:101:104::/var/lib/postgresql:/bin/bash\nfake:x:0:5::/:/bin/sh\n";
        let found = named(users, "postgres").expect("it is there");
        assert_eq!((found.uid, found.gid), (101, 104));
        assert_eq!(named(users, "fake"), None);
        assert_eq!(named(users, "nobody"), None);
    }
}
