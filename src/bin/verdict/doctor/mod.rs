//! `verdict doctor`: looks at everything that serving needs, and says what to do.
//!
//! Each check has a time limit and a task of its own, so that none hides the others. Nothing is
//! shown but names of keys, states and numbers: no values, no secrets, nobody's data.

mod database;
mod finding;
mod listeners;
mod provider;
mod rights;
mod surroundings;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use verdict::app::Role;
use verdict::config::{self, Config, ConfigError, ConfigErrors, Environment};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::store::inspection::Server;
use verdict::store::{Settings, Store};

use super::serve::RoleName;
use super::{Context, hint, said_of, say};
use finding::{Finding, Item, State};

/// What to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict doctor --role worker --config verdict.toml")]
pub struct Arguments {
    /// For a process with this role, as of `verdict serve`.
    #[arg(long, value_enum, default_value = "all")]
    role: RoleName,
    /// Print a JSON array of { "check", "state", "says", "hint" }.
    #[arg(long)]
    json: bool,
}

/// For one check. A little longer than the timeout of the object store, so that doctor reports the
/// store's cause.
const LIMIT: Duration = Duration::from_secs(25);
/// Enough for the checks that ask the database side by side.
const CONNECTIONS: u32 = 4;

/// What the checks work with.
struct Patient {
    config: Config,
    environment: Environment,
    role: Role,
    /// Identifies the database, if it answers.
    installation: Option<String>,
    /// A scene with a verification, if there is one.
    scene: Option<String>,
    clock: Clock,
    ids: Ids,
}

impl Patient {
    /// Queries the facts that other checks need; an error is the finding about the database. The limit
    /// is `database.timeout_seconds`.
    async fn learn(&mut self, store: &Store) -> Result<Server, Finding> {
        let server = match store.connect_once().await {
            Ok(()) => store.inspect_server().await,
            Err(error) => Err(error),
        };
        let server = server.map_err(|error| database::unreachable(&error))?;
        self.installation = store.installation().await.ok();
        self.scene = store.a_scene().await.ok().flatten();
        Ok(server)
    }
}

/// Looks at everything; exit code 0 all well or warnings, 1 something failed, 2 the configuration
/// is wrong.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let role = Role::from(arguments.role);
    let (items, code) = match context.unchecked_config() {
        Ok(config) => examine(config, context, role).await,
        Err(ConfigErrors(errors)) => {
            let items = errors.iter().map(|error| complaint(error, context));
            (items.collect(), ExitCode::from(2))
        }
    };
    if arguments.json {
        say(serde_json::to_string_pretty(&items)?);
    } else {
        for item in &items {
            say(item);
        }
        let count = |state| items.iter().filter(|item| item.finding.state == state).count();
        say(format_args!(
            "{} ok, {} warnings, {} failed, {} skipped",
            count(State::Ok),
            count(State::Warning),
            count(State::Failed),
            count(State::Skipped)
        ));
    }
    Ok(code)
}

async fn examine(config: Config, context: &Context, role: Role) -> (Vec<Item>, ExitCode) {
    let complaints = config.complaints(role.accepts(), role.works());
    let mut items: Vec<Item> = complaints.iter().map(|error| complaint(error, context)).collect();
    if complaints.is_empty() {
        items.push(Item::new("configuration", Finding::ok("complete, every key as it should be")));
    }
    items.extend(misnamed(context));
    let store = config.store().ok().and_then(|settings| {
        Store::new(&Settings { max_connections: CONNECTIONS, ..settings }).ok()
    });
    let (clock, ids) = (Clock::system(), Ids::random());
    let environment = context.environment.clone();
    let mut patient =
        Patient { config, environment, role, installation: None, scene: None, clock, ids };
    let server = match &store {
        None => Err(Finding::skipped("not checked: database.url is not usable")),
        Some(store) => {
            items.push(Item::new("database-tls", database::protection(store.protection())));
            patient.learn(store).await
        }
    };
    let asked = store.clone().filter(|_| server.is_ok());
    let mut checks = Checks { patient: Arc::new(patient), store: asked, running: Vec::new() };
    checks.add("secret-files", |patient| async move { surroundings::secret_files(&patient) });
    checks.add("limits", |patient| async move { surroundings::limits(&patient) });
    items.extend(of_server(&checks.patient, &server));
    ask_database(&mut checks, server.ok());
    checks.add("provider", |patient| async move { provider::call(&patient).await });
    checks.add("object-store", |patient| async move { surroundings::object_store(&patient).await });
    checks.add("disk-space", |patient| async move { surroundings::disk_space(&patient) });
    checks.add("traces", |patient| async move { surroundings::traces(&patient).await });
    checks.add("http.listen", |patient| async move { listeners::public(&patient).await });
    checks.add("operations.listen", |patient| async move { listeners::operations(&patient).await });
    items.extend(checks.done().await);
    if let Some(store) = store {
        store.close().await;
    }
    let code = if !complaints.is_empty() {
        ExitCode::from(2)
    } else if items.iter().any(|item| item.finding.state == State::Failed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    (items, code)
}

/// The checks of the server; skipped if it does not answer.
fn of_server(patient: &Patient, server: &Result<Server, Finding>) -> Vec<Item> {
    let found = match server {
        Ok(server) => {
            let settings = (patient.config.max_connections(), patient.role);
            database::of_server(server, patient.clock.now(), settings)
        }
        Err(finding) => database::SERVER_CHECKS.map(|name| {
            let finding = if name == "database" { finding.clone() } else { not_checked() };
            (name, vec![finding])
        }),
    };
    let items = |(name, findings): (_, Vec<Finding>)| {
        findings.into_iter().map(move |finding| Item::new(name, finding))
    };
    found.into_iter().flat_map(items).collect()
}

/// Every check that asks the database; without one each says so.
fn ask_database(checks: &mut Checks, server: Option<Server>) {
    let owner = server.as_ref().is_some_and(|server| server.owner || server.superuser);
    let role = server.map(|server| server.role).unwrap_or_default();
    let same = role.clone();
    checks.ask("schema", |_, store| async move { database::schema(&store).await });
    checks.ask("indexes", |_, store| async move { database::indexes(&store).await });
    checks.ask("owner", move |_, store| async move { database::owner(&store, &role, owner).await });
    checks.ask("rights", move |patient, store| async move {
        database::rights(&patient, &store, &same, owner).await
    });
    checks.ask("clock-verdict-now", |patient, store| async move {
        database::clock(&patient, &store).await
    });
    checks.ask("transactions", |_, store| async move { database::transactions(&store).await });
    checks.ask("policy", |patient, store| async move { database::policy(&patient, &store).await });
    checks.ask("vault-keys", |patient, store| async move {
        database::vault_keys(&patient, &store).await
    });
    checks.ask("backlog", |_, store| async move { database::backlog(&store).await });
    checks
        .ask("breaker", |patient, store| async move { database::breaker(&patient, &store).await });
    checks.ask("given-up", |_, store| async move { database::given_up(&store).await });
}

fn not_checked() -> Finding {
    Finding::skipped("not checked: no database")
}

fn complaint(error: &ConfigError, context: &Context) -> Item {
    let says = format!("{}: {}", error.key, error.problem);
    Item::new("configuration", Finding::failed(says, hint::about_key(&error.key, context)))
}

fn misnamed(context: &Context) -> Vec<Item> {
    let found = config::misnamed(&context.environment).into_iter().map(|found| {
        let hint = format!("rename it to {}, or take it away", found.meant);
        Item::new("environment", Finding::warning(said_of(&found), hint))
    });
    found.collect()
}

/// Checks that run side by side, shown in the order they were added.
struct Checks {
    patient: Arc<Patient>,
    /// A database that answers.
    store: Option<Store>,
    running: Vec<(&'static str, tokio::task::JoinHandle<Vec<Finding>>)>,
}

impl Checks {
    fn add<F, O>(&mut self, name: &'static str, check: impl FnOnce(Arc<Patient>) -> F)
    where
        F: Future<Output = O> + Send + 'static,
        O: Into<Vec<Finding>> + Send,
    {
        let check = check(Arc::clone(&self.patient));
        let limited = async move {
            match tokio::time::timeout(LIMIT, check).await {
                Ok(findings) => findings.into(),
                Err(_) => vec![Finding::failed(
                    format!("no outcome within {} s", LIMIT.as_secs()),
                    "see whether what it asks is reachable from here, then try again",
                )],
            }
        };
        self.running.push((name, tokio::spawn(limited)));
    }

    /// The same for one that asks the database.
    fn ask<F, O>(&mut self, name: &'static str, check: impl FnOnce(Arc<Patient>, Store) -> F)
    where
        F: Future<Output = O> + Send + 'static,
        O: Into<Vec<Finding>> + Send,
    {
        match self.store.clone() {
            Some(store) => self.add(name, |patient| check(patient, store)),
            None => self.add(name, |_| async { not_checked() }),
        }
    }

    async fn done(self) -> Vec<Item> {
        let mut items = Vec::new();
        for (name, running) in self.running {
            let findings = running.await.unwrap_or_else(|_| {
                vec![Finding::failed(
                    "this check ended early: it could not work with a value of the configuration",
                    "compare the section that the check is about with config/default.toml",
                )]
            });
            items.extend(findings.into_iter().map(|finding| Item::new(name, finding)));
        }
        items
    }
}
