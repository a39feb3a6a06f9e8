//! The commands of a build without the feature `demo`, such as the production image: they say where
//! to find what they would run.

use std::ffi::OsString;
use std::process::ExitCode;

use super::{Context, Usage};

/// Whatever is given: nothing of it is used.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

/// `verdict demo`.
pub mod demo {
    use super::{Arguments as Any, Context, ExitCode, Usage};

    pub type Arguments = Any;

    /// There is nothing to start anew.
    pub fn restart_without_libpq_variables() -> std::io::Result<()> {
        Ok(())
    }

    pub async fn run(_: &Context, _: &Arguments) -> anyhow::Result<ExitCode> {
        let says = "this build has no demo: run `./demo` in a clone of the repository, or build with `--features demo`";
        Err(Usage(says.to_owned()).into())
    }
}

/// `verdict sandbox`.
pub mod sandbox {
    use super::{Arguments as Any, Context, ExitCode, Usage};

    pub type Arguments = Any;

    pub async fn run(_: &Context, _: Arguments) -> anyhow::Result<ExitCode> {
        let says = "this build has no simulated provider: use the program or the image `cloudauth-sandbox`, or build with `--features demo`";
        Err(Usage(says.to_owned()).into())
    }
}
