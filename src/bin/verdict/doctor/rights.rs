//! The rights a process needs, read from config/roles.sql itself, which is where they are given.

use verdict::app::Role;
use verdict::store::inspection::Right;

const ROLES: &str = include_str!("../../../../config/roles.sql");

/// The database roles whose rights a process with this role needs. One that accepts and has no
/// vault keys can show nobody anyway; what a person does in the console, the API does as well.
pub(super) fn roles_for(
    role: Role,
    has_vault_keys: bool,
    has_console: bool,
) -> &'static [&'static str] {
    match (role, has_vault_keys) {
        (Role::All, _) if has_console => &["verdict_api", "verdict_worker", "verdict_console"],
        (Role::All, _) => &["verdict_api", "verdict_worker"],
        (Role::Api, true) => &["verdict_api"],
        (Role::Api, false) => &["verdict_ingest"],
        (Role::Worker, _) => &["verdict_worker"],
        (Role::Console, _) => &["verdict_api", "verdict_console"],
    }
}

/// The grants of these roles on tables and functions.
pub(super) fn given_to(roles: &[&str]) -> Vec<Right> {
    let mut rights: Vec<Right> = Vec::new();
    for grant in statements().iter().filter_map(|statement| Grant::parse(statement)) {
        if !roles.iter().any(|role| grant.roles.contains(role)) {
            continue;
        }
        for table in &grant.tables {
            for (privilege, columns) in &grant.privileges {
                let right = |column: Option<&str>| Right {
                    table: (*table).to_owned(),
                    column: column.map(ToOwned::to_owned),
                    privilege: (*privilege).to_owned(),
                };
                match columns {
                    None => rights.push(right(None)),
                    Some(columns) => rights.extend(columns.iter().map(|name| right(Some(name)))),
                }
            }
        }
    }
    rights
}

/// Without comments and function bodies, each on one line.
fn statements() -> Vec<String> {
    let bare: String = ROLES
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    // Every second part lies between two `$$`.
    let outside: String = bare.split("$$").step_by(2).collect();
    outside
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// `grant select (a, b), insert on x, y to r, s`, or `grant execute on function f(a, b) to r`.
struct Grant<'a> {
    privileges: Vec<(&'a str, Option<Vec<&'a str>>)>,
    tables: Vec<&'a str>,
    roles: Vec<&'a str>,
}

impl<'a> Grant<'a> {
    fn parse(statement: &'a str) -> Option<Self> {
        let (what, rest) = statement.strip_prefix("grant ")?.split_once(" on ")?;
        let (tables, roles) = rest.split_once(" to ")?;
        if tables.starts_with("schema ") {
            return None;
        }
        let list = |text: &'a str| text.split(',').map(str::trim).collect();
        let mut privileges = Vec::new();
        let mut left = what;
        while !left.is_empty() {
            let end = left.find([',', '(']).unwrap_or(left.len());
            let privilege = left[..end].trim();
            left = &left[end..];
            let mut columns = None;
            if let Some((inside, rest)) =
                left.strip_prefix('(').and_then(|rest| rest.split_once(')'))
            {
                columns = Some(list(inside));
                left = rest;
            }
            left = left.trim_start().trim_start_matches(',').trim_start();
            privileges.push((privilege, columns));
        }
        // Commas also separate a function's arguments.
        let tables = match tables.strip_prefix("function ") {
            Some(function) => vec![function],
            None => list(tables),
        };
        Some(Self { privileges, tables, roles: list(roles) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grants_of_the_script_are_read_with_their_columns() {
        let has = |role: &str, table: &str, column: Option<&str>, privilege: &str| {
            given_to(&[role]).contains(&Right {
                table: table.to_owned(),
                column: column.map(ToOwned::to_owned),
                privilege: privilege.to_owned(),
            })
        };
        assert!(has("verdict_ingest", "callbacks", None, "select"));
        assert!(has("verdict_ingest", "callbacks", Some("digest"), "insert"));
        assert!(!has("verdict_ingest", "data_keys", None, "select"));
        assert!(has("verdict_api", "tasks", Some("deadline"), "select"));
        assert!(has("verdict_api", "tasks", Some("due_at"), "update"));
        assert!(has("verdict_api", "tasks", None, "delete"));
        assert!(!has("verdict_api", "tasks", None, "select"));
        let function = "verdict_person_decides(uuid, uuid, uuid, text, text, text, timestamptz)";
        assert!(has("verdict_api", function, None, "execute"));
        assert!(has("verdict_worker", "material", Some("verification_id"), "select"));
        assert!(!has("verdict_worker", "material", Some("sealed"), "select"));
    }
}
