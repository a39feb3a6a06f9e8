//! The commands of a build without the feature `demo`, such as the production image: they say where
//! to find what they would run.

use std::ffi::OsString;

/// Any arguments; none is used.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

/// Error message of `verdict demo`.
pub const NO_DEMO: &str = "this build has no demo: run `./demo` in a clone of the repository, or \
     build with `--features demo`";
/// Error message of `verdict sandbox`.
pub const NO_SANDBOX: &str = "this build has no simulated provider: use the program or the image \
     `cloudauth-sandbox`, or build with `--features demo`";
