//! A server that an earlier owner left on our data folder: known for sure, then stopped.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::error::Error;
use crate::folder::Folder;
use crate::layout::DATA;

/// Between two polls for a change that sends no event.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long a server may take to end after SIGINT, and again after SIGQUIT. SIGINT writes a
/// checkpoint, which takes seconds on a slow disk.
pub(crate) const GRACE: Duration = Duration::from_secs(20);

/// The process named in `postmaster.pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// Gone, or another program that got the number later.
    Nobody,
    /// A Postgres server on our folder, started by us: it has our `-D`.
    Ours,
    /// A Postgres server that another program started.
    Foreign,
}

/// Stops a server on the data of `place` that lost its owner. Call it with the folder's lock held.
pub(crate) async fn stop(place: &Folder) -> Result<(), Error> {
    const FILE: &str = "postmaster.pid";
    let folder = place.existing_subfolder(DATA)?;
    let data = folder.path();
    let Some(text) = folder.read(FILE, 4096)? else { return Ok(()) };
    let number = text.lines().next().and_then(|line| line.trim().parse().ok());
    let Some(pid) = number.and_then(Pid::from_raw) else { return Ok(()) };
    match holder(pid, data) {
        // Postgres would refuse to start if some other program of the same user had the number.
        Holder::Nobody => folder.remove(FILE),
        Holder::Foreign => {
            Err(Error::ForeignServer { pid: pid.as_raw_pid(), data: data.to_owned() })
        }
        Holder::Ours => end(pid, || holder(pid, data) != Holder::Ours).await,
    }
}

/// Whether a server runs on the data of `place`, whoever started it.
pub(crate) fn is_served(place: &Folder) -> bool {
    let Ok(folder) = place.existing_subfolder(DATA) else { return false };
    let text = folder.read("postmaster.pid", 4096).ok().flatten();
    let number = text.and_then(|text| text.lines().next()?.trim().parse().ok());
    let pid = number.and_then(Pid::from_raw);
    pid.is_some_and(|pid| holder(pid, folder.path()) != Holder::Nobody)
}

/// SIGINT (ends sessions, writes a checkpoint), then SIGQUIT (ends at once, recovers at the next
/// start). Never SIGKILL: it leaves processes and shared memory behind.
pub(crate) async fn end(pid: Pid, mut gone: impl FnMut() -> bool) -> Result<(), Error> {
    for signal in [Signal::INT, Signal::QUIT] {
        // It may be gone already; `gone` tells.
        let _ = kill_process(pid, signal);
        let ended = async {
            while !gone() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        if tokio::time::timeout(GRACE, ended).await.is_ok() {
            return Ok(());
        }
    }
    Err(Error::WouldNotStop(pid.as_raw_pid()))
}

fn holder(pid: Pid, data: &Path) -> Holder {
    if test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
        return Holder::Nobody;
    }
    judge(&arguments(pid), data)
}

fn judge(arguments: &[String], data: &Path) -> Holder {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    if !program.is_some_and(|name| name == "postgres" || name == "postmaster") {
        return Holder::Nobody;
    }
    let ours = arguments.windows(2).any(|pair| pair[0] == "-D" && Path::new(&pair[1]) == data);
    if ours { Holder::Ours } else { Holder::Foreign }
}

/// The command line of a process, empty if it is gone or a zombie.
fn arguments(pid: Pid) -> Vec<String> {
    let number = pid.as_raw_pid().to_string();
    if let Ok(line) = fs::read(format!("/proc/{number}/cmdline")) {
        let line = String::from_utf8_lossy(&line);
        return line.split_terminator('\0').map(str::to_owned).collect();
    }
    // No /proc: macOS, the BSDs. A path with blanks is not recognised, and so never touched.
    let listed = Command::new("ps").args(["-ww", "-o", "args=", "-p", &number]).output();
    let line = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_postgres_with_our_folder_is_ours() {
        let data = Path::new("/x/data");
        let judge =
            |line: &str| judge(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), data);
        assert_eq!(judge("/usr/lib/postgresql/15/bin/postgres -D /x/data -c port=1"), Holder::Ours);
        assert_eq!(judge("/usr/lib/postgresql/15/bin/postgres -D /x/data2"), Holder::Foreign);
        assert_eq!(judge("vim -D /x/data"), Holder::Nobody);
        assert_eq!(super::judge(&[], data), Holder::Nobody);
    }
}
