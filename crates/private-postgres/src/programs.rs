//! Where Postgres' programs are on this machine, and which version they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// The oldest major version still maintained (PostgreSQL's versioning policy, until November 2027).
const OLDEST: u32 = 15;

/// Folders of versioned installations: what comes before and after the part that varies.
/// Debian and Ubuntu; PGDG's RPMs; Homebrew on ARM, on Intel; Postgres.app.
const USUAL: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// One installation's `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub struct Programs {
    bin: PathBuf,
    major: u32,
}

impl Programs {
    /// Looks in `pg_bin` alone if given (the user's `PG_BIN`), else asks `pg_config`, then `PATH`,
    /// then the usual folders, newest first.
    pub fn find(pg_bin: Option<&Path>) -> Result<Self, Error> {
        Self::find_where(pg_bin, Ok)
    }

    /// As [`Programs::find`], and of this major version: a test that is meant for one version must
    /// not pass on another.
    pub fn find_major(pg_bin: Option<&Path>, wanted: u32) -> Result<Self, Error> {
        Self::find_where(pg_bin, |programs| match programs {
            Self { major, .. } if major == wanted => Ok(programs),
            Self { bin, major } => Err(Error::NotThatMajor { bin, major, wanted }),
        })
    }

    fn find_where(
        pg_bin: Option<&Path>,
        suits: impl Fn(Self) -> Result<Self, Error>,
    ) -> Result<Self, Error> {
        if let Some(named) = pg_bin {
            let bin = bin_of(named).ok_or_else(|| Error::NotABinFolder(named.to_owned()))?;
            return Self::in_folder(bin).and_then(suits);
        }
        let mut refused = None;
        for bin in candidates().iter().filter_map(|folder| bin_of(folder)) {
            match Self::in_folder(bin).and_then(&suits) {
                Ok(programs) => return Ok(programs),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or(Error::ProgramsMissing))
    }

    fn in_folder(bin: PathBuf) -> Result<Self, Error> {
        let postgres = bin.join("postgres");
        let text = said(Command::new(&postgres).arg("--version"));
        match text.as_deref().and_then(major_in) {
            None => Err(Error::NoVersion(postgres)),
            Some(major) if major < OLDEST => Err(Error::TooOld { bin, major, oldest: OLDEST }),
            Some(major) => Ok(Self { bin, major }),
        }
    }

    /// The major version, such as 17.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The folder that holds them, links resolved.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    #[cfg(test)]
    pub(crate) fn pretending_to_be(&self, major: u32) -> Self {
        Self { bin: self.bin.clone(), major }
    }
}

/// Every folder worth a look, best first.
fn candidates() -> Vec<PathBuf> {
    let configured = said(Command::new("pg_config").arg("--bindir"));
    // The shell looks along PATH for us: this layer reads no environment.
    let on_path = said(Command::new("/bin/sh").args(["-c", "command -v initdb"]))
        .and_then(|initdb| Path::new(&initdb).parent().map(Path::to_owned));
    let mut all: Vec<PathBuf> = configured.map(PathBuf::from).into_iter().chain(on_path).collect();
    for (parent, prefix, below) in USUAL {
        all.extend(versions_in(Path::new(parent), prefix).into_iter().map(|dir| dir.join(below)));
    }
    all
}

/// Folders in `parent` whose names start with `prefix`, the highest version first.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            Some((leading_number(version).unwrap_or(0), entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The real folder behind `folder`'s `initdb`, if `postgres` is there too.
fn bin_of(folder: &Path) -> Option<PathBuf> {
    let initdb = folder.join("initdb").canonicalize().ok()?;
    let bin = initdb.parent()?;
    (initdb.is_file() && bin.join("postgres").is_file()).then(|| bin.to_owned())
}

/// The trimmed output of a program; empty if it is missing or fails.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// `postgres (PostgreSQL) 17.2 (Debian …)` is 17.
fn major_in(version: &str) -> Option<u32> {
    leading_number(version.split_once(") ")?.1)
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(major_in("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major_in("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_in("postgres (PostgreSQL) 17.6 (Homebrew)"), Some(17));
        assert_eq!(major_in("something else"), None);
    }

    #[test]
    fn a_folder_named_by_the_user_is_not_silently_replaced() {
        let error = Programs::find(Some(Path::new("/nowhere/bin"))).expect_err("no such folder");
        assert!(error.to_string().contains("/nowhere/bin"));
    }
}
