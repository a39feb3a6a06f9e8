//! Finds out which revision is built, for `--version` and `verdict_build_info`: as the builder says
//! (`VERDICT_REVISION`), else as an archive made by git says (the file REVISION), else as git says.
//! With the feature `book` it also lists the files of the book, for the service to contain.

use std::fmt::Write;
use std::path::{Path, PathBuf};
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
    if env::var_os("CARGO_FEATURE_BOOK").is_some() {
        book();
    }
}

/// Writes a value of the type `Book` of `src/http/book.rs`. `VERDICT_BOOK` names the folder that
/// `scripts/book.sh` has filled, if it is not `target/book`.
fn book() {
    println!("cargo::rerun-if-env-changed=VERDICT_BOOK");
    let folder = env::var_os("VERDICT_BOOK").map_or_else(|| "target/book".into(), PathBuf::from);
    // Written last.
    println!("cargo::rerun-if-changed={}", folder.join("policy.txt").display());
    let (Ok(policy), Ok(root)) =
        (fs::read_to_string(folder.join("policy.txt")), folder.join("html").canonicalize())
    else {
        println!("cargo::error=the feature `book` needs the book: run scripts/book.sh first");
        return;
    };
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let mut text = format!("Book {{ policy: {policy:?}, files: &[\n");
    for file in files {
        let path = file.strip_prefix(&root).expect("below it").to_string_lossy().replace('\\', "/");
        let media_type = media_type(&file);
        let file = file.to_str().expect("a path in UTF-8");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "File {{ path: {path:?}, media_type: {media_type:?}, bytes: include_bytes!({file:?}) }},"
        );
    }
    text.push_str("] }");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("book.rs"), text).expect("OUT_DIR can be written");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the book") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
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
