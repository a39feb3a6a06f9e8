//! What `/proc` says: the machine, CPU seconds and memory of processes. Linux only; elsewhere zero.

use std::fs;

/// Clock ticks per second in `/proc`: a constant of the Linux ABI (`USER_HZ`).
const TICKS: f64 = 100.0;

/// One line about this machine.
pub fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(": ")))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

/// CPU seconds of one process, its threads together.
pub fn cpu_of(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |stat| stat.own)
}

/// CPU seconds of a process, of its children now and of those it had.
pub fn cpu_of_family(pid: u32) -> f64 {
    let parent = stat(pid).map_or(0.0, |stat| stat.own + stat.ended_children);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    parent + pids.filter_map(stat).filter(|s| s.parent == pid).map(|s| s.own).sum::<f64>()
}

/// `VmHWM`, in MiB.
pub fn peak_rss(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
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
