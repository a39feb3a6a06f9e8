//! What a benchmark plays on: a durable Postgres, the real binary, the simulated provider.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::http::auth::Scope;
use verdict::postgres::{Mode, Programs, Server};
use verdict::store::audit::Doing;
use verdict::store::{Settings, Store};
use verdict::vault::api_key;

use crate::machine;

/// The secret of the only source, `app`.
pub const SECRET: &str = "whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0";

/// A private Postgres with durable settings, in a folder that goes with it.
pub struct Stage {
    pub programs: Programs,
    server: Server,
    folder: TempDir,
}

impl Stage {
    pub async fn new() -> anyhow::Result<Self> {
        let pg_bin = std::env::var_os("PG_BIN");
        let programs = Programs::find(pg_bin.as_deref().map(Path::new))?;
        // In the target folder: `/tmp` may be a disk in memory, which syncs nothing.
        let folder = TempDir::with_prefix_in("bench-", env!("CARGO_TARGET_TMPDIR"))?;
        let place = folder.path().join("postgres");
        let server = Server::start(&programs, &place, Mode::Durable).await?;
        println!("Postgres {}, fsync on, synchronous_commit on", server.major());
        Ok(Self { programs, server, folder })
    }

    /// A new, empty database.
    pub async fn empty_database(&self, name: &str) -> anyhow::Result<Database> {
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        connection.close().await?;
        let url = self.server.url(name);
        let pool = PgPool::connect(&url).await?;
        Ok(Database { url, pool })
    }

    /// A new database with the schema in it.
    pub async fn database(&self, name: &str) -> anyhow::Result<Database> {
        let database = self.empty_database(name).await?;
        database.store(4)?.migrate().await?;
        Ok(database)
    }

    /// The configuration that a service was started with.
    pub fn config_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    /// A checkpoint, so that none falls into what is measured because of what was before.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await?;
        connection.execute("checkpoint").await?;
        Ok(connection.close().await?)
    }

    /// CPU seconds of the whole server so far.
    pub fn postgres_cpu(&self) -> f64 {
        machine::cpu_of_family(self.server.process_id())
    }

    /// Starts the service on that database; answers when it serves.
    pub async fn serve(
        &self,
        name: &str,
        role: &str,
        database: &Database,
        provider: Option<SocketAddr>,
        more: &str,
    ) -> anyhow::Result<Service> {
        let config = self.folder.path().join(format!("{name}.toml"));
        let provider = provider.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9)));
        std::fs::write(&config, configuration(&database.url, provider, more))?;
        let log = self.folder.path().join(format!("{name}.log"));
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["serve", "--role", role, "--config"])
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let http = serving(&log).await?;
        let startup = started.elapsed();
        Ok(Service { child, http, startup })
    }

    /// Starts the simulated provider, without latency or limit.
    pub async fn provider(&self) -> anyhow::Result<Provider> {
        self.provider_with(&[]).await
    }

    /// Starts it with these arguments as well.
    pub async fn provider_with(&self, more: &[String]) -> anyhow::Result<Provider> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["sandbox", "--listen", "127.0.0.1:0"])
            .args(["--access-key-id", "provider-key", "--access-key-secret", "provider-secret"])
            .args(more)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line = lines.next_line().await?.context("the sandbox ended")?;
        let address = line.rsplit('/').next().context("no address")?.parse()?;
        Ok(Provider { child, address })
    }
}

/// A database of the stage.
pub struct Database {
    pub url: String,
    pub pool: PgPool,
}

impl Database {
    /// The store on it.
    pub fn store(&self, max_connections: u32) -> anyhow::Result<Store> {
        let url = self.url.clone().into();
        let timeout = Duration::from_mins(1);
        Ok(Store::new(&Settings { url, max_connections, timeout })?)
    }

    /// A key that may do everything.
    pub async fn api_key(&self) -> anyhow::Result<String> {
        let key = api_key::generate().map_err(|_| anyhow::anyhow!("no randomness"))?;
        let now = Clock::system().now();
        let id = Ids::random().next(now);
        let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let store = self.store(1)?;
        store
            .add_api_key(
                id,
                "bench",
                &api_key::secret_digest(&key),
                &scopes,
                &Doing { actor: "cli:bench".to_owned(), purpose: None, at: now },
            )
            .await?;
        Ok(key)
    }

    /// One number.
    pub async fn count(&self, query: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(&self.pool).await?)
    }
}

/// A process of the service. Dropped, it is killed.
pub struct Service {
    child: Child,
    pub http: SocketAddr,
    /// From its start to the line that says it serves.
    pub startup: Duration,
}

impl Service {
    pub fn cpu(&self) -> f64 {
        self.child.id().map_or(0.0, machine::cpu_of)
    }

    /// Most memory it has had in use, in MiB.
    pub fn peak_rss(&self) -> f64 {
        self.child.id().map_or(0.0, machine::peak_rss)
    }
}

/// The simulated provider as a process.
pub struct Provider {
    child: Child,
    pub address: SocketAddr,
}

impl Provider {
    pub fn cpu(&self) -> f64 {
        self.child.id().map_or(0.0, machine::cpu_of)
    }
}

/// Images are left alone unless `more` says what is done with them.
/// The vault's one key, whose id is `bench`.
pub const VAULT_KEY: &str = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMzI=";

fn configuration(database: &str, provider: SocketAddr, more: &str) -> String {
    let images = if more.contains("[images]") { "" } else { "[images]\nmode = \"off\"" };
    format!(
        r#"
[http]
listen = "127.0.0.1:0"
[operations]
listen = "127.0.0.1:0"
[database]
url = "{database}"
[sources.app]
secrets = ["{SECRET}"]
{images}
[[vault.keys]]
id = "bench"
secret = "{VAULT_KEY}"
[provider]
endpoint = "http://{provider}"
access_key_id = "provider-key"
access_key_secret = "provider-secret"
{more}
"#
    )
}

/// Waits for the line that says it serves; its address, of a worker that of its metrics.
async fn serving(log: &PathBuf) -> anyhow::Result<SocketAddr> {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(log)?;
        let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let serving =
            events.into_iter().find(|event: &serde_json::Value| event["message"] == "serving");
        if let Some(event) = serving {
            let address = |name: &str| event[name].as_str().and_then(|text| text.parse().ok());
            return address("http").or_else(|| address("operations")).context("no address");
        }
        if started.elapsed() > Duration::from_mins(1) {
            let _ = std::io::stderr().write_all(text.as_bytes());
            bail!("the service does not start");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
