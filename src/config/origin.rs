//! Where a key was written: in which line of the file, or in which variable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// Where the value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file given by `--config`.
    File {
        /// Its path, as given.
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A variable of the environment, by name.
    Variable(String),
    /// It is written nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{}, line {line}", file.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Default => f.write_str("the defaults"),
        }
    }
}

/// Keys by origin.
#[derive(Clone, Default)]
pub(super) struct Origins {
    file: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
    variables: BTreeMap<String, String>,
}

impl Origins {
    /// `variables`: the names of variables, by key.
    pub(super) fn new(
        file: Option<(&Path, &DeTable<'_>, &str)>,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        let mut lines = BTreeMap::new();
        if let Some((_, table, text)) = file {
            note_lines(table, "", text, &mut lines);
        }
        Self { file: file.map(|(path, ..)| path.to_owned()), lines, variables: variables.clone() }
    }

    /// Of a key, or of the list that an item is in.
    pub(super) fn of(&self, key: &str) -> Origin {
        let list = key.rfind('[').map_or(key, |bracket| &key[..bracket]);
        for key in [key, list] {
            if let Some(name) = self.variables.get(key) {
                return Origin::Variable(name.clone());
            }
            if let (Some(file), Some(line)) = (&self.file, self.lines.get(key)) {
                return Origin::File { file: file.clone(), line: *line };
            }
        }
        Origin::Default
    }

    /// Of a variable that writes into this section, and the rest of its key.
    pub(super) fn below(&self, section: &str) -> (Origin, String) {
        let found = self.variables.iter().find_map(|(key, name)| {
            let rest = key.strip_prefix(section).filter(|rest| rest.starts_with('.'))?;
            Some((Origin::Variable(name.clone()), rest.to_owned()))
        });
        found.unwrap_or((Origin::Default, String::new()))
    }
}

fn note_lines(table: &DeTable<'_>, at: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = join(at, name.get_ref());
        lines.insert(key.clone(), line_of(text, name.span().start));
        note_value(value.get_ref(), &key, text, lines);
    }
}

fn note_value(value: &DeValue<'_>, key: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    match value {
        DeValue::Table(table) => note_lines(table, key, text, lines),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let key = format!("{key}[{index}]");
                lines.insert(key.clone(), line_of(text, item.span().start));
                note_value(item.get_ref(), &key, text, lines);
            }
        }
        _ => {}
    }
}

/// A key within a section.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// From 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}
