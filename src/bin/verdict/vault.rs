//! `verdict vault`: which keys are needed, and putting all data keys under the primary one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use uuid::Uuid;
use verdict::app::vault_keys;
use verdict::checks::vault_keys::keys_with_other_bytes;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::domain::ids::{EndpointId, GoldenId, VerificationId};
use verdict::store::Store;
use verdict::store::vault_keys::UNUSED_FOR;
use verdict::vault::{Vault, WrappedKey};

use crate::context::{Context, store_and_vault};
use crate::output::{say, say_done};
use crate::progress::Progress;
use crate::terminal::{Table, say_table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the keys that the data needs, and whether each is configured and decrypts it.
    #[command(after_help = "Example: verdict vault status --config verdict.toml")]
    Status {
        /// Print a JSON array of { "key", "state" }: primary, configured, missing or other-bytes.
        #[arg(long)]
        json: bool,
    },
    /// Rewrap every data key under the first of vault.keys, while services run. Before, give every
    /// service both keys, the new one first. Afterwards remove the old one.
    #[command(after_help = "Example: verdict vault rotate --config verdict.toml")]
    Rotate,
    /// Retire keys that vault.keys lacks and that have sealed nothing, for example after a first
    /// start with a key for testing. Run it as the owner of the schema.
    #[command(after_help = "Example: verdict vault give-up --config verdict.toml")]
    GiveUp,
}

/// Data keys rewrapped by one statement.
const BATCH: i64 = 500;
/// Between two polls.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub async fn run(context: &Context, command: &Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Status { json } => status(context, *json).await,
        Command::Rotate => rotate(context).await,
        Command::GiveUp => give_up(context).await,
    }
}

async fn give_up(context: &Context) -> anyhow::Result<ExitCode> {
    let (store, vault) = store_and_vault(context).await?;
    let mut missing = store.vault_keys().vault_keys_in_use().await?;
    missing.retain(|id| !vault.ring().has(id));
    if missing.is_empty() {
        say_done(format_args!("nothing to give up: vault.keys has every key that is needed"));
    }
    for id in missing {
        let became = vault_keys::give_up(&store, &id, &Clock::system()).await?;
        if let Some(why) = vault_keys::kept(became) {
            bail!("the key {id} is not given up: {why}");
        }
        let details = serde_json::json!({ "given_up": id }).to_string();
        store.audit().record(&Context::doing(None), "vault.give-up", None, Some(&details)).await?;
        say_done(format_args!("{id} is given up: it had sealed nothing"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    let (store, vault) = store_and_vault(context).await?;
    let ring = vault.ring();
    let others = keys_with_other_bytes(&vault, &store).await?;
    let mut code = ExitCode::SUCCESS;
    let (mut table, mut rows) = (Table::new(["KEY", "STATE"]), Vec::new());
    for id in store.vault_keys().vault_keys_in_use().await? {
        let (state, shown) = match (id == ring.primary_id(), ring.has(&id)) {
            _ if others.contains(&id) => {
                code = ExitCode::FAILURE;
                let shown = "OTHER BYTES under this id: what it wrapped does not open; restore the \
                    secret it had";
                ("other-bytes", shown)
            }
            (true, _) => ("primary", "primary"),
            (false, true) => ("configured", "configured, needed until a rotation"),
            (false, false) => {
                code = ExitCode::FAILURE;
                ("missing", "MISSING from vault.keys, and data needs it")
            }
        };
        rows.push(serde_json::json!({ "key": id, "state": state }));
        table.add([id, shown.to_owned()]);
    }
    if json {
        say(serde_json::Value::Array(rows));
    } else {
        say_table(table, "no data needs a key yet");
    }
    Ok(code)
}

async fn rotate(context: &Context) -> anyhow::Result<ExitCode> {
    let (store, vault) = store_and_vault(context).await?;
    let primary = vault.primary_id().to_owned();
    let clock = Clock::system();
    store.vault_keys().use_vault_key(&primary, clock.now()).await?;
    for (name, key_id, wrapped) in store.vault_keys().named_keys().await? {
        let old = WrappedKey { key_id, bytes: wrapped };
        if let Some(new) = vault.rewrap_named(&name, &old)? {
            store
                .vault_keys()
                .replace_named_key(&name, &old.bytes, (&new.key_id, &new.bytes))
                .await?;
        }
    }
    let mut progress = Progress::new("data keys looked at", false);
    let mut rewrapped = rewrap_all(&store, &vault, &mut progress).await?;
    let mut retired =
        store.vault_keys().retire_vault_keys(&primary, UNUSED_FOR, clock.now()).await?;
    if store.vault_keys().vault_keys_in_use().await?.iter().any(|id| *id != primary) {
        until_unused_or_seen_again(&store, &primary, &mut progress).await?;
        // Keys that others wrapped meanwhile may sort before the place that the first pass had reached.
        rewrapped += rewrap_all(&store, &vault, &mut progress).await?;
        retired
            .extend(store.vault_keys().retire_vault_keys(&primary, UNUSED_FOR, clock.now()).await?);
    }
    progress.clear();
    let mut needed = store.vault_keys().vault_keys_in_use().await?;
    needed.retain(|id| *id != primary);
    retired.retain(|id| !needed.contains(id));
    let details = serde_json::json!({
        "primary": primary, "rewrapped": rewrapped, "retired": retired, "still_needed": needed,
    });
    store
        .audit()
        .record(&Context::doing(None), "vault.rotate", None, Some(&details.to_string()))
        .await?;
    say_done(format_args!(
        "{} rewrapped under {primary}",
        counted(rewrapped, "data key", "data keys")
    ));
    for id in retired {
        say_done(format_args!("{id} is no longer needed"));
    }
    for id in &needed {
        say_done(format_args!(
            "{id} is still needed: a process wraps with it; restart it with {primary} in front, then rotate again"
        ));
    }
    Ok(if needed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until it is certain of every other key whether some process still wraps with it: either one
/// says so again, or none has for as long as [`UNUSED_FOR`].
async fn until_unused_or_seen_again(
    store: &Store,
    primary: &str,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let mut before = std::collections::HashMap::new();
    loop {
        let mut unsure = store.vault_keys().vault_keys_wrapping().await?;
        unsure.retain(|(id, age)| {
            let seen_again = before.insert(id.clone(), *age).is_some_and(|last| *age < last);
            id != primary && *age < UNUSED_FOR && !seen_again
        });
        let Some((id, age)) = unsure.first() else { return Ok(()) };
        progress.step(|| {
            let seconds = age.as_secs();
            format!("{seconds} s ago a process wrapped with {id}: waiting whether one still does")
        });
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Rewraps every data key that is not under the primary key.
async fn rewrap_all(store: &Store, vault: &Vault, progress: &mut Progress) -> anyhow::Result<u64> {
    let primary = vault.primary_id();
    let mut rewrapped = rewrap_endpoints(store, vault).await? + rewrap_pairs(store, vault).await?;
    let (mut after, mut seen) = (Uuid::nil(), 0_u64);
    loop {
        let (keys, last) = store.vault_keys().data_keys_to_rewrap(primary, after, BATCH).await?;
        let Some(last) = last else { break };
        after = last;
        let mut new = Vec::with_capacity(keys.len());
        for key in keys {
            let id = VerificationId(key.verification_id);
            let old = WrappedKey { key_id: key.key_id, bytes: key.wrapped };
            if let Some(wrapped) = vault.rewrap(id, &old)? {
                new.push((key.verification_id, wrapped.bytes));
            }
        }
        if !new.is_empty() {
            rewrapped += store.vault_keys().replace_data_keys(primary, &new).await?;
        }
        seen += BATCH.unsigned_abs();
        progress.at(seen);
    }
    Ok(rewrapped)
}

/// The same for the data keys of webhook endpoints, of which there are few.
async fn rewrap_endpoints(store: &Store, vault: &Vault) -> anyhow::Result<u64> {
    let mut rewrapped = 0;
    for key in store.webhook_keys().to_rewrap(vault.primary_id()).await? {
        let id = EndpointId(key.id);
        let old = WrappedKey { key_id: key.key_id, bytes: key.wrapped };
        if let Some(new) = vault.rewrap_endpoint(id, &old)? {
            let new = (new.key_id.as_str(), &new.bytes[..]);
            rewrapped += u64::from(store.webhook_keys().replace(id, &old.bytes, new).await?);
        }
    }
    Ok(rewrapped)
}

/// The same for the data keys of golden pairs, of which there are few.
async fn rewrap_pairs(store: &Store, vault: &Vault) -> anyhow::Result<u64> {
    let mut rewrapped = 0;
    for key in store.golden_pairs().keys_to_rewrap(vault.primary_id()).await? {
        let id = GoldenId(key.id);
        let old = WrappedKey { key_id: key.key_id, bytes: key.wrapped };
        if let Some(new) = vault.rewrap_golden(id, &old)? {
            let new = (new.key_id.as_str(), &new.bytes[..]);
            rewrapped += u64::from(store.golden_pairs().replace_key(id, &old.bytes, new).await?);
        }
    }
    Ok(rewrapped)
}
