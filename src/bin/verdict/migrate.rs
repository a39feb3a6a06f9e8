//! `verdict migrate`: brings the schema up to this version.

use std::process::ExitCode;

use verdict::config::Keys;
use verdict::store::{PoolerSearch, Store};

use crate::context::Context;
use crate::output::say_done;
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict migrate --config verdict.toml")]
pub struct Arguments {
    /// Print { "applied", "schema" }.
    #[arg(long)]
    json: bool,
}

/// Safe to run any number of times, by several at once, and while others serve.
pub async fn run(context: &Context, &Arguments { json }: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let store = Store::new(&context.settings(Keys::Unused)?.store)?;
    // Says why there is no connection, and refuses a pooler of transactions.
    store.inspection().connect_once(PoolerSearch::Thorough).await?;
    let mut progress = Progress::new("migrations", json);
    let migrated = store.migrate_with(&mut |next| progress.step(|| next.to_string())).await;
    progress.clear();
    let migrated = migrated?;
    if json {
        let applied: Vec<_> = migrated
            .names
            .iter()
            .filter_map(|name| name.split_once("  "))
            .map(|(version, name)| serde_json::json!({ "version": version, "name": name }))
            .collect();
        let schema = migrated.state.to_string();
        say_done(serde_json::json!({ "applied": applied, "schema": schema }));
    } else {
        say_done(migrated);
    }
    if store.inspection().ownership().await?.owner_is_superuser {
        tracing::warn!(
            "the owner of the schema is a superuser: use a role without superuser (config/owner.sql)"
        );
    }
    Ok(ExitCode::SUCCESS)
}
