//! The pages of the book that are made from something else: from the defaults, from the parser of the
//! command line, from the description of the API.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

const UPDATE: &str = "`UPDATE=1 cargo test --test documents`";

/// `config/default.toml` as a page: a heading for each section, an entry for each key.
pub(crate) fn configuration(defaults: &str) -> String {
    let mut page = format!(
        "# Configuration\n\nMade from [config/default.toml](../config/default.toml) by {UPDATE}. \
         [Configure](configure.md) says how files, variables and secrets work together.\n"
    );
    let mut comment: Vec<&str> = Vec::new();
    let mut listed = "";
    for section in sections(defaults) {
        comment.clear();
        // Lists that people extend: whole, as they are written.
        if let Some(list) = section.list() {
            if list != listed {
                let _ = write!(page, "\n## `[{list}…]`\n");
                listed = list;
            }
            let _ = write!(page, "\n```toml\n{}\n```\n", section.lines.join("\n"));
            continue;
        }
        let mut entry_open = false;
        for line in &section.lines {
            if let Some(text) = line.strip_prefix('#') {
                comment.push(text);
                continue;
            }
            if line.is_empty() {
                // The comment is about all of the file.
                entry_open = false;
                write_comment(&mut page, &comment);
                comment.clear();
            } else if line.starts_with('[') {
                let _ = write!(page, "\n## `{line}`\n");
                write_comment(&mut page, &comment);
                comment.clear();
            } else if let Some((key, value)) = line.split_once(" = ") {
                let variable = format!("{}.{key}", section.name).replace('.', "__").to_uppercase();
                // Keys below one comment share it.
                if !(comment.is_empty() && entry_open) {
                    page.push('\n');
                }
                let _ = writeln!(page, "- **`{key}`** = `{value}` (`VERDICT__{variable}`)");
                write_comment(&mut page, &comment);
                comment.clear();
                entry_open = true;
            }
        }
    }
    page
}

struct Section<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

impl Section<'_> {
    /// The beginning of the names of such sections.
    fn list(&self) -> Option<&'static str> {
        let lists = ["reviews.reasons.", "reviews.reveal_purposes."];
        lists.into_iter().find(|list| self.name.starts_with(list))
    }
}

/// Each section with the comment before it. What comes before the first one has no name.
fn sections(defaults: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { name: "", lines: Vec::new() }];
    let mut comment = Vec::new();
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push(Section { name, lines: std::mem::take(&mut comment) });
        } else if line.starts_with('#') {
            comment.push(line);
            continue;
        }
        let last = sections.last_mut().expect("one at least");
        last.lines.append(&mut comment);
        last.lines.push(line);
    }
    sections
}

/// Prose as paragraphs, indented lines as a block of code.
fn write_comment(page: &mut String, comment: &[&str]) {
    let mut code = false;
    for (index, line) in comment.iter().enumerate() {
        let indented = line.starts_with("   ");
        if indented != code || index == 0 {
            page.push_str(match (index, code) {
                (0, _) | (_, false) => "\n",
                (_, true) => "  ```\n\n",
            });
            if indented {
                page.push_str("  ```text\n");
            }
            code = indented;
        }
        let text = match line.strip_prefix("   ") {
            Some(text) => text.to_owned(),
            None => escaped(line.trim()),
        };
        let _ = writeln!(page, "  {text}");
    }
    if code {
        page.push_str("  ```\n");
    }
}

fn escaped(text: &str) -> String {
    text.replace('*', "\\*").replace('<', "\\<").replace('[', "\\[")
}

/// The help of every command, as the program prints it.
pub(crate) fn commands(program: &str) -> String {
    let mut page = format!(
        "# Command line\n\nMade from the program's own help by {UPDATE}. Exit codes: 0 done, 1 failed, \
         2 wrong usage or configuration.\n"
    );
    write_command(&mut page, program, &[]);
    page
}

fn write_command(page: &mut String, program: &str, path: &[&str]) {
    let output = Command::new(program).args(path).arg("--help").env_clear().output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "verdict {} --help", path.join(" "));
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let name = [&["verdict"], path].concat().join(" ");
    let level = if path.len() > 1 { "###" } else { "##" };
    let _ = write!(page, "\n{level} `{name}`\n\n```text\n");
    for line in help.trim_end().lines() {
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push_str("```\n");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        // Lines that continue a description are indented further.
        let Some(command) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) else {
            continue;
        };
        let command = command.split_whitespace().next().expect("a name");
        if command != "help" {
            write_command(page, program, &[path, &[command]].concat());
        }
    }
}

/// What callers ask about first comes first.
const GROUPS: [(&str, &str); 9] = [
    ("callbacks", "Callbacks"),
    ("verifications", "Verifications and decisions"),
    ("reviews", "Reviews"),
    ("events", "Events"),
    ("webhooks", "Webhook endpoints"),
    ("person", "Personal data"),
    ("policies", "Policies"),
    ("problems", "Problems"),
    ("health", "Health"),
];

/// The operations by group, each with what it needs: the end of a page, from this heading on.
pub(crate) fn operations(description: &Value) -> String {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let group = operation["tags"][0].as_str().expect("a tag");
            let summary = operation["summary"].as_str().unwrap_or_default();
            groups.entry(group).or_default().push(format!(
                "| `{} {path}` | {} | {} |",
                method.to_uppercase(),
                summary.trim_end_matches('.').replace('\n', " ").replace('|', "\\|"),
                needs(operation),
            ));
        }
    }
    let mut text =
        format!("## Operations\n\nMade from [openapi.json](openapi.json) by {UPDATE}.\n");
    for (group, title) in GROUPS {
        let rows = groups.remove(group).expect("a group with operations");
        let _ = write!(text, "\n### {title}\n\n| Operation | Does | Needs |\n|---|---|---|\n");
        let _ = writeln!(text, "{}", rows.join("\n"));
    }
    assert!(groups.is_empty(), "groups without a title: {:?}", groups.keys());
    text
}

fn needs(operation: &Value) -> String {
    let Some(scheme) = operation["security"][0].as_object().and_then(|all| all.iter().next())
    else {
        return "nothing".to_owned();
    };
    if scheme.0 == "webhook-signature" {
        return "a signature".to_owned();
    }
    let scopes = scheme.1.as_array().into_iter().flatten().filter_map(Value::as_str);
    scopes.map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", ")
}
