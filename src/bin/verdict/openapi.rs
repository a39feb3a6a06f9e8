//! `verdict openapi`: prints the description of the API.

use std::process::ExitCode;

use crate::output::say;

/// Prints it, as docs/openapi.json has it.
pub fn run() -> anyhow::Result<ExitCode> {
    say(serde_json::to_string_pretty(&verdict::http::description())?);
    Ok(ExitCode::SUCCESS)
}
