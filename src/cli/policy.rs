//! `verdict policy`: checks a policy file, shows one, tries one on a case.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use verdict::app::load_policy;
use verdict::domain::evidence::Evidence;
use verdict::policy::{Policy, decide};

use super::{Context, Usage, say};

/// What to do about policies.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check a policy file: exit code 0 only without errors. Example: verdict policy check config/policy.toml
    Check {
        /// The file; the configured one if not given.
        file: Option<PathBuf>,
    },
    /// Print the policy that seeds an empty database.
    Show,
    /// Decide one case. Example: verdict policy try --evidence case.json (as in `evidence` of /results)
    Try {
        /// The policy; the configured one if not given.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// A JSON file with the evidence; - for standard input.
        #[arg(long)]
        evidence: PathBuf,
    },
}

/// Does it.
pub fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { file } => Ok(check(&read(context, file)?)),
        Command::Show => {
            say(context.config()?.policy_text()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Try { policy, evidence } => {
            let policy = load_policy(&read(context, policy)?)?;
            let mut text = String::new();
            if evidence.as_os_str() == "-" {
                std::io::stdin().read_to_string(&mut text)?;
            } else {
                text = std::fs::read_to_string(&evidence)
                    .map_err(|error| Usage(format!("--evidence: {}", error.kind())))?;
            }
            let evidence: Evidence = serde_json::from_str(&text).map_err(|error| {
                Usage(format!("--evidence: line {}: not evidence", error.line()))
            })?;
            say(serde_json::to_string_pretty(&decide(&policy, &evidence)).context("decision")?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(context: &Context, file: Option<PathBuf>) -> anyhow::Result<String> {
    match file {
        None => Ok(context.config()?.policy_text()?),
        Some(file) => Ok(std::fs::read_to_string(&file)
            .map_err(|error| Usage(format!("{}: {}", file.display(), error.kind())))?),
    }
}

fn check(text: &str) -> ExitCode {
    match Policy::load(text) {
        Ok(policy) => {
            for warning in policy.warnings() {
                say(warning);
            }
            say(format_args!("{} is good: {}", policy.name(), policy.digest()));
            ExitCode::SUCCESS
        }
        Err(findings) => {
            for finding in findings {
                say(finding);
            }
            ExitCode::FAILURE
        }
    }
}
