//! `verdict completions` and `verdict man`: made from the parser, so they know every option.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;
use verdict::domain::counted::counted;

use crate::output::{say, say_done};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict completions bash > /etc/bash_completion.d/verdict")]
pub struct CompletionArguments {
    /// The shell: bash, elvish, fish, powershell or zsh.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict man /usr/local/share/man/man1")]
pub struct ManArguments {
    /// The folder, which is made if it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn completions(mut command: clap::Command, arguments: &CompletionArguments) -> ExitCode {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}

/// One page for each command.
pub fn man(command: clap::Command, arguments: &ManArguments) -> anyhow::Result<ExitCode> {
    let folder = &arguments.folder;
    let written = || -> std::io::Result<usize> {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(command, folder)?;
        Ok(std::fs::read_dir(folder)?.count())
    };
    let pages = written().with_context(|| format!("{} cannot be written", folder.display()))?;
    say_done(format_args!("{} in {}", counted(pages, "file", "files"), folder.display()));
    Ok(ExitCode::SUCCESS)
}
