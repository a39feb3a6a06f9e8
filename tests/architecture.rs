//! Guards what neither compiler nor cargo checks: which layer of the service may import which, who
//! may name an I/O crate, and that files say what they are. Reads the sources as text; nothing here
//! is run. The crates below `crates/` depend only on what their manifests name, so cargo guards
//! those arrows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Each layer, and the layers it may import. `images` means all of it, `images::archive` a part.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("causes", &[]),
    ("lanes", &[]),
    ("periodic", &["domain"]),
    ("traces", &["domain"]),
    ("vault", &["domain"]),
    ("store", &["domain", "causes"]),
    ("provider", &["domain", "causes"]),
    ("images", &["domain", "causes", "vault"]),
    ("policies", &["domain", "causes", "lanes", "periodic", "store"]),
    ("persons", &["domain", "vault", "store", "images::archive"]),
    ("audit_log", &["domain", "vault", "store"]),
    ("witness", &["domain", "causes"]),
    ("checks", &["domain", "causes", "vault", "store", "audit_log"]),
    ("webhooks", &["domain", "vault", "store", "images::guard"]),
    (
        "worker",
        &[
            "domain",
            "causes",
            "lanes",
            "periodic",
            "traces",
            "policies",
            "vault",
            "store",
            "audit_log",
            "provider",
            "images",
            "webhooks",
        ],
    ),
    // Of the images only their reading.
    (
        "http",
        &[
            "domain",
            "causes",
            "lanes",
            "periodic",
            "traces",
            "policies",
            "vault",
            "store",
            "webhooks",
            "images::archive",
        ],
    ),
    // Whatever `http` may, and its functions.
    (
        "console",
        &[
            "domain",
            "causes",
            "lanes",
            "periodic",
            "traces",
            "policies",
            "vault",
            "store",
            "webhooks",
            "persons",
            "audit_log",
            "checks",
            "images::archive",
            "http",
        ],
    ),
];
/// Not a layer: the ones above may not import it.
const TELEMETRY: (&str, &[&str]) = ("telemetry", &["causes", "traces"]);
/// Put everything together, so import anything. Nobody imports them.
const TOP: [&str; 4] = ["config", "app", "bin", "lib"];

/// Crates that do I/O, and the folders or files below `src` that may name them.
const OUTSIDE: [(&[&str], &[&str]); 9] = [
    (&["sqlx::"], &["store", "bin", "causes/reading"]),
    // The demo has a receiver of events.
    (
        &["axum::", "hyper::", "hyper_util::"],
        &["http", "console", "witness", "app/service", "causes/reading", "bin/verdict/demo"],
    ),
    (
        &["reqwest::"],
        &[
            "images",
            "worker/deliveries/attempt",
            "worker/witnesses",
            "console/signing_in/oidc/client",
            "bin",
            "telemetry/export",
            "causes/reading",
        ],
    ),
    // `domain` takes what reads text, and never the client.
    (&["cloudauth::"], &["provider", "config", "app", "bin", "domain"]),
    (&["cloudauth::client", "cloudauth::Client"], &["provider", "config", "app", "bin"]),
    (&["object_store::"], &["images"]),
    (&["std::env::", "use std::env;"], &["bin"]),
    // Telemetry only takes a file that was opened elsewhere.
    (
        &["std::fs::", "use std::fs;", "tokio::fs::"],
        &["config", "bin", "telemetry", "images/archive", "witness/state"],
    ),
    // Would hide what is named from the lines above.
    (&["std::{"], &[]),
];
/// These compute and nothing else.
const PURE: [&str; 2] = ["domain", "vault"];
const PURE_NAMES_NOT: [&str; 2] = ["tokio::", "std::net::"];

/// Lines of code a file may have, without its tests, comments and blank lines.
const MOST_LINES: usize = 500;

/// One source file, cut into what is to be judged.
struct Source {
    /// From the package's root, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The part below `src` that names the layer: `store` of `src/store/pool.rs`.
    fn layer(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or_default();
        below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Lines with their numbers, up to the tests inside the file; without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(n, line)| (n + 1, line)).filter(|(_, line)| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("//")
        })
    }

    /// The paths that this line alone imports from the crate: `store::pool` of
    /// `crate::store::pool::Settings`. `super::` chains count up to the root.
    fn imports<'a>(&self, line: &'a str) -> Vec<&'a str> {
        let mut found: Vec<&str> =
            ["crate::", "verdict::"].iter().flat_map(|root| after(line, root)).collect();
        let depth = self.path.trim_end_matches("/mod.rs").matches('/').count();
        let to_root = "super::".repeat(depth);
        found.extend(after(line, &to_root).into_iter().filter(|rest| !rest.starts_with("super")));
        found
    }
}

/// The text after each whole-word occurrence of `start` in the line.
fn after<'a>(line: &'a str, start: &str) -> Vec<&'a str> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    line.match_indices(start)
        .filter(|(at, _)| !line[..*at].ends_with(word))
        .map(|(at, _)| &line[at + start.len()..])
        .collect()
}

/// All `.rs` files below these folders; those that do not exist are passed over.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("a readable source"),
        path: path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/"),
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Fails with every violation, one a line.
fn report(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn arrows_between_layers_point_one_way() {
    let mut violations = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        let layer = source.layer();
        if TOP.contains(&layer) {
            continue;
        }
        let known = ARROWS.iter().chain([&TELEMETRY]).find(|(name, _)| *name == layer);
        let Some((_, may)) = known else {
            violations.push(format!("{}:1: the layer `{layer}` is not in ARROWS", source.path));
            continue;
        };
        for (n, line) in source.code() {
            for import in source.imports(line) {
                let fits = |allowed: &str| {
                    import.strip_prefix(allowed).is_some_and(|rest| {
                        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                    })
                };
                if !fits(layer) && !may.iter().any(|allowed| fits(allowed)) {
                    violations.push(format!(
                        "{}:{n}: {layer} may not import `{import}`; one path for each layer",
                        source.path
                    ));
                }
            }
        }
    }
    report(&violations);
}

#[test]
fn only_named_layers_use_io_crates() {
    let mut violations = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        let is_in = |place: &str| {
            let rest = source.path.strip_prefix("src/").and_then(|path| path.strip_prefix(place));
            rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        };
        for (n, line) in source.code() {
            // Text in quotes is, for example, a log target: no import.
            let line: String = line.split('"').step_by(2).collect();
            let mut refuse = |name: &str| {
                if !after(&line, name).is_empty() {
                    violations.push(format!("{}:{n}: `{name}` has no place here", source.path));
                }
            };
            for (names, places) in OUTSIDE {
                if !places.iter().any(|place| is_in(place)) {
                    names.iter().copied().for_each(&mut refuse);
                }
            }
            if PURE.contains(&source.layer()) {
                PURE_NAMES_NOT.into_iter().for_each(refuse);
            }
        }
    }
    report(&violations);
}

/// The files of one crate, by module path: `store::hot::claims`, and the root by an empty one.
fn modules(root: &str) -> BTreeMap<String, Source> {
    let inner = |path: &str| root == "src" && path.starts_with("src/bin/");
    let sources = sources(&[root]).into_iter();
    let sources = sources.filter(|source| !source.is_test() && !inner(&source.path));
    let named = sources.map(|source| {
        let below = source.path.trim_start_matches(root).trim_start_matches('/');
        let below = below.trim_end_matches(".rs");
        let module = match below.rsplit_once('/') {
            Some((parent, "mod")) => parent,
            None if ["lib", "main", "mod"].contains(&below) => "",
            _ => below,
        };
        (module.replace('/', "::"), source)
    });
    named.collect()
}

/// The paths in a file's code: those of `use`, without braces, and those within expressions.
fn paths(source: &Source) -> Vec<String> {
    static VISIBILITY: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\(in [^)]*\)").expect("a pattern"));
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?:\w+::)+\w+").expect("a pattern"));
    let bare = |line: &str| -> String { line.split('"').step_by(2).collect() };
    let lines: Vec<String> = source.code().map(|(_, line)| bare(line)).collect();
    let code = VISIBILITY.replace_all(&lines.join(" "), "").into_owned();
    let mut found: Vec<String> = PATH.find_iter(&code).map(|it| it.as_str().to_owned()).collect();
    for statement in code.split(';').filter_map(|text| text.rsplit_once("use ")) {
        without_braces(statement.1.trim(), &mut found);
    }
    found
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn without_braces(tree: &str, found: &mut Vec<String>) {
    let Some((prefix, inner)) = tree.split_once('{') else {
        found.push(tree.split(' ').next().unwrap_or_default().to_owned());
        return;
    };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut item) = (0, String::new());
    for letter in inner.chars().chain([',']) {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if letter != ',' || depth != 0 {
            item.push(letter);
            continue;
        }
        // The last comma has nothing behind it.
        if !item.trim().is_empty() {
            without_braces(&format!("{prefix}{}", item.trim()), found);
        }
        item.clear();
    }
}

/// The module that a path in `module` leads to, if it is one of this crate.
fn resolved(module: &str, path: &str, modules: &BTreeMap<String, Source>) -> Option<String> {
    let join = |at: &str, name: &str| [at, name].join("::").trim_start_matches(':').to_owned();
    let mut names = path.split("::").peekable();
    let mut at = match *names.peek()? {
        "crate" => String::new(),
        first if modules.contains_key(&join(module, first)) => module.to_owned(),
        "self" | "super" => module.to_owned(),
        _ => return None,
    };
    while let Some(name) = names.next_if(|name| ["crate", "self", "super"].contains(name)) {
        if name == "super" {
            at.truncate(at.rfind("::").unwrap_or(0));
        }
    }
    while let Some(name) = names.next_if(|name| modules.contains_key(&join(&at, name))) {
        at = join(&at, name);
    }
    Some(at)
}

/// A `mod.rs` counts as well: a file that takes a name from it depends on everything that the
/// `mod.rs` imports. So put what several files share into a file below them.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut roots = vec!["src".to_owned(), "src/bin/verdict".to_owned()];
    let crates = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates"));
    for entry in crates.expect("a readable folder") {
        let name = entry.expect("a readable folder").file_name();
        roots.push(format!("crates/{}/src", name.to_string_lossy()));
    }
    let (mut seen, mut violations) = (0, Vec::new());
    for root in roots {
        let modules = modules(&root);
        seen += modules.len();
        let mut imports: BTreeMap<String, BTreeSet<String>> = modules
            .iter()
            .map(|(name, source)| {
                let paths = paths(source);
                let targets = paths.iter().filter_map(|path| resolved(name, path, &modules));
                let others = targets.filter(|at| at != name && modules.contains_key(at));
                (name.clone(), others.collect())
            })
            .collect();
        // A file that imports none of the rest, or that none of the rest imports, is in no circle.
        loop {
            let before = imports.len();
            let left: BTreeSet<String> = imports.keys().cloned().collect();
            imports.retain(|_, targets| {
                targets.retain(|target| left.contains(target));
                !targets.is_empty()
            });
            let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
            imports.retain(|name, _| imported.contains(name));
            if imports.len() == before {
                break;
            }
        }
        violations.extend(imports.iter().map(|(name, targets)| {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            format!("{}:1: in a circle, imports {}", modules[name].path, targets.join(", "))
        }));
    }
    assert!(seen > 300, "only {seen} files");
    report(&violations);
}

/// Code that runs SQL other than by a declaration in `store/statements.rs`, and the files that may
/// contain it.
const RUNS_SQL: [&str; 6] =
    ["sqlx::query", "query_as(", "query_scalar(", "raw_sql(", "QueryBuilder", "AssertSqlSafe"];
const MAY_RUN_SQL: [&str; 7] = [
    "src/store/statements.rs",
    // Built from the filters that are there; the scenario `statements` prepares them too.
    "src/store/listing.rs",
    // Settings of a session: numbers of the configuration stand in the text.
    "src/store/pool.rs",
    "src/store/schema.rs",
    // Asked in the simple protocol of a connection that comes back to the pool.
    "src/store/session_faults.rs",
    // A pooler of transactions may know no prepared statement.
    "src/store/pooler.rs",
    // The demo makes its own role and database.
    "src/bin/verdict/demo/system.rs",
];

#[test]
fn every_statement_is_declared_with_its_name_and_types() {
    let mut violations = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        if MAY_RUN_SQL.contains(&source.path.as_str()) {
            continue;
        }
        for (n, line) in source.code() {
            for name in RUNS_SQL.into_iter().filter(|name| line.contains(name)) {
                violations.push(format!(
                    "{}:{n}: `{name}`: declare the statement with `statements!`",
                    source.path
                ));
            }
        }
    }
    report(&violations);
}

#[test]
fn pure_crates_name_no_io_and_no_clock() {
    let names = ["std::fs", "std::env", "std::net", "std::io", "std::process", "std::thread"];
    let names = names.into_iter().chain(["now_utc", "Instant", "SystemTime", "std::{"]);
    let sources = sources(&["crates/policy/src", "crates/merkle-log/src"]);
    assert!(sources.len() > 26, "only {} files", sources.len());
    let mut violations = Vec::new();
    for source in &sources {
        for (n, line) in source.code() {
            for name in names.clone().filter(|name| !after(line, name).is_empty()) {
                violations.push(format!("{}:{n}: `{name}` has no place here", source.path));
            }
        }
    }
    report(&violations);
}

#[test]
fn every_file_has_a_head_comment_and_stays_short() {
    let no_allow = ["[", "allow("].concat();
    let mut violations = Vec::new();
    for source in sources(&["src", "crates", "tests", "benches", "fuzz"]) {
        if !source.text.starts_with("//! ") {
            violations.push(format!("{}:1: must open with a `//!` line", source.path));
        }
        for (n, line) in source.text.lines().enumerate().filter(|(_, l)| l.contains(&no_allow)) {
            let line = line.trim();
            violations.push(format!("{}:{}: expect, with a reason: {line}", source.path, n + 1));
        }
        let lines = source.code().count();
        let is_code = source.path.starts_with("src/") || source.path.starts_with("crates/");
        if is_code && !source.is_test() && lines > MOST_LINES {
            let (path, most) = (&source.path, MOST_LINES);
            violations.push(format!("{path}:{most}: {lines} lines of code, at most {most}"));
        }
    }
    report(&violations);
}

#[test]
fn the_code_map_names_every_module() {
    let sources = sources(&["src"]);
    let map = sources.iter().find(|source| source.path == "src/lib.rs").expect("src/lib.rs");
    let mut modules: Vec<&str> = sources.iter().map(Source::layer).collect();
    modules.dedup();
    modules.retain(|module| !["lib", "bin"].contains(module));
    let unnamed = modules.iter().filter(|module| {
        !map.text.lines().any(|line| line.starts_with(&format!("//! | [`{module}`] |")))
    });
    let violations: Vec<String> =
        unnamed.map(|module| format!("src/lib.rs:1: the code map lacks `{module}`")).collect();
    report(&violations);
}
