//! Folders of servers whose process is gone. A killed process removes nothing, and each of these
//! folders holds tens of megabytes.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, test_kill_process};

use crate::account::Account;
use crate::folder::Folder;
use crate::layout::{LOCK, OWNER_NOTE, PLACES};
use crate::leftover;

/// A folder for a server of this process: `NAME-PID` below `parent`. First removes such folders of
/// processes that are gone; what an earlier process with our number left is removed as well.
pub fn folder_of_this_process(parent: &Path, name: &str) -> PathBuf {
    let own = std::process::id();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let number = file_name.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('-'));
        let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) else { continue };
        if number == own || !lives(number) {
            remove_unlocked(&entry.path());
        }
    }
    parent.join(format!("{name}-{own}"))
}

/// Whether a process has this number. Where that is unknown, the answer is yes.
fn lives(number: u32) -> bool {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Removes a folder that no process has locked. Of several processes that try at once, one holds the
/// lock, and the others leave the folder alone.
fn remove_unlocked(folder: &Path) {
    let lock = File::open(folder.join(LOCK));
    if lock.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) {
        return;
    }
    let served =
        Folder::open(&folder.join("server")).is_ok_and(|place| leftover::is_served(&place));
    if !served {
        let _ = fs::remove_dir_all(folder);
    }
}

/// As root: removes places outside the callers' folders ([`crate::home`]) whose caller's folder is
/// gone. Postgres' account may have planted anything there, so the account itself removes them.
pub(crate) fn remove_orphaned_places(parent: &Path, account: Account) {
    let Ok(folder) = Folder::open(parent) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PLACES)) else { continue };
        let Ok(place) = folder.existing_subfolder(name) else { continue };
        let Ok(Some(owner)) = place.read(OWNER_NOTE, 4096) else { continue };
        let owner = Path::new(owner.trim_end_matches('\n'));
        if owner.is_absolute() && !owner.join(LOCK).exists() && !leftover::is_served(&place) {
            let mut command = Command::new("/bin/rm");
            command.arg("-rf").arg("--").arg(entry.path()).env_clear().current_dir("/");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = command.uid(account.uid).gid(account.gid).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a killed process leaves it.
    fn left(parent: &Path, name: &str) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir_all(folder.join("server/data")).expect("a folder");
        fs::write(folder.join(LOCK), "").expect("a file");
        folder
    }

    /// The number of a process that is gone.
    fn dead() -> u32 {
        let mut child = Command::new("/bin/true").spawn().expect("a process");
        let number = child.id();
        child.wait().expect("its end");
        number
    }

    #[test]
    fn folders_of_dead_processes_are_removed_and_no_others() {
        let parent = tempfile::tempdir().expect("a folder");
        let parent = parent.path();
        let (own, dead) = (std::process::id(), dead());
        let removed = [left(parent, &format!("pg-{dead}")), left(parent, &format!("pg-{own}"))];
        let mut sleeping = Command::new("/bin/sleep").arg("60").spawn().expect("a process");
        let kept = [
            left(parent, &format!("pg-{}", sleeping.id())),
            left(parent, &format!("other-{dead}")),
            left(parent, "pg-notes"),
            left(parent, "pg-"),
        ];
        assert_eq!(folder_of_this_process(parent, "pg"), parent.join(format!("pg-{own}")));
        assert!(removed.iter().all(|folder| !folder.exists()));
        assert!(kept.iter().all(|folder| folder.join("server/data").exists()));
        sleeping.kill().and_then(|()| sleeping.wait()).expect("its end");
    }

    #[test]
    fn a_folder_that_somebody_has_locked_stays() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = left(parent.path(), &format!("pg-{}", dead()));
        let lock = File::open(folder.join(LOCK)).expect("the lock");
        lock.try_lock().expect("nobody has it");
        folder_of_this_process(parent.path(), "pg");
        assert!(folder.exists());
        drop(lock);
        // A child process that another test starts meanwhile inherits the lock, and keeps it until
        // it runs its program.
        let is_removed = (0..1000).any(|_| {
            folder_of_this_process(parent.path(), "pg");
            std::thread::sleep(std::time::Duration::from_millis(1));
            !folder.exists()
        });
        assert!(is_removed);
    }

    #[test]
    fn several_processes_may_remove_at_once() {
        let parent = tempfile::tempdir().expect("a folder");
        let number = dead();
        for _ in 0..20 {
            let folder = left(parent.path(), &format!("pg-{number}"));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| folder_of_this_process(parent.path(), "pg"));
                }
            });
            assert!(!folder.exists());
        }
    }
}
