//! What a benchmark runs on: a durable Postgres, the real binary, the simulated provider.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use private_postgres::{Mode, Programs, Server};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use verdict::store::{Settings, Store};

use crate::{machine, wal};

/// The secret of the only source, `app`.
pub const SECRET: &str = "whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0";

/// A release binary of the service, and its name in tables.
#[derive(Clone, Debug)]
pub struct Binary {
    pub name: &'static str,
    path: PathBuf,
}

impl Binary {
    /// The one that was built with this program.
    pub fn built() -> Self {
        Self { name: "this build", path: PathBuf::from(env!("CARGO_BIN_EXE_verdict")) }
    }
}

/// Which binaries are measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Binaries {
    /// Another release binary of verdict: both are measured in alternation and compared pair by pair.
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,
    /// The binary that is measured, if not the one built with this program.
    #[arg(long, value_name = "PATH")]
    after: Option<PathBuf>,
}

impl Binaries {
    /// The two to compare, if there are two.
    pub fn pair(&self) -> Option<[Binary; 2]> {
        let before = Binary { name: "before", path: self.before.clone()? };
        Some([before, Binary { name: "after", ..self.measured() }])
    }

    pub fn measured(&self) -> Binary {
        let built = Binary::built();
        Binary { path: self.after.clone().unwrap_or(built.path), name: built.name }
    }
}

/// A private Postgres with durable settings, in a folder that is removed with it.
pub struct Environment {
    pub programs: Programs,
    server: Server,
    folder: TempDir,
}

impl Environment {
    /// Starts Postgres and prints what the figures depend on.
    pub async fn new() -> anyhow::Result<Self> {
        let pg_bin = std::env::var_os("PG_BIN");
        Self::on(Programs::find(pg_bin.as_deref().map(Path::new))?).await
    }

    /// The same on the Postgres of these programs.
    pub async fn on(programs: Programs) -> anyhow::Result<Self> {
        // In the target folder: `/tmp` may be a disk in memory, which syncs nothing.
        let folder = TempDir::with_prefix_in("bench-", env!("CARGO_TARGET_TMPDIR"))?;
        println!("{}", machine::fsync_speed(programs.bin(), folder.path()).await?);
        let server =
            Server::start(&programs, &folder.path().join("postgres"), Mode::Durable).await?;
        println!("Postgres {}, fsync on, synchronous_commit on", server.major());
        Ok(Self { programs, server, folder })
    }

    /// Keeps checkpoints and autovacuum out of what is measured: both fall into one round and not
    /// into the next, and are larger than what is to be seen. Tables are vacuumed between rounds.
    pub async fn keep_background_work_out(&self) -> anyhow::Result<()> {
        self.keep_background_work_out_within("32GB").await
    }

    /// The same, with a checkpoint when so much of the write-ahead log is written.
    pub async fn keep_background_work_out_within(&self, log: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await?;
        let log = format!("max_wal_size = '{log}'");
        for setting in [&*log, "checkpoint_timeout = '1h'", "autovacuum = off"] {
            connection.execute(AssertSqlSafe(format!("alter system set {setting}"))).await?;
        }
        connection.execute("select pg_reload_conf()").await?;
        println!("no checkpoint and no autovacuum while measuring");
        Ok(connection.close().await?)
    }

    /// A new, empty database.
    pub async fn empty_database(&self, name: &str) -> anyhow::Result<Database> {
        self.empty_database_of(&Binary::built(), name).await
    }

    async fn empty_database_of(&self, binary: &Binary, name: &str) -> anyhow::Result<Database> {
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        connection.close().await?;
        let url = self.server.url(name);
        let pool = PgPool::connect(&url).await?;
        Ok(Database { url, pool, name: name.to_owned(), binary: binary.clone() })
    }

    /// A new database with the schema in it.
    pub async fn database(&self, name: &str) -> anyhow::Result<Database> {
        self.database_of(&Binary::built(), name).await
    }

    /// A new database with the schema of that binary; services on it are of that binary too.
    pub async fn database_of(&self, binary: &Binary, name: &str) -> anyhow::Result<Database> {
        let database = self.empty_database_of(binary, name).await?;
        self.command(&database, &["migrate"]).await?;
        Ok(database)
    }

    /// A key for the API that may read decisions.
    pub async fn api_key(&self, database: &Database) -> anyhow::Result<String> {
        self.api_key_with(database, "decisions:read").await
    }

    /// A key for the API with these scopes.
    pub async fn api_key_with(&self, database: &Database, scopes: &str) -> anyhow::Result<String> {
        let create = ["keys", "create", "--name", "bench", "--scopes", scopes, "--json"];
        let created: serde_json::Value =
            serde_json::from_slice(&self.command(database, &create).await?)?;
        Ok(created["key"].as_str().context("no key")?.to_owned())
    }

    /// Runs a command of the database's binary; what it prints.
    async fn command(&self, database: &Database, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let config = self.configure(&database.name, database, None, "")?;
        let output = Command::new(&database.binary.path)
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{} cannot be run", database.binary.path.display()))?;
        ensure!(
            output.status.success(),
            "{} {}: {}",
            database.binary.name,
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }

    /// The configuration that a service was started with.
    pub fn config_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    fn configure(
        &self,
        name: &str,
        database: &Database,
        provider: Option<SocketAddr>,
        more: &str,
    ) -> anyhow::Result<PathBuf> {
        let file = self.config_file(name);
        let provider = provider.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9)));
        std::fs::write(&file, configuration(&database.url, provider, more))?;
        Ok(file)
    }

    /// Where the write-ahead log ends.
    pub async fn wal_position(&self, database: &Database) -> anyhow::Result<WalPosition> {
        let (text, bytes) = sqlx::query_as(
            "select lsn::text, (lsn - '0/0')::float8 from pg_current_wal_flush_lsn() as lsn",
        )
        .fetch_one(&database.pool)
        .await?;
        Ok(WalPosition { text, bytes })
    }

    /// What is in the write-ahead log between two positions.
    pub async fn wal_between(
        &self,
        from: &WalPosition,
        to: &WalPosition,
    ) -> anyhow::Result<wal::Written> {
        // Reads write nothing, and pg_waldump takes an empty stretch for an error.
        if from.text == to.text {
            return Ok(wal::Written::default());
        }
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await?;
        let data: String =
            sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await?;
        connection.close().await?;
        wal::between(self.programs.bin(), Path::new(&data), &from.text, &to.text).await
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
        let config = self.configure(name, database, provider, more)?;
        let log = self.folder.path().join(format!("{name}.log"));
        let started = Instant::now();
        let child = Command::new(&database.binary.path)
            .args(["serve", "--role", role, "--config"])
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let (http, operations, console) = serving(&log).await?;
        let startup = started.elapsed();
        Ok(Service { child, http, operations, console, startup })
    }

    /// Starts the simulated provider, without latency or limit.
    pub async fn provider(&self) -> anyhow::Result<Provider> {
        self.provider_with(&[]).await
    }

    /// Starts it with these arguments as well.
    pub async fn provider_with(&self, more: &[String]) -> anyhow::Result<Provider> {
        let mut child = Command::new(Binary::built().path)
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

/// A place in the write-ahead log.
pub struct WalPosition {
    text: String,
    pub bytes: f64,
}

/// A database of the environment.
pub struct Database {
    pub url: String,
    pub pool: PgPool,
    name: String,
    binary: Binary,
}

impl Database {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store on it.
    pub fn store(&self, max_connections: u32) -> anyhow::Result<Store> {
        let url = self.url.clone().into();
        let timeout = Duration::from_mins(1);
        Ok(Store::new(&Settings { url, max_connections, timeout, schema: None })?)
    }

    /// One number.
    pub async fn count(&self, query: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(&self.pool).await?)
    }

    /// What autovacuum would have done since the last round.
    pub async fn vacuum(&self) -> anyhow::Result<()> {
        self.pool.execute("vacuum analyze").await?;
        Ok(())
    }
}

/// A process of the service. Dropped, it is killed.
pub struct Service {
    child: Child,
    /// Of a worker, that of its operations.
    pub http: SocketAddr,
    pub operations: SocketAddr,
    /// `None`: `[console] listen` is not set.
    pub console: Option<SocketAddr>,
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

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
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

/// The vault's one key, whose id is `bench`.
pub const VAULT_KEY: &str = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMzI=";

/// Images are off unless `more` configures them.
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

/// Waits for the line that says it serves: the addresses for callers, for operations and of the
/// console.
async fn serving(log: &PathBuf) -> anyhow::Result<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(log)?;
        let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let serving =
            events.into_iter().find(|event: &serde_json::Value| event["message"] == "serving");
        if let Some(event) = serving {
            let address = |name: &str| event[name].as_str().and_then(|text| text.parse().ok());
            let operations = address("operations").context("no address")?;
            return Ok((address("http").unwrap_or(operations), operations, address("console")));
        }
        if started.elapsed() > Duration::from_mins(1) {
            let _ = std::io::stderr().write_all(text.as_bytes());
            bail!("the service does not start");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
