//! What `/proc` reports: the machine, CPU seconds and memory of processes. Linux only; elsewhere zero.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Clock ticks per second in `/proc`: a constant of the Linux ABI (`USER_HZ`).
const TICKS: f64 = 100.0;

/// One line about this machine.
pub fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(": ")))
        .map_or("unknown CPU", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores, {model}, Linux {}", cores(), kernel.trim())
}

/// How many cores the processes can use.
pub fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64
}

/// What `pg_test_fsync` reports for `fdatasync`, the method that Postgres uses on Linux, on the disk
/// of `folder`.
pub async fn fsync_speed(bin: &Path, folder: &Path) -> anyhow::Result<String> {
    let Ok(mut child) = Command::new(bin.join("pg_test_fsync"))
        .args(["--secs-per-test", "1", "--filename"])
        .arg(folder.join("pg_test_fsync"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
    else {
        return Ok("pg_test_fsync is not installed".to_owned());
    };
    let Some(stdout) = child.stdout.take() else { anyhow::bail!("pg_test_fsync has no output") };
    let mut lines = BufReader::new(stdout).lines();
    let mut found = "pg_test_fsync reports no fdatasync".to_owned();
    while let Some(line) = lines.next_line().await? {
        let mut words = line.split_whitespace();
        if words.next() == Some("fdatasync") {
            found = format!(
                "pg_test_fsync, one 8 kB write: fdatasync {}",
                words.collect::<Vec<_>>().join(" ")
            );
            break;
        }
    }
    // The other methods would take another twenty seconds.
    child.start_kill()?;
    child.wait().await?;
    Ok(found)
}

/// CPU seconds of one process, its threads together.
pub fn cpu_of(pid: u32) -> f64 {
    let ticks = stat(pid).map_or(0.0, |stat| stat.own);
    // Exact, but without the threads that have ended.
    ticks.max(scheduled(pid))
}

/// CPU seconds of a process, of its children now and of those that have ended.
pub fn cpu_of_family(pid: u32) -> f64 {
    loop {
        let ended = cpu_of_ended_children(pid);
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = pids.filter(|child| stat(*child).is_some_and(|stat| stat.parent == pid));
        let sum = cpu_of(pid) + ended + children.map(cpu_of).sum::<f64>();
        // A child that ended meanwhile may be in neither count.
        if cpu_of_ended_children(pid).total_cmp(&ended).is_eq() {
            return sum;
        }
    }
}

/// CPU seconds of the children that have ended and were waited for.
pub fn cpu_of_ended_children(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |stat| stat.ended_children)
}

/// CPU seconds that the whole machine has been busy.
pub fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user.
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().sum::<f64>() - idle) / TICKS
}

/// `VmHWM`, in MiB.
pub fn peak_rss(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Takes as many descriptors as the hard limit allows; how many that are.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    let allowed = if setrlimit(Resource::Nofile, limit).is_ok() { limit.maximum } else { before };
    allowed.unwrap_or(u64::MAX)
}

struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

/// proc(5): after the name in parentheses come state, ppid, …; utime is field 14.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |field: usize| fields.get(field - 3)?.parse::<f64>().ok().map(|t| t / TICKS);
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: seconds(14)? + seconds(15)?,
        ended_children: seconds(16)? + seconds(17)?,
    })
}

/// Nanoseconds on a core by the scheduler's count, of all threads that live, as seconds: Postgres
/// has a process per connection, and a tick for each would be more than what is to be seen.
fn scheduled(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
