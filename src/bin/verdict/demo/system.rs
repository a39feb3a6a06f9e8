//! The parts that the demo starts and stops: Postgres, sandbox, service, and a caller with an API key.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudauth_sandbox::{Sandbox, Settings};
use private_postgres::{Folder, Mode, Programs, Server};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verdict::app::{self, Role, Running};
use verdict::config::{Config, ConfigError, Environment, Keys};
use verdict::domain::clock::Clock;
use verdict::domain::ids::{ApiKeyId, Ids};
use verdict::http::CallbackForm;
use verdict::http::api_key_auth::Scope;
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::telemetry::{self, Output};
use verdict::vault::callback_signature::Secret;
use verdict::vault::{Vault, api_key};

use super::backend::Backend;
use super::settings::{self, Parts};
use super::{golden, person};
use crate::output::say;
use crate::shell::quoted;

/// Of the public listener, the operations listener and the console; others if one of them is taken.
const PREFERRED_PORTS: [u16; 3] = [8080, 9464, 8081];
/// How often other ports are tried: another process may take one before the service does.
const TRIES: usize = 5;
const DATABASE: &str = "verdict_demo";
/// Owns the database and is no superuser, as an installation's owner should be.
const OWNER: &str = "verdict_demo_owner";
const CONFIG: &str = "verdict.toml";

/// Everything up and running.
pub struct Demo {
    /// The service's public address.
    pub http: SocketAddr,
    /// A caller's key with every reading scope.
    pub api_key: String,
    /// The secret of `[sources.app]`.
    pub secret: Secret,
    /// Ids for the script's messages.
    pub ids: Ids,
    /// Time for the script's messages.
    pub clock: Clock,
    /// Starts verifications that a browser goes through.
    pub backend: Backend,
    backend_address: SocketAddr,
    operations: SocketAddr,
    /// The link that signs in to the console.
    console: String,
    config_file: PathBuf,
    log_file: PathBuf,
    running: Running,
    sandbox: JoinHandle<()>,
    sandbox_stop: CancellationToken,
    postgres: Server,
}

impl Demo {
    /// Starts everything, telling what. `more` are settings in TOML, in place of the demo's own.
    pub async fn start(
        folder: &Path,
        more: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let more = settings::read(more)?;
        // Meanwhile Postgres starts.
        let drawing = tokio::task::spawn_blocking(golden::draw_all);
        let started = Instant::now();
        let tell =
            |what: String| say(format_args!("{:5.1} s  {what}", started.elapsed().as_secs_f64()));
        let own = Folder::ours(folder)?;
        // Of an earlier demo, whose database and keys are gone.
        let _ = fs::remove_dir_all(folder.join("images"));
        own.subfolder("images")?;
        let log_file = folder.join("verdict.log");
        let log = telemetry::Settings { json: true, filter: "info".to_owned() };
        telemetry::init(&log, Output::File(own.new_file("verdict.log", 0o644)?))
            .map_err(anyhow::Error::msg)?;
        telemetry::metrics();

        let (clock, ids) = (Clock::system(), Ids::random());
        let programs = Programs::find(environment.get("PG_BIN").map(Path::new))?;
        let postgres = Server::start(&programs, &folder.join("postgres"), Mode::Durable).await?;
        tell(format!("Postgres {} on 127.0.0.1:{}", postgres.major(), postgres.port()));
        let url = fresh_database(&postgres, &ids.nonce()).await?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let provider = listener.local_addr()?;
        let sandbox_secret = ids.nonce();
        let sandbox_stop = CancellationToken::new();
        let drawn = drawing.await??;
        let simulated = Sandbox::with_sources(
            Settings::new("demo-key", sandbox_secret.clone().into()),
            (&clock).into(),
            (&ids).into(),
        );
        drawn.verified.show_to(&simulated);
        let stop = sandbox_stop.clone().cancelled_owned();
        let sandbox = tokio::spawn(async move { simulated.serve(listener, stop).await });
        tell(format!("simulated provider on {provider}"));

        let backend_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let backend_address = backend_listener.local_addr()?;

        let webhook_secret = format!("whsec_{}", random_base64(&ids));
        let config_file = folder.join(CONFIG);
        let parts = Parts {
            database: &url,
            provider,
            backend: backend_address,
            sandbox_secret: &sandbox_secret,
            webhook_secret: &webhook_secret,
            vault_secret: random_base64(&ids),
            images: &std::path::absolute(folder.join("images"))?,
        };
        let settings = |ports: [u16; 3]| {
            let text = settings::text(&parts, ports, &more)?;
            own.new_file(CONFIG, 0o600)?.write_all(text.as_bytes())?;
            // The demo's own file alone: a variable set for production must not reach into it.
            anyhow::Ok(Config::load(Some(&config_file), &Environment::new())?)
        };
        let mut config = settings(PREFERRED_PORTS)?;
        let for_command = config.for_command(Keys::Required)?;
        let store = Store::new(&for_command.store)?;
        store.migrate().await?;
        let api_key = make_key(&store, &clock, &ids).await?;
        let session = person::sign_in(&store, environment, &clock, &ids).await?;
        let vault = Vault::new(for_command.keys.context("vault.keys is empty")?);
        golden::add(&store, &vault, drawn.pairs, &clock).await?;
        store.close().await;
        let form = CallbackForm {
            source: "app".to_owned(),
            secret: webhook_secret.clone(),
            api_key: api_key.clone(),
        };
        let mut running = serve(&config, &form, &clock, &ids).await;
        for _ in 0..TRIES {
            if !running.as_ref().is_err_and(is_about_an_address) {
                break;
            }
            config = settings(free_ports().await?)?;
            running = serve(&config, &form, &clock, &ids).await;
        }
        let running = running?;
        let http = running.http.context("no public listener")?;
        tell(format!("verdict on http://{http}, metrics on http://{}/metrics", running.operations));
        let console = running.console.context("no console")?;
        tell(format!("console on http://{console}"));
        let backend = Backend::new(http, &api_key, &ids)?;
        backend.serve(backend_listener);
        Ok(Self {
            http,
            api_key,
            backend,
            backend_address,
            secret: Secret::parse(&webhook_secret)?,
            ids,
            clock,
            operations: running.operations,
            console: format!("http://{console}/sign-in/demo/{session}"),
            config_file,
            log_file,
            running,
            sandbox,
            sandbox_stop,
            postgres,
        })
    }

    /// A page to click, and ready-to-paste commands.
    pub async fn invite(&self) -> anyhow::Result<()> {
        let page = self.backend.start().await?;
        self.show_commands()?;
        say(format_args!(
            "
The console, where people review cases and look after the installation; this link signs in:
Console: {}",
            self.console
        ));
        say(format_args!(
            "
A page of face-verify to click through, good for 30 minutes:
  {page}
Open it and press Pass: the decision appears in the browser and below. Another one: http://{}/",
            self.backend_address
        ));
        Ok(())
    }

    fn show_commands(&self) -> anyhow::Result<()> {
        let (http, key) = (self.http, &self.api_key);
        let program = std::env::current_exe()?;
        let programs = program.parent().unwrap_or(&program).to_string_lossy().into_owned();
        let config = std::path::absolute(&self.config_file)?;
        say(format_args!(
            "
Paste this into another terminal:
  export PATH={}:$PATH
  export VERDICT_CONFIG={}
  export VERDICT_URL=http://{http}
  export VERDICT_API_KEY={key}

Then try:
  verdict callback send --biz-type demo --biz-id status-7-me --wait
  verdict show demo/status-7-me
  verdict list --outcome review
  verdict watch
  verdict explain score-too-low
  verdict callback send --biz-type demo --biz-id pass-99-me --curl
  curl -sS -H \"authorization: Bearer $VERDICT_API_KEY\" \"$VERDICT_URL/v1/events?after=0&wait=30\"
  curl -sS http://{}/metrics
The biz_id scripts what the simulated provider says: pass-88.5, status-6, quit, unfinished-2-then-pass,
throttled-3-then-pass, http-503 … (docs/sandbox.md has the table).
Docs: http://{http}/docs, with a form that signs and sends a callback
Log: {}",
            quoted(&programs),
            quoted(&config.to_string_lossy()),
            self.operations,
            self.log_file.display()
        ));
        Ok(())
    }

    /// Names the files that the demo keeps.
    pub fn show_kept(&self) {
        let folder = self.config_file.parent().unwrap_or(&self.config_file).display();
        say(format_args!(
            "Kept in {folder}: {CONFIG} (its keys end with this demo), the log verdict.log, images/ and \
             postgres/. The next demo begins with an empty database."
        ));
    }

    /// Takes everything down.
    pub async fn stop(self) {
        self.running.stop();
        self.running.stopped().await;
        self.sandbox_stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.sandbox).await;
        if let Err(error) = self.postgres.stop().await {
            say(format_args!("Postgres did not stop: {error}"));
        }
    }
}

/// The same script must begin from nothing every time. The URL for the database's owner.
async fn fresh_database(postgres: &Server, password: &str) -> anyhow::Result<String> {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await?;
    for statement in [
        format!("drop database if exists {DATABASE} with (force)"),
        format!("drop role if exists {OWNER}"),
        format!("create role {OWNER} login password '{password}'"),
        format!("create database {DATABASE} owner {OWNER}"),
    ] {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    connection.close().await?;
    Ok(postgres.url_as(OWNER, password, DATABASE))
}

async fn serve(
    config: &Config,
    form: &CallbackForm,
    clock: &Clock,
    ids: &Ids,
) -> anyhow::Result<Running> {
    let mut settings = config.settings(Role::All.parts())?;
    settings.common.callback_form = Some(form.clone());
    let (clock, ids) = (clock.clone(), ids.clone());
    Box::pin(app::start_with(settings, config, &Environment::new(), Role::All, clock, ids)).await
}

/// Ports that nobody uses at the moment. The configuration has to name them: users and the
/// provider come back to this address.
async fn free_ports() -> std::io::Result<[u16; 3]> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let two = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let three = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok([one.local_addr()?.port(), two.local_addr()?.port(), three.local_addr()?.port()])
}

fn is_about_an_address(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<ConfigError>()
        .is_some_and(|error| error.subject.to_string().ends_with(".listen"))
}

fn random_base64(ids: &Ids) -> String {
    // Two nonces in hex give 64 digits, 32 bytes.
    STANDARD.encode(hex::decode(format!("{}{}", ids.nonce(), ids.nonce())).unwrap_or_default())
}

async fn make_key(store: &Store, clock: &Clock, ids: &Ids) -> anyhow::Result<String> {
    let key = api_key::generate()?;
    let id: ApiKeyId = ids.next(clock.now());
    let scopes = [
        Scope::DecisionsRead,
        Scope::ResultsRead,
        Scope::ImagesRead,
        Scope::VerificationsWrite,
        Scope::EventsRead,
    ]
    .map(Scope::as_str);
    let digest = api_key::secret_digest(&key);
    let doing = AuditContext { actor: "cli:demo".to_owned(), purpose: None, at: clock.now() };
    store.api_keys().add_api_key(id, "demo", &digest, &scopes, &doing).await?;
    Ok(key)
}
