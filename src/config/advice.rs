//! The remedy for a wrong key: where it is written, or where to write it.

use std::path::Path;

use toml::de::DeTable;

use super::environment::{Environment, variable_of, variables};
use super::keys::Shape;
use super::origin::{Origin, Origins};
use crate::domain::byte_order_mark;

/// The remedy for a wrong key.
pub fn advice(key: &str, file: Option<&Path>, environment: &Environment) -> String {
    const EXPLAINED: &str = "config/default.toml explains every key";
    let everything = Shape::of_everything();
    if !everything.has(key) {
        return EXPLAINED.to_owned();
    }
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let text = byte_order_mark::skipped(&text);
    let table = DeTable::parse(text).ok();
    let file_of = file.zip(table.as_ref()).map(|(file, table)| (file, table.get_ref(), text));
    let origin = Origins::new(file_of, &variables(environment).names).of(key);
    let section = key.split('.').next().unwrap_or_default();
    let explained = format!("config/default.toml explains [{section}]");
    match (origin, file) {
        (Origin::File { file, line }, _) => {
            format!("correct {key} in {}, line {line}; {explained}", file.display())
        }
        (Origin::Variable(name), _) => format!("correct the variable {name}; {explained}"),
        (Origin::Default, file) => {
            let file = file.map_or_else(
                || "in a file that you pass with --config".to_owned(),
                |file| format!("in {}", file.display()),
            );
            let variable = variable_of(key);
            format!("set {key} {file}, or the variable {variable}; {explained}")
        }
    }
}
