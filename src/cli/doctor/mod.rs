//! `verdict doctor`: looks at everything that serving needs, and says what to do.
//!
//! Each check has a time limit and a task of its own, so that none hides the others. Nothing is
//! shown but names of keys, states and numbers: no values, no secrets, nobody's data.

mod database;
mod finding;
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

/// For one check.
const LIMIT: Duration = Duration::from_secs(15);
/// Enough for the checks that ask the database side by side.
const CONNECTIONS: u32 = 4;

/// What the checks work with.
struct Patient {
    config: Config,
    environment: Environment,
    role: Role,
    store: Store,
    clock: Clock,
    ids: Ids,
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
    let Some(store) = store else {
        let finding = Finding::skipped("without a good database.url nothing more can be looked at");
        items.push(Item::new("database", finding));
        return (items, ExitCode::from(2));
    };
    let patient = Arc::new(Patient {
        config,
        environment: context.environment.clone(),
        role,
        store,
        clock: Clock::system(),
        ids: Ids::random(),
    });
    items.push(Item::new("database-tls", database::protection(patient.store.protection())));
    // It has a limit of its own, database.timeout_seconds.
    let server = match patient.store.connect_once().await {
        Ok(()) => patient.store.inspect_server().await,
        Err(error) => Err(error),
    };
    let mut checks = Checks { patient: Arc::clone(&patient), running: Vec::new() };
    checks.add("secret-files", |patient| async move { surroundings::secret_files(&patient) });
    checks.add("limits", |patient| async move { surroundings::limits(&patient) });
    match server {
        Ok(server) => {
            let now = patient.clock.now();
            let settings = (patient.config.max_connections(), patient.role);
            for (name, findings) in database::of_server(&server, now, settings) {
                items.extend(findings.into_iter().map(|finding| Item::new(name, finding)));
            }
            checks.add("schema", |patient| async move { database::schema(&patient).await });
            checks.add("indexes", |patient| async move { database::indexes(&patient).await });
            let owner = server.owner || server.superuser;
            let role = server.role.clone();
            checks.add("owner", move |patient| async move {
                database::owner(&patient, &role, owner).await
            });
            checks.add("rights", move |patient| async move {
                database::rights(&patient, &server.role, owner).await
            });
            checks
                .add("clock-verdict-now", |patient| async move { database::clock(&patient).await });
            checks.add(
                "transactions",
                |patient| async move { database::transactions(&patient).await },
            );
            checks.add("policy", |patient| async move { database::policy(&patient).await });
            checks.add("vault-keys", |patient| async move { database::vault_keys(&patient).await });
            checks.add("backlog", |patient| async move { database::backlog(&patient).await });
            checks.add("breaker", |patient| async move { database::breaker(&patient).await });
            checks.add("given-up", |patient| async move { database::given_up(&patient).await });
        }
        Err(error) => {
            items.push(Item::new("database", database::unreachable(&error)));
            for name in ["schema", "rights", "policy", "vault-keys", "backlog", "breaker"] {
                items.push(Item::new(name, Finding::skipped("the database does not answer")));
            }
        }
    }
    checks.add("provider", |patient| async move { provider::call(&patient).await });
    checks.add("object-store", |patient| async move { surroundings::object_store(&patient).await });
    checks.add("disk-space", |patient| async move { surroundings::disk_space(&patient) });
    checks.add("http.listen", |patient| async move { surroundings::public(&patient).await });
    checks.add(
        "operations.listen",
        |patient| async move { surroundings::operations(&patient).await },
    );
    items.extend(checks.done().await);
    patient.store.close().await;
    let code = if !complaints.is_empty() {
        ExitCode::from(2)
    } else if items.iter().any(|item| item.finding.state == State::Failed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    (items, code)
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
