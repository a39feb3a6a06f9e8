//! Finds out which revision is built, for `--version` and `verdict_build_info`: as the builder says
//! (`VERDICT_REVISION`), else as an archive made by git says (the file REVISION), else as git says.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Whoever changes one of these builds something else than the commit.
const SOURCES: [&str; 6] = ["src", "crates", "migrations", "config", "Cargo.toml", "Cargo.lock"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=REVISION");
    println!("cargo::rerun-if-env-changed=VERDICT_REVISION");
    let revision = given().or_else(archived).or_else(of_git);
    println!("cargo::rustc-env=VERDICT_BUILT_FROM={}", revision.as_deref().unwrap_or("unknown"));
}

fn given() -> Option<String> {
    env::var("VERDICT_REVISION").ok().filter(|text| !["", "unknown"].contains(&text.as_str()))
}

/// `git archive` puts the commit into the file.
fn archived() -> Option<String> {
    let text = fs::read_to_string("REVISION").ok()?;
    let text = text.trim();
    (!text.is_empty() && !text.starts_with('$')).then(|| text.to_owned())
}

/// A release is exactly what it says. Other builds are not made anew for each commit; a plus says that
/// they may hold later changes.
fn of_git() -> Option<String> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    // Not the revision of a repository that this folder merely lies in.
    if Path::new(&root).canonicalize().ok()? != Path::new(".").canonicalize().ok()? {
        return None;
    }
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    if env::var("PROFILE").as_deref() != Ok("release") {
        return Some(format!("{revision}+"));
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for watched in SOURCES.into_iter().chain([log.as_str()]) {
        if Path::new(watched).exists() {
            println!("cargo::rerun-if-changed={watched}");
        }
    }
    let same = git(&[&["diff", "--quiet", "HEAD", "--"][..], &SOURCES].concat()).is_some();
    Some(if same { revision } else { format!("{revision}+") })
}

/// What it prints; `None` if it fails or is not here.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
