//! The `verdict` binary: parse, dispatch, one sentence on failure.

mod cli;

use std::process::ExitCode;

/// Instead of the C library's, which took a quarter of the service's CPU under load
/// (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
