//! Another account, a crash or a swapped-out page: what each can get of a process's keys.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use verdict::app::Role;

use crate::harness::{Options, Setting, callback, eventually, now};

/// No bytes of it come up by chance, and none of its text.
const KEY: [u8; 32] = *b"\xf1\x0e a key of nobody's vault \xe3\x1d\x9a\x07\x88";

/// One stretch of a process's memory that it writes to.
struct Part {
    from: u64,
    to: u64,
    is_locked: bool,
}

fn parts_of(pid: u32) -> Vec<Part> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut parts: Vec<Part> = Vec::new();
    let mut is_kept = false;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-')
            && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
        {
            is_kept = line.split_whitespace().nth(1).is_some_and(|may| may.starts_with("rw"));
            if is_kept {
                parts.push(Part { from, to, is_locked: false });
            }
        } else if let (true, Some(flags), Some(part)) =
            (is_kept, line.strip_prefix("VmFlags:"), parts.last_mut())
        {
            part.is_locked = flags.split_whitespace().any(|flag| flag == "lo");
        } else if is_kept && line.starts_with("Rss:") && line.contains(" 0 kB") {
            // Nothing of it was ever written.
            parts.pop();
            is_kept = false;
        }
    }
    parts
}

/// How often these bytes are in the process's memory: where it is locked, and elsewhere.
fn found(pid: u32, bytes: &[u8]) -> io::Result<(usize, usize)> {
    const STEP: usize = 1 << 20;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let (mut locked, mut elsewhere) = (0, 0);
    for part in parts_of(pid) {
        let mut buffer = vec![0; STEP + bytes.len() - 1];
        for from in (part.from..part.to).step_by(STEP) {
            let most = usize::try_from(part.to - from).unwrap_or(usize::MAX).min(buffer.len());
            // It may have been given back meanwhile.
            let Ok(read) = memory.read_at(&mut buffer[..most], from) else { continue };
            let count = memmem::find_iter(&buffer[..read], bytes).count();
            if part.is_locked { locked += count } else { elsewhere += count }
        }
    }
    Ok((locked, elsewhere))
}

/// Only the superuser can look at all: the process lets nobody else read its memory.
#[tokio::test]
async fn key_of_a_file_is_nowhere_but_in_locked_memory() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("key");
    let text = STANDARD.encode(KEY);
    std::fs::write(&file, format!("{text}\n")).unwrap();
    let more = format!("[[vault.keys]]\nid = \"file\"\nsecret_file = {file:?}\n");
    let options = Options { more, vault_keys: &[], fixed_clock: false, ..Options::default() };
    let mut setting = Setting::new(options).await;
    let process = setting.serve().await;
    // The key wraps a data key, and the configuration is read again.
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    setting.options.more +=
        "[sources.other]\nsecrets = [\"whsec_dGhlIHNlY3JldCBvZiBhbm90aGVyIHNvdXJjZSwgb3Vycw==\"]\n";
    setting.config_file();
    eventually("the configuration is read again", || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        metrics.contains("verdict_config_reloads_total{outcome=\"applied\"}").then_some(())
    })
    .await;
    let pid = process.child.id().expect("a pid");
    match found(pid, &KEY) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}"),
        Ok(_) => {
            // A cipher may be at work with it at the moment, and wipes it when it is done.
            eventually("the key is in locked memory alone", || async {
                let (locked, elsewhere) = found(pid, &KEY).unwrap();
                assert!(locked > 0, "the search finds nothing");
                (elsewhere == 0 && found(pid, text.as_bytes()).unwrap() == (0, 0)).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn crash_writes_no_core_file_and_keys_are_in_locked_memory() {
    let folder = tempfile::TempDir::new().unwrap();
    let script = folder.path().join("verdict");
    let binary = env!("CARGO_BIN_EXE_verdict");
    // As generous as a shell may be.
    let text = format!(
        "#!/bin/sh\ncd '{}'\nulimit -c unlimited 2>/dev/null\nexec '{binary}' \"$@\"\n",
        folder.path().display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let mut setting = Setting::new(Options { role: Role::Api, ..Options::default() }).await;
    setting.binary = script;
    let mut process = setting.serve().await;
    let pid = process.child.id().expect("a pid");
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let limits = read("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
    let status = read("status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    assert_ne!(locked.split_whitespace().next(), Some("0"), "keys are in locked memory");
    process.signal("ABRT").await;
    let ended = process.child.wait().await.unwrap();
    // Nor was one handed to a program that collects them.
    assert!(ended.signal().is_some() && !ended.core_dumped(), "{ended:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
