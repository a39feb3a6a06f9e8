//! `verdict keys`: API keys of internal callers.

use std::process::ExitCode;

use time::format_description::well_known::Rfc3339;
use verdict::domain::ids::{ApiKeyId, Ids};
use verdict::http::auth::Scope;
use verdict::vault::api_key;

use super::{Context, Usage, say};

/// What to do about keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key; it is shown once.
    #[command(
        after_help = "Example: verdict keys create --name backoffice --scopes decisions:read,results:read"
    )]
    Create {
        /// Who will hold it.
        #[arg(long)]
        name: String,
        /// What it may do, with commas: decisions:read, results:read, material:read, images:read,
        /// reviews:write, verifications:write, policies:write, admin.
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Print { "id", "key" }.
        #[arg(long)]
        json: bool,
    },
    /// List all keys, revoked ones included.
    #[command(after_help = "Example: verdict keys list --json")]
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// End a key; running services stop taking it within two seconds.
    #[command(after_help = "Example: verdict keys revoke 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Revoke {
        /// Its id, as `keys list` shows it.
        id: String,
    },
}

/// Does it.
pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    super::quiet_log();
    match command {
        Command::Create { name, scopes, json } => create(context, &name, &scopes, json).await,
        Command::List { json } => list(context, json).await,
        Command::Revoke { id } => revoke(context, &id).await,
    }
}

async fn create(
    context: &Context,
    name: &str,
    scopes: &[String],
    json: bool,
) -> anyhow::Result<ExitCode> {
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Usage("--name must be 1 to 100 printable characters".to_owned()).into());
    }
    let mut parsed: Vec<&str> = Vec::new();
    for scope in scopes {
        let Some(scope) = Scope::parse(scope.trim()) else {
            let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            return Err(Usage(format!("--scopes: known are {}", known.join(", "))).into());
        };
        if !parsed.contains(&scope.as_str()) {
            parsed.push(scope.as_str());
        }
    }
    let store = context.migrated_store(&context.config()?).await?;
    let doing = context.doing(None);
    let id: ApiKeyId = Ids::random().next(doing.at);
    let key = api_key::generate()?;
    store.add_api_key(id, name, &api_key::secret_digest(&key), &parsed, &doing).await?;
    if json {
        say(serde_json::json!({ "id": id, "key": key }));
    } else {
        say(format_args!("{key}\n\nkey {id} for {name}; it is not shown again"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    let keys = context.migrated_store(&context.config()?).await?.list_api_keys().await?;
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            let time = |at: time::OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
            serde_json::json!({ "id": key.id, "name": key.name, "scopes": key.scopes,
                "created_at": time(key.created_at), "revoked_at": key.revoked_at.map(time) })
        })
        .collect();
    if json {
        say(serde_json::Value::Array(rows));
    } else {
        for (key, row) in keys.iter().zip(&rows) {
            let state = if key.revoked_at.is_some() { "revoked" } else { "good" };
            let since = row["created_at"].as_str().unwrap_or_default();
            say(format_args!(
                "{}  {state:7}  {since}  {}  {}",
                key.id,
                key.name,
                key.scopes.join(",")
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(context: &Context, id: &str) -> anyhow::Result<ExitCode> {
    let id: ApiKeyId = id.parse().map_err(|_| Usage("this is not a key's id".to_owned()))?;
    let store = context.migrated_store(&context.config()?).await?;
    if store.revoke_api_key(id, &context.doing(None)).await? {
        say("revoked");
        Ok(ExitCode::SUCCESS)
    } else {
        anyhow::bail!("there is no such key still good")
    }
}
