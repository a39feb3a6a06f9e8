//! `verdict migrate`: brings the schema up to this version.

use std::process::ExitCode;

use verdict::store::Store;

use super::{Context, say};

/// Safe to run any number of times, and by several at once.
pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    super::quiet_log();
    let store = Store::new(&context.config()?.store()?)?;
    store.migrate().await?;
    say("the schema is current");
    Ok(ExitCode::SUCCESS)
}
