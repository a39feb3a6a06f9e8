//! `verdict users`: who may use the console.

use std::process::ExitCode;

use policy::visible;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verdict::config::{Config, Keys};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::domain::scenes::Scenes;
use verdict::domain::scope::Scope;
use verdict::domain::user::{self, Language, Theme, User};
use verdict::domain::zone::Zone;
use verdict::store::Store;
use verdict::store::users::{Change, ListedUser};
use verdict::vault::token;

use crate::context::{Context, Usage, migrated_store};
use crate::output::{say, say_done};
use crate::terminal::{Table, relative, relative_or, say_table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a user, and print the link by which the person chooses how to sign in.
    #[command(
        after_help = "Example: verdict users add anna@example.com --scopes reviews:write,images:read,decisions:read --language zh --zone Asia/Shanghai"
    )]
    Add(NewUser),
    /// List all users, disabled ones included.
    #[command(after_help = "Example: verdict users list --json")]
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Sign a user out everywhere, and let nobody sign in as this user.
    #[command(after_help = "Example: verdict users disable anna@example.com --purpose 'has left'")]
    Disable(Named),
    /// Let a disabled user sign in again, as before.
    #[command(after_help = "Example: verdict users enable anna@example.com")]
    Enable(Named),
    /// Print a new link; links from before stop working.
    #[command(after_help = "Example: verdict users invite anna@example.com")]
    Invite(Named),
    /// Take password, one-time codes and identity away, sign the user out, and print a new link.
    #[command(after_help = "Example: verdict users reset anna@example.com --purpose 'lost phone'")]
    Reset(Named),
}

#[derive(Debug, clap::Args)]
pub struct NewUser {
    /// The name: 1 to 64 visible characters without blanks. An API key with the same --person
    /// counts as the same person.
    #[arg(value_parser = user::name)]
    name: String,
    /// What the user may do: scopes as of API keys, and users:write, audit:read, operations:read;
    /// separated by commas. `all` is every one.
    #[arg(long, value_delimiter = ',', required = true)]
    scopes: Vec<String>,
    /// Limit the user to these scenes (`biz_type`), separated by commas.
    #[arg(long, value_delimiter = ',')]
    scenes: Option<Vec<String>>,
    /// The language of the pages: en or zh. The user can change it.
    #[arg(long, default_value = "en", value_parser = language)]
    language: Language,
    /// The time zone of times on the pages. The user can change it.
    #[arg(long, default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
pub struct Named {
    /// The name of the user.
    name: String,
    /// Why, for the audit.
    #[arg(long)]
    purpose: Option<String>,
}

fn language(text: &str) -> Result<Language, &'static str> {
    text.parse().map_err(|_| "must be en or zh")
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let config = context.config()?;
    let store = migrated_store(&config.for_command(Keys::Unused)?).await?;
    match command {
        Command::Add(new) => add(&store, &address(&config)?, new).await?,
        Command::List { json } => list(&store, json).await?,
        Command::Disable(named) => {
            let (user, doing) = found(&store, &named).await?;
            let done = store.users().disable(user.user.id, &doing).await?;
            say_done(if done == Change::Done { "disabled" } else { "was disabled before" });
        }
        Command::Enable(named) => {
            let (user, doing) = found(&store, &named).await?;
            let done = store.users().enable(user.user.id, &doing).await?;
            say_done(if done == Change::Done { "enabled" } else { "was not disabled" });
        }
        Command::Invite(named) => {
            let address = address(&config)?;
            let (user, doing) = found(&store, &named).await?;
            invite(&store, &address, &user.user, &doing).await?;
        }
        Command::Reset(named) => {
            let address = address(&config)?;
            let (user, doing) = found(&store, &named).await?;
            store.users().reset(user.user.id, &doing).await?;
            invite(&store, &address, &user.user, &doing).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the console is reached, with a slash at the end.
fn address(config: &Config) -> anyhow::Result<String> {
    if let Some(url) = config.console_url()? {
        return Ok(url.to_string());
    }
    match config.console_listen()? {
        Some(listen) => Ok(format!("http://{listen}/")),
        None => Err(Usage(
            "the link would lead nowhere: set console.listen, or console.public_url where the console is served by another process".to_owned(),
        )
        .into()),
    }
}

async fn add(store: &Store, address: &str, new: NewUser) -> anyhow::Result<()> {
    let scopes = scopes(&new.scopes)?;
    let scenes = match &new.scenes {
        None => Scenes::EVERY,
        Some(names) => Scenes::only(names.iter().map(|name| name.trim()))
            .map_err(|problem| Usage(format!("--scenes {problem}")))?,
    };
    let doing = Context::doing(None);
    let user = User {
        id: Ids::random().next(doing.at),
        name: new.name,
        language: new.language,
        theme: Theme::Auto,
        zone: new.zone,
        scopes,
        scenes,
    };
    let users = store.users();
    if users.is_another_spelling(&user.name).await? || !users.add(&user, &doing).await? {
        let problem = "somebody of that name is there already, perhaps in another spelling: see verdict users list and verdict keys list";
        return Err(Usage(problem.to_owned()).into());
    }
    invite(store, address, &user, &doing).await
}

fn scopes(given: &[String]) -> anyhow::Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    for name in given.iter().map(|name| name.trim()) {
        match Scope::parse(name) {
            Some(scope) => scopes.push(scope),
            None if name == "all" => scopes.extend(Scope::ALL),
            None => {
                let known = Scope::ALL.map(Scope::as_str).join(", ");
                return Err(Usage(format!("--scopes: known are {known}; or all")).into());
            }
        }
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// The user of that name, and who asks and why.
async fn found(
    store: &Store,
    named: &Named,
) -> anyhow::Result<(ListedUser, verdict::store::audit::AuditContext)> {
    let purpose = named.purpose.as_deref().map(crate::context::required_purpose).transpose()?;
    let found = store.users().find_by_name(&named.name).await?;
    let nobody = || Usage("there is no user of that name: see verdict users list".to_owned());
    Ok((found.ok_or_else(nobody)?, Context::doing(purpose)))
}

/// Prints a link that works once.
async fn invite(
    store: &Store,
    address: &str,
    user: &User,
    doing: &verdict::store::audit::AuditContext,
) -> anyhow::Result<()> {
    let token = token::generate()?;
    if store.users().invite(user.id, &token::digest(&token), doing).await? == Change::Nothing {
        return Err(Usage("this user is disabled: enable it first".to_owned()).into());
    }
    say_done(format_args!(
        "{address}invitations/{}\n\nfor {}: works once, for three days, and is not shown again",
        *token,
        visible::shown(&user.name)
    ));
    Ok(())
}

async fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let users = store.users().list().await?;
    if json {
        say(serde_json::Value::Array(users.iter().map(as_json).collect()));
    } else {
        say_table(table_of(users, Clock::system().now()), "there is no user");
    }
    Ok(())
}

fn text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

fn as_json(listed: &ListedUser) -> serde_json::Value {
    let user = &listed.user;
    let scopes: Vec<&str> = user.scopes.iter().map(|scope| scope.as_str()).collect();
    serde_json::json!({ "id": user.id, "name": user.name, "scopes": scopes,
        "scenes": user.scenes.names(), "language": user.language.as_str(),
        "zone": user.zone.name(), "created_at": text(listed.created_at),
        "disabled_at": listed.disabled_at.map(text), "password": listed.has_password,
        "codes": listed.has_codes, "issuer": listed.issuer,
        "invited_until": listed.invited_until.map(text), "seen_at": listed.seen_at.map(text) })
}

fn state(listed: &ListedUser) -> &'static str {
    match (listed.disabled_at, listed.invited_until) {
        (Some(_), _) => "disabled",
        (None, Some(_)) => "invited",
        (None, None) => "good",
    }
}

fn table_of(users: Vec<ListedUser>, now: OffsetDateTime) -> Table {
    let mut table =
        Table::new(["ID", "NAME", "STATE", "SCENES", "ISSUER", "ADDED", "LAST SEEN", "SCOPES"]);
    for listed in users {
        let state = state(&listed);
        let user = &listed.user;
        let scopes: Vec<&str> = user.scopes.iter().map(|scope| scope.as_str()).collect();
        table.add([
            user.id.to_string(),
            user.name.clone(),
            state.to_owned(),
            user.scenes.names().map_or_else(|| "all".to_owned(), |names| names.join(",")),
            listed.issuer.unwrap_or_default(),
            relative(listed.created_at, now),
            relative_or(listed.seen_at, now, "not within a month"),
            scopes.join(","),
        ]);
    }
    table
}
