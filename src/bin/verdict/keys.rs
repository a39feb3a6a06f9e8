//! `verdict keys`: API keys of internal callers.

use std::process::ExitCode;

use policy::visible;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verdict::domain::clock::Clock;
use verdict::domain::ids::{ApiKeyId, Ids};
use verdict::domain::scenes::Scenes;
use verdict::domain::scope::Scope;
use verdict::domain::user;
use verdict::store::Store;
use verdict::store::api_keys::{ApiKey, KeyTerms};
use verdict::vault::api_key;

use crate::context::{Context, Usage};
use crate::error_text;
use crate::output::{say, say_done, written};
use crate::terminal::{Table, relative, relative_or, say_table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a key. It is shown once.
    #[command(
        after_help = "Example: verdict keys create --name desk --person anna@example.com --scopes reviews:write --scenes onboarding --expires-in-days 90"
    )]
    Create(NewKey),
    /// List all keys, revoked ones included.
    #[command(after_help = "Example: verdict keys list --json")]
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key. Running services refuse it within two seconds.
    #[command(after_help = "Example: verdict keys revoke 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Revoke {
        /// Its id, as `keys list` shows it.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct NewKey {
    /// A name that tells the purpose of the key: 1 to 100 visible characters.
    #[arg(long, value_parser = name)]
    name: String,
    /// Its scopes, separated by commas: decisions:read, results:read, material:read, images:read,
    /// reviews:write, verifications:write, policies:write, erasures:write, events:read,
    /// webhooks:write.
    #[arg(long, value_delimiter = ',', required = true)]
    scopes: Vec<String>,
    /// Limit the key to these scenes (`biz_type`), separated by commas: all others are hidden from it.
    #[arg(long, value_delimiter = ',')]
    scenes: Option<Vec<String>>,
    /// The person who holds it: 1 to 64 visible characters without blanks, the same in all keys of
    /// this person. A key without one cannot vote where two persons must agree.
    #[arg(long, value_parser = user::name)]
    person: Option<String>,
    /// The key expires after this many days; default: never.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=MAX_DAYS))]
    expires_in_days: Option<i32>,
    /// Requests per second that one process accepts from the key; default: unlimited.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=MAX_RATE))]
    requests_per_second: Option<i32>,
    /// Print { "id", "key" }.
    #[arg(long)]
    json: bool,
}

/// Longest life, in days: ten years.
const MAX_DAYS: i64 = 3_650;
/// Highest rate; more than one process serves.
const MAX_RATE: i64 = 1_000_000;
/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 100;

fn name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && visible::is_line(text);
    fits.then(|| text.to_owned()).ok_or("must be 1 to 100 visible characters, on one line")
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Create(new) => create(context, new).await,
        Command::List { json } => list(context, json).await,
        Command::Revoke { id } => revoke(context, &id).await,
    }
}

async fn create(context: &Context, new: NewKey) -> anyhow::Result<ExitCode> {
    let scopes = scopes(&new.scopes)?;
    let scenes = new.scenes.as_deref().map(scenes).transpose()?;
    let store = context.store().await?;
    if let Some(person) = &new.person {
        one_spelling(&store, person).await?;
    }
    let doing = Context::doing(None);
    let id: ApiKeyId = Ids::random().next(doing.at);
    let key = api_key::generate()?;
    let terms = KeyTerms {
        person: new.person,
        scenes,
        requests_per_second: new.requests_per_second,
        expires_in_days: new.expires_in_days,
    };
    let digest = api_key::secret_digest(&key);
    store.api_keys().add_api_key_with(id, &new.name, &digest, &scopes, &terms, &doing).await?;
    let shown = if new.json {
        serde_json::json!({ "id": id, "key": key }).to_string()
    } else {
        format!("{key}\n\nkey {id} for {}; it is not shown again", new.name)
    };
    if let Err(error) = written(&shown) {
        return Err(unseen(&store, id, &error).await);
    }
    Ok(ExitCode::SUCCESS)
}

/// Nobody has seen the key, or only a part of it: it is revoked.
async fn unseen(store: &Store, id: ApiKeyId, error: &std::io::Error) -> anyhow::Error {
    let why = error_text::io(error);
    match store.api_keys().revoke_api_key(id, &Context::doing(Some("it could not be shown"))).await
    {
        Ok(_) => anyhow::anyhow!("the key could not be written ({why}): {id} was revoked again"),
        Err(_) => anyhow::anyhow!(
            "the key could not be written ({why}), nor revoked: run verdict keys revoke {id}"
        ),
    }
}

fn scopes(given: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in given {
        let scope = Scope::parse(scope.trim()).filter(|scope| !scope.is_for_people_only());
        let Some(scope) = scope else {
            let known = Scope::ALL.iter().filter(|scope| !scope.is_for_people_only());
            let known: Vec<&str> = known.map(|scope| scope.as_str()).collect();
            return Err(Usage(format!("--scopes: known are {}", known.join(", "))).into());
        };
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope.as_str());
        }
    }
    Ok(scopes)
}

fn scenes(given: &[String]) -> anyhow::Result<Vec<String>> {
    let scenes = Scenes::only(given.iter().map(|scene| scene.trim()))
        .map_err(|problem| Usage(format!("--scenes {problem}")))?;
    let names = scenes.names().unwrap_or_default();
    if names.len() > MAX_SCENES {
        return Err(Usage(format!("--scenes names at most {MAX_SCENES} scenes")).into());
    }
    Ok(names.into_iter().map(ToOwned::to_owned).collect())
}

/// Most scenes of one key: a list of verifications reads a page of each.
const MAX_SCENES: usize = 64;

/// One person must not become two by another spelling: capitals, composed or wide characters.
async fn one_spelling(store: &Store, person: &str) -> anyhow::Result<()> {
    let folded = user::folded;
    let keys = store.api_keys().list_api_keys().await?;
    let known = keys.iter().filter_map(|key| key.person.as_deref());
    let mut others = known.filter(|known| *known != person && folded(known) == folded(person));
    match others.next() {
        None => Ok(()),
        Some(known) => Err(Usage(format!(
            "--person: this person has keys under the name `{known}`: spell it the same way"
        ))
        .into()),
    }
}

/// The scopes' present names: a key made before a scope was renamed has the old one stored.
fn scope_names(key: &ApiKey) -> Vec<&str> {
    let present_name = |stored: &String| Scope::parse(stored).map(Scope::as_str);
    key.scopes.iter().map(|stored| present_name(stored).unwrap_or(stored)).collect()
}

async fn list(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    let keys = context.store().await?.api_keys().list_api_keys().await?;
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            let time = |at: time::OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
            serde_json::json!({ "id": key.id, "name": key.name, "scopes": scope_names(key),
                "person": key.person, "scenes": key.scenes,
                "requests_per_second": key.requests_per_second,
                "created_at": time(key.created_at), "expires_at": key.expires_at.map(time),
                "last_used_at": key.last_used_at.map(time), "revoked_at": key.revoked_at.map(time) })
        })
        .collect();
    if json {
        say(serde_json::Value::Array(rows));
    } else {
        say_table(table_of(keys, Clock::system().now()), "there is no API key");
    }
    Ok(ExitCode::SUCCESS)
}

fn state(key: &ApiKey) -> &'static str {
    match (key.revoked_at, key.expired) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "good",
    }
}

fn table_of(keys: Vec<ApiKey>, now: OffsetDateTime) -> Table {
    let mut table = Table::new([
        "ID",
        "NAME",
        "STATE",
        "PERSON",
        "SCENES",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "PER SECOND",
        "SCOPES",
    ]);
    for key in keys {
        let (state, scopes) = (state(&key), scope_names(&key).join(","));
        table.add([
            key.id.to_string(),
            key.name,
            state.to_owned(),
            key.person.unwrap_or_default(),
            key.scenes.map_or_else(|| "all".to_owned(), |scenes| scenes.join(",")),
            relative(key.created_at, now),
            relative_or(key.expires_at, now, "never"),
            relative_or(key.last_used_at, now, "never"),
            key.requests_per_second.map(|rate| rate.to_string()).unwrap_or_default(),
            scopes,
        ]);
    }
    table
}

async fn revoke(context: &Context, id: &str) -> anyhow::Result<ExitCode> {
    let id: ApiKeyId = id.parse().map_err(|_| Usage("this is not a key's id".to_owned()))?;
    let store = context.store().await?;
    if store.api_keys().revoke_api_key(id, &Context::doing(None)).await? {
        say_done("revoked");
        Ok(ExitCode::SUCCESS)
    } else {
        anyhow::bail!("there is no valid key with this id")
    }
}
