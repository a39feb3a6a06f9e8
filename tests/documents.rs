//! The documents are true in what a machine can check: links lead somewhere, and the files and tests
//! that they name exist. Reads them as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

#[path = "documents/generated_pages.rs"]
mod generated_pages;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this extension, relative to the root. Skips build output, hidden folders and what
/// package managers install.
fn files(extension: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if path.is_dir() {
                collect(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), extension, &mut found);
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Those that say how the service works, by files and tests.
fn design_documents() -> Vec<PathBuf> {
    let is_one = |page: &PathBuf| {
        let name = shown(page);
        ["ARCHITECTURE.md", "SECURITY.md", "docs/numbers.md"].contains(&name.as_str())
            || name.starts_with("docs/decisions/")
    };
    files("md").into_iter().filter(is_one).collect()
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines
        .filter(|(_, line)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fence && !fenced
        })
        .collect()
}

/// The texts between backquotes, and the rest of the line.
fn split_code(line: &str) -> (Vec<&str>, String) {
    let mut code = Vec::new();
    let mut rest = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 0 { rest.push_str(part) } else { code.push(part) }
    }
    (code, rest)
}

/// Targets of `[text](target)`.
fn links(line: &str) -> Vec<String> {
    let (_, text) = split_code(line);
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()))
        .collect()
}

/// The anchors of a page, as GitHub makes them from its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let times = seen.entry(anchor.clone()).or_insert(0);
        found.insert(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
        *times += 1;
    }
    found
}

/// Why a link of this page leads nowhere.
fn broken(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file =
        if file.is_empty() { page.to_owned() } else { page.parent().expect("a folder").join(file) };
    if !file.exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let known = anchors(&fs::read_to_string(&file).expect("a page"));
    (!known.contains(anchor)).then(|| "there is no such heading".to_owned())
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = String::new();
    let mut count = 0;
    for page in files("md") {
        let text = fs::read_to_string(&page).expect("a page");
        for (number, line) in prose(&text) {
            for target in links(line) {
                count += 1;
                if let Some(why) = broken(&page, &target) {
                    let _ = writeln!(wrong, "{}:{number}: ({target}): {why}", shown(&page));
                }
            }
        }
    }
    assert!(count > 50, "only {count} links: are they still written like this?");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{wrong}");
}

/// `worker/mod.rs`, `tests/openapi.rs`, `store/sql/claim.sql`: a file with a folder before it.
fn is_source_path(code: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    let extension = Path::new(code).extension().and_then(|extension| extension.to_str());
    code.contains('/')
        && !code.starts_with('/')
        && code.chars().all(allowed)
        && matches!(extension, Some("rs" | "sql" | "sh" | "toml" | "yml" | "yaml" | "json"))
}

/// Below the root, `src`, or the sources of a crate.
fn exists(code: &str, sources: &[PathBuf]) -> bool {
    sources.iter().any(|folder| folder.join(code).exists())
}

/// Where the files are that documents name without their beginning.
fn source_folders() -> Vec<PathBuf> {
    let mut folders = vec![root().to_owned(), root().join("src"), root().join("tests")];
    for each in fs::read_dir(root().join("crates")).into_iter().flatten().flatten() {
        folders.push(each.path().join("src"));
    }
    folders.push(root().join("crates"));
    folders
}

#[test]
fn the_design_documents_name_only_files_that_exist() {
    let sources = source_folders();
    let mut wrong = String::new();
    let mut count = 0;
    for page in design_documents() {
        let text = fs::read_to_string(&page).expect("a page");
        for (number, line) in prose(&text) {
            for code in split_code(line).0 {
                let path = code.split("::").next().unwrap_or(code);
                if is_source_path(path) {
                    count += 1;
                    if !exists(path, &sources) {
                        let _ = writeln!(wrong, "{name}:{number}: `{path}`", name = shown(&page));
                    }
                }
            }
        }
    }
    assert!(count > 50, "only {count} files: are they still written like this?");
    assert!(wrong.is_empty(), "files that do not exist:\n{wrong}");
}

/// A function's name of at least five words, as tests have: `…`, module and call are taken off.
fn test_name(code: &str) -> Option<&str> {
    let name = code.rsplit("::").next().unwrap_or(code).trim_start_matches('…');
    let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_word && name.matches('_').count() >= 4 && !name.starts_with("verdict_")).then_some(name)
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut functions = BTreeSet::new();
    for source in files("rs") {
        let text = fs::read_to_string(&source).expect("a source");
        for (at, _) in text.match_indices("fn ") {
            let name = text[at + 3..].split(['(', '<']).next().unwrap_or_default();
            functions.insert(name.to_owned());
        }
    }
    let mut wrong = String::new();
    let mut count = 0;
    for page in design_documents() {
        let text = fs::read_to_string(&page).expect("a page");
        for (number, line) in prose(&text) {
            for name in split_code(line).0.into_iter().filter_map(test_name) {
                count += 1;
                if !functions.contains(name) {
                    let _ = writeln!(wrong, "{}:{number}: `{name}`", shown(&page));
                }
            }
        }
    }
    assert!(count > 50, "only {count} tests: are they still written like this?");
    assert!(wrong.is_empty(), "tests that do not exist:\n{wrong}");
}

/// The names that `cargo test --test` takes: a file or a folder with a `main.rs`.
fn test_targets() -> BTreeSet<String> {
    let mut folders = vec![root().join("tests")];
    for each in fs::read_dir(root().join("crates")).expect("the crates").flatten() {
        folders.push(each.path().join("tests"));
    }
    let entries = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let targets = paths.filter(|path| {
        path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists()
    });
    targets.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

/// The names or paths that follow `before` in the line.
fn names_after<'a>(line: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
    line.match_indices(before).map(move |(at, _)| {
        let rest = &line[at + before.len()..];
        rest.split(|c| !is_name(c)).next().unwrap_or(rest).trim_end_matches('.')
    })
}

#[test]
fn commands_name_test_targets_and_scripts_that_exist() {
    let targets = test_targets();
    let mut wrong = String::new();
    let mut count = 0;
    for page in ["md", "sh", "py", "yml"].into_iter().flat_map(files) {
        let text = fs::read_to_string(&page).expect("a text");
        for (index, line) in text.lines().enumerate() {
            let tests = names_after(line, "cargo test").flat_map(|_| names_after(line, "--test "));
            let unknown = tests.filter(|name| !name.is_empty() && !targets.contains(*name));
            let scripts = names_after(line, "scripts/").filter(|name| {
                Path::new(name).extension().is_some_and(|found| found == "sh" || found == "py")
            });
            let missing = scripts.filter(|name| !root().join("scripts").join(name).exists());
            count += line.matches("--test ").count() + line.matches("scripts/").count();
            for name in unknown.chain(missing) {
                let _ = writeln!(wrong, "{}:{}: {name}", shown(&page), index + 1);
            }
        }
    }
    assert!(count > 50, "only {count} commands: are they still written like this?");
    assert!(wrong.is_empty(), "commands whose target or script does not exist:\n{wrong}");
}

#[test]
fn the_architecture_lists_every_decision_in_three_parts() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("a page");
    let mut wrong = String::new();
    let pages = files("md").into_iter().filter(|page| shown(page).starts_with("docs/decisions/"));
    for page in pages {
        let name = shown(&page);
        if !architecture.contains(&format!("]({name})")) {
            let _ = writeln!(wrong, "{name}: ARCHITECTURE.md does not list it");
        }
        let text = fs::read_to_string(&page).expect("a page");
        for part in ["\n## Context\n", "\n## Decision\n", "\n## Consequences\n"] {
            if !text.contains(part) {
                let _ = writeln!(wrong, "{name}: lacks the heading {}", part.trim());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_list_of_tables_is_the_schema() {
    let mut tables = BTreeSet::new();
    for migration in files("sql").iter().filter(|file| shown(file).starts_with("migrations/")) {
        for line in fs::read_to_string(migration).expect("a migration").lines() {
            if let Some(rest) = line.to_lowercase().strip_prefix("create table ") {
                let name = rest.trim_start_matches("if not exists ").split([' ', '(']).next();
                tables.extend(name.map(ToOwned::to_owned));
            }
        }
    }
    let page = fs::read_to_string(root().join("docs/tables.md")).expect("a page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<String> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`').to_owned()))
        .collect();
    assert!(tables.len() > 40, "only {} tables: are they still created like this?", tables.len());
    let missing: Vec<_> = tables.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&tables).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn the_constants_in_the_list_of_numbers_exist_where_it_says() {
    let text = fs::read_to_string(root().join("docs/numbers.md")).expect("a page");
    let (_, table) = text.split_once("## In the code\n").expect("a table of constants");
    let sources = source_folders();
    let mut wrong = String::new();
    let mut count = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [constants, _, place] = cells[..] else { panic!("three cells: {row}") };
        let files = split_code(place).0.into_iter();
        let found = files.filter_map(|file| sources.iter().find_map(|folder| read(folder, file)));
        let code: String = found.collect();
        for constant in split_code(constants).0 {
            count += 1;
            let name = constant.rsplit("::").next().unwrap_or(constant);
            if !code.contains(name) {
                let _ = writeln!(wrong, "`{constant}`: {}", place.trim());
            }
        }
    }
    assert!(count > 50, "only {count} constants: are they still written like this?");
    assert!(wrong.is_empty(), "constants that are not there:\n{wrong}");
}

fn read(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok()
}

/// Compares a page with what it is made from, or makes it anew.
fn is_current(name: &str, expected: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).expect("a page");
    }
    let current = fs::read_to_string(&path).expect("a page");
    let same = current.lines().zip(expected.lines()).take_while(|(left, right)| left == right);
    let line = same.count() + 1;
    assert!(
        current == expected,
        "{name} differs from what it is made from, from line {line} on: run `UPDATE=1 cargo test --test documents`"
    );
}

#[test]
fn generated_pages_are_current() {
    let defaults = fs::read_to_string(root().join("config/default.toml")).expect("the defaults");
    is_current("docs/configuration.md", &generated_pages::configuration(&defaults));
    is_current("docs/commands.md", &generated_pages::commands(env!("CARGO_BIN_EXE_verdict")));
    let description = fs::read_to_string(root().join("docs/openapi.json")).expect("a description");
    let description = serde_json::from_str(&description).expect("JSON");
    let page = fs::read_to_string(root().join("docs/api.md")).expect("a page");
    let (introduction, _) = page.split_once("## Operations\n").expect("a place for the operations");
    let operations = generated_pages::operations(&description);
    is_current("docs/api.md", &format!("{introduction}{operations}"));
}

#[test]
fn the_book_has_every_page() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).expect("a table of contents");
    let pages = files("md").into_iter().map(|page| shown(&page));
    let pages = pages.filter(|page| page.starts_with("docs/") && page != "docs/SUMMARY.md");
    let missing: Vec<_> =
        pages.filter(|page| !summary.contains(&format!("]({})", &page["docs/".len()..]))).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not list {missing:?}");
}

#[test]
fn translated_pages_follow_their_originals() {
    let mut stale = String::new();
    let pages = files("md").into_iter().filter(|page| shown(page).starts_with("docs/zh/"));
    let mut count = 0;
    for page in pages {
        count += 1;
        let original = root().join("docs").join(page.file_name().expect("a name"));
        let digest = hex::encode(Sha256::digest(fs::read(&original).expect("the original")));
        let mark = format!("<!-- sha256 of the original: {digest} -->");
        let text = fs::read_to_string(&page).expect("a page");
        let (first, rest) = text.split_once('\n').expect("a first line");
        if std::env::var_os("TRANSLATED").is_some() {
            fs::write(&page, format!("{mark}\n{rest}")).expect("a page");
        } else if first != mark {
            let _ = writeln!(stale, "{}: {} has changed", shown(&page), shown(&original));
        }
    }
    assert_eq!(count, 3, "are they still there?");
    assert!(
        stale.is_empty(),
        "translate what has changed, then run `TRANSLATED=1 cargo test --test documents`:\n{stale}"
    );
}
