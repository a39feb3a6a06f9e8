//! The `verdict` binary: parse, dispatch, one sentence on failure.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
