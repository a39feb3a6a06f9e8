//! The version before this one: its files, and what it can do.

use std::path::PathBuf;

use tokio::process::Command;

pub struct Previous {
    /// The folder that holds its `config/roles.sql`.
    pub source: PathBuf,
    pub binary: PathBuf,
    pub is_another: bool,
    /// Its description of its API.
    api: String,
    /// Its list of commands.
    help: String,
}

impl Previous {
    pub async fn find() -> Self {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let (source, binary, is_another) =
            match (named("VERDICT_PREVIOUS_SOURCE"), named("VERDICT_PREVIOUS_BINARY")) {
                (Some(source), Some(binary)) => (source, binary, true),
                _ => {
                    (env!("CARGO_MANIFEST_DIR").into(), env!("CARGO_BIN_EXE_verdict").into(), false)
                }
            };
        let says = async |argument: &str| {
            let output = Command::new(&binary).arg(argument).env_clear().output().await.unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let (api, help) = (says("openapi").await, says("help").await);
        Self { source, binary, is_another, api, help }
    }

    /// Whether its API knows this word: a path, or a key of the configuration.
    pub fn api_has(&self, word: &str) -> bool {
        self.api.contains(word)
    }

    pub fn has_command(&self, name: &str) -> bool {
        self.help.lines().any(|line| line.split_whitespace().next() == Some(name))
    }
}

/// The states that the previous version made, and those that it does not know.
#[derive(Default)]
pub struct Made {
    states: Vec<&'static str>,
    unknown: Vec<&'static str>,
}

impl Made {
    pub fn add(&mut self, states: &[&'static str]) {
        self.states.extend(states);
    }

    /// Whether they can be made; if not, that is noted.
    pub fn can(&mut self, it_can: bool, states: &[&'static str]) -> bool {
        if !it_can {
            self.unknown.extend(states);
        }
        it_can
    }

    /// As a row of the table has it.
    pub fn summary(&self) -> String {
        let (made, all) = (self.states.len(), self.states.len() + self.unknown.len());
        match self.unknown.as_slice() {
            [] => format!("all {all}"),
            unknown => format!("{made} of {all}; it does not know: {}", unknown.join(", ")),
        }
    }
}
