//! `verdict doctor`: checks everything that the service needs, and says what to do.
//!
//! Each check runs in a separate task with a time limit, so that none hides the others. Nothing is
//! shown but names of keys, states and numbers: no values, no secrets, nobody's data.

mod configured;
mod context;
mod listeners;
mod provider;
mod rights;
mod surroundings;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use verdict::app::Role;
use verdict::checks::{Finding, Item, State, database, months};
use verdict::config::{self, Config, ConfigError, ConfigErrors};
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::domain::ids::Ids;
use verdict::store::inspection::Server;
use verdict::store::{PoolerSearch, Settings, Store};

use crate::context::{Context, said_of};
use crate::hints;
use crate::output::say;
use crate::progress::Progress;
use crate::serve::RoleName;
use context::DoctorContext;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict doctor --role worker --config verdict.toml")]
pub struct Arguments {
    /// Check for a process with this role of `verdict serve`.
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

/// Looks at everything; exit code 0 all well or warnings, 1 something failed, 2 the configuration
/// is wrong.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let role = Role::from(arguments.role);
    let (items, code) = match context.config_without_warnings() {
        Ok(config) => examine(config, context, role, arguments.json).await,
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
            "{} ok, {}, {} failed, {} skipped",
            count(State::Ok),
            counted(count(State::Warning), "warning", "warnings"),
            count(State::Failed),
            count(State::Skipped)
        ));
    }
    Ok(code)
}

async fn examine(
    config: Config,
    context: &Context,
    role: Role,
    json: bool,
) -> (Vec<Item>, ExitCode) {
    let checked = config.settings(role.parts());
    let valid = checked.is_ok();
    let mut items: Vec<Item> = match checked {
        Ok(_) => vec![Item::new("configuration", Finding::ok("complete, every key is valid"))],
        Err(errors) => errors.0.iter().map(|error| complaint(error, context)).collect(),
    };
    items.extend(misnamed(context));
    let store = config.store().ok().and_then(|settings| {
        Store::new(&Settings { max_connections: CONNECTIONS, ..settings }).ok()
    });
    let (clock, ids) = (Clock::system(), Ids::random());
    let environment = context.environment.clone();
    let now = clock.now();
    let mut doctor = DoctorContext {
        config,
        environment,
        role,
        installation: None,
        scene: None,
        clock,
        now,
        ids,
    };
    let server = match &store {
        None => Err(Finding::skipped("not checked: database.url is not usable")),
        Some(store) => {
            items.push(Item::new("database-tls", database::protection(store.protection())));
            learn(&mut doctor, store).await
        }
    };
    let asked = store.clone().filter(|_| server.is_ok());
    let mut checks = Checks { doctor: Arc::new(doctor), store: asked, running: Vec::new() };
    checks.add("secret-files", |doctor| async move { surroundings::secret_files(&doctor) });
    checks.add("limits", |doctor| async move { surroundings::limits(&doctor) });
    items.extend(of_server(&checks.doctor, &server));
    ask_database(&mut checks, server.ok());
    checks.add("provider", |doctor| async move { provider::call(&doctor).await });
    checks.add("object-store", |doctor| async move { surroundings::object_store(&doctor).await });
    checks.add("disk-space", |doctor| async move { surroundings::disk_space(&doctor) });
    checks.add("traces", |doctor| async move { surroundings::traces(&doctor).await });
    checks.add("http.listen", |doctor| async move { listeners::public(&doctor).await });
    checks.add("callback-url", |doctor| async move { listeners::callback_url(&doctor) });
    checks.add("operations.listen", |doctor| async move { listeners::operations(&doctor).await });
    items.extend(checks.done(Progress::new("checks", json)).await);
    if let Some(store) = store {
        store.close().await;
    }
    let code = if !valid {
        ExitCode::from(2)
    } else if items.iter().any(|item| item.finding.state == State::Failed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    (items, code)
}

/// Queries the facts that other checks need; an error is the finding about the database. The limit
/// is `database.timeout_seconds`.
async fn learn(doctor: &mut DoctorContext, store: &Store) -> Result<Server, Finding> {
    let unreachable = |error| database::unreachable(&error);
    store.inspection().connect_once(PoolerSearch::Thorough).await.map_err(unreachable)?;
    let asked = doctor.clock.now();
    let server = store.inspection().inspect_server().await.map_err(unreachable)?;
    doctor.now = database::nearest(server.now, [asked, doctor.clock.now()]);
    doctor.installation = store.inspection().installation().await.ok();
    doctor.scene = store.inspection().a_scene().await.ok().flatten();
    Ok(server)
}

/// The checks of the server; skipped if it does not answer.
fn of_server(doctor: &DoctorContext, server: &Result<Server, Finding>) -> Vec<Item> {
    let found = match server {
        Ok(server) => {
            let settings = (doctor.config.max_connections(), doctor.role == Role::All);
            database::of_server(server, doctor.now, settings)
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
    checks.ask("months", |_, store| async move { months::ahead(&store).await });
    checks.ask("audit-segment", |_, store| async move { months::audit_segment(&store).await });
    checks.ask("audit-witnesses", |doctor, store| async move {
        configured::audit_witnesses(&doctor, &store).await
    });
    checks.ask("owner", move |_, store| async move { database::owner(&store, &role, owner).await });
    checks.ask("rights", move |doctor, store| async move {
        configured::rights(&doctor, &store, &same, owner).await
    });
    checks.ask("clock-verdict-now", |doctor, store| async move {
        database::clock(&doctor.clock, &store).await
    });
    checks.ask("transactions", |_, store| async move { database::transactions(&store).await });
    checks.ask("policy", |doctor, store| async move { configured::policy(&doctor, &store).await });
    checks.ask("vault-keys", |doctor, store| async move {
        configured::vault_keys(&doctor, &store).await
    });
    checks.ask("backlog", |_, store| async move { database::backlog(&store).await });
    checks
        .ask("breaker", |doctor, store| async move { configured::breaker(&doctor, &store).await });
    checks.ask("dead-letters", |_, store| async move { database::dead_letters(&store).await });
}

fn not_checked() -> Finding {
    Finding::skipped("not checked: no database")
}

fn complaint(error: &ConfigError, context: &Context) -> Item {
    let says = format!("{}: {}", error.subject, error.problem);
    Item::new("configuration", Finding::failed(says, hints::about_subject(&error.subject, context)))
}

fn misnamed(context: &Context) -> Vec<Item> {
    let found = config::misnamed(&context.environment).into_iter().map(|found| {
        let hint = format!("rename it to {}, or remove it", found.meant);
        Item::new("environment", Finding::warning(said_of(&found), hint))
    });
    found.collect()
}

/// Checks that run side by side, shown in the order they were added.
struct Checks {
    doctor: Arc<DoctorContext>,
    /// A database that answers.
    store: Option<Store>,
    running: Vec<(&'static str, tokio::task::JoinHandle<Vec<Finding>>)>,
}

impl Checks {
    fn add<F, O>(&mut self, name: &'static str, check: impl FnOnce(Arc<DoctorContext>) -> F)
    where
        F: Future<Output = O> + Send + 'static,
        O: Into<Vec<Finding>> + Send,
    {
        let check = check(Arc::clone(&self.doctor));
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
    fn ask<F, O>(&mut self, name: &'static str, check: impl FnOnce(Arc<DoctorContext>, Store) -> F)
    where
        F: Future<Output = O> + Send + 'static,
        O: Into<Vec<Finding>> + Send,
    {
        match self.store.clone() {
            Some(store) => self.add(name, |doctor| check(doctor, store)),
            None => self.add(name, |_| async { not_checked() }),
        }
    }

    async fn done(self, mut progress: Progress) -> Vec<Item> {
        let mut items = Vec::new();
        progress.expect(self.running.len());
        for (number, (name, running)) in self.running.into_iter().enumerate() {
            progress.at(number);
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
