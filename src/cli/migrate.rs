//! `verdict migrate`: brings the schema up to this version.

use std::process::ExitCode;

use verdict::store::Store;

use super::{Context, say};

/// Safe to run any number of times, by several at once, and while others serve.
pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    super::quiet_log();
    let store = Store::new(&context.config()?.store()?)?;
    say(format_args!("the schema is {}", store.migrate().await?));
    Ok(ExitCode::SUCCESS)
}
