//! `verdict migrate`: brings the schema up to this version.

use std::process::ExitCode;

use verdict::config::Keys;
use verdict::store::{PoolerSearch, Store};

use crate::context::Context;
use crate::output::say_done;

/// Safe to run any number of times, by several at once, and while others serve.
pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let store = Store::new(&context.settings(Keys::Unused)?.store)?;
    // Says why there is no connection, and refuses a pooler of transactions.
    store.inspection().connect_once(PoolerSearch::Thorough).await?;
    say_done(store.migrate().await?);
    if store.inspection().ownership().await?.owner_is_superuser {
        tracing::warn!(
            "the owner of the schema is a superuser: use a role without superuser (config/owner.sql)"
        );
    }
    Ok(ExitCode::SUCCESS)
}
