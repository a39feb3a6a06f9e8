//! Mistakes in a configuration, by the key that they are about. Never a value.

use std::fmt;

/// The key, text or option that a mistake is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A key, as written: `provider.signature`, `vault.keys[0].secret`.
    Key(String),
    /// The file or the environment as a whole, by name: it cannot be parsed.
    Text(String),
    /// The option that names the file: it cannot be read.
    Option(&'static str),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) | Self::Text(name) => f.write_str(name),
            Self::Option(name) => f.write_str(name),
        }
    }
}

impl From<&str> for Subject {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Subject {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {subject}: {problem}")]
pub struct ConfigError {
    pub subject: Subject,
    /// One sentence.
    pub problem: String,
}

impl ConfigError {
    pub fn new(subject: impl Into<Subject>, problem: impl fmt::Display) -> Self {
        Self { subject: subject.into(), problem: problem.to_string() }
    }
}

/// Every mistake, at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {}", .0.iter().map(line).collect::<Vec<_>>().join("; "))]
pub struct ConfigErrors(pub Vec<ConfigError>);

fn line(error: &ConfigError) -> String {
    format!("{}: {}", error.subject, error.problem)
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// The key whose value led to an error that another layer describes. A context of that error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct FromKey(pub &'static str);

/// Of one value.
pub(super) type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn wrong<T>(subject: impl Into<Subject>, problem: impl fmt::Display) -> Result<T> {
    Err(ConfigError::new(subject, problem))
}

/// Gathers the mistakes of several values, so that all of them are reported at once.
#[derive(Default)]
pub(super) struct Collector {
    found: Vec<ConfigError>,
    /// How many of them were found while the values were read.
    misread: usize,
}

impl Collector {
    /// Begins with the mistakes of reading. Their keys have defaults by now, and what is wrong with
    /// a default is not noted: nobody has written it.
    pub(super) fn new(misread: Vec<ConfigError>) -> Self {
        Self { misread: misread.len(), found: misread }
    }

    /// The value, or `None` and a note of what is wrong. Two values may depend on the same key: the
    /// same mistake is noted once.
    pub(super) fn take<T, E>(&mut self, outcome: std::result::Result<T, E>) -> Option<T>
    where
        E: Into<ConfigErrors>,
    {
        let errors = match outcome {
            Ok(value) => return Some(value),
            Err(errors) => errors.into(),
        };
        for error in errors.0 {
            let mut misread = self.found.iter().take(self.misread);
            let is_of_default = misread.any(|known| known.subject == error.subject);
            if !is_of_default && !self.found.contains(&error) {
                self.found.push(error);
            }
        }
        None
    }

    /// The result of `build`, if nothing was wrong. `build` gives `None` only where [`Self::take`]
    /// did.
    pub(super) fn finish<T>(
        self,
        build: impl FnOnce() -> Option<T>,
    ) -> std::result::Result<T, ConfigErrors> {
        if !self.found.is_empty() {
            return Err(ConfigErrors(self.found));
        }
        build().ok_or_else(|| ConfigErrors(Vec::new()))
    }
}
