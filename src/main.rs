//! The `verdict` binary: parse, dispatch, one sentence on failure.

mod cli;

use std::process::ExitCode;

/// Instead of the C library's: it and `memmove` took a quarter of the service's CPU while accepting
/// (`perf record` during `cargo bench --bench load -- accept`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
