//! One private Postgres for all tests of a run, with a separate database for each test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use private_postgres::{Mode, Programs, Server, folder_of_this_process};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;
use verdict::store::{SchemaName, Settings, Store};

use super::proxy::Proxy;

const TEMPLATE: &str = "verdict_template";

/// The server runs as long as this process and stops with it.
static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A migrated database nobody else uses.
#[derive(Clone, Debug)]
pub struct Database {
    pub url: String,
    /// The schema of the tables; `None`: where the role's `search_path` leads.
    pub schema: Option<&'static str>,
}

impl Database {
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: None }
    }

    /// The same database with its tables in this schema.
    pub fn in_schema(&self, schema: &'static str) -> Self {
        Self { schema: Some(schema), ..self.clone() }
    }

    /// Opens a pool on this database.
    pub async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url).await.expect("the test database answers")
    }

    /// The store on it.
    pub fn store(&self) -> Store {
        self.store_that_waits(std::time::Duration::from_secs(10))
    }

    /// Its statements may take this long.
    pub fn store_that_waits(&self, timeout: std::time::Duration) -> Store {
        let url = self.url.clone().into();
        let schema = self.schema.map(|name| SchemaName::parse(name).expect("a good name"));
        Store::new(&Settings { url, max_connections: 8, timeout, schema }).expect("a good URL")
    }

    /// The same database behind a proxy that can misbehave.
    pub async fn behind_proxy(&self) -> (Self, Proxy) {
        let mut url = Url::parse(&self.url).expect("a URL");
        let port = url.port().expect("a port");
        let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        url.set_port(Some(proxy.address().port())).expect("a port");
        (Self { url: url.into(), ..self.clone() }, proxy)
    }

    /// Moves the clock by which work falls due and leases end.
    pub async fn shift_clock(&self, seconds: i64) {
        let statement = format!(
            "create or replace function verdict_now() returns timestamptz language sql stable
             parallel safe return statement_timestamp() + interval '{seconds} seconds'"
        );
        self.pool().await.execute(AssertSqlSafe(statement)).await.expect("replace the clock");
    }
}

/// Postgres' programs: those of `PG_BIN`, and of the major version that `PG_MAJOR` asks for.
pub fn programs() -> Programs {
    let pg_bin = std::env::var_os("PG_BIN");
    let pg_bin = pg_bin.as_deref().map(Path::new);
    let found = match std::env::var("PG_MAJOR") {
        Ok(major) => {
            let major = major.parse().expect("PG_MAJOR is a number such as 18");
            Programs::find_major(pg_bin, major)
        }
        Err(_) => Programs::find(pg_bin),
    };
    found.unwrap_or_else(|error| panic!("{error}"))
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        // A separate thread and runtime, because those of a test end with it.
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let server = runtime.expect("a runtime").block_on(async {
                let programs = programs();
                let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
                let folder = folder_of_this_process(folder, "postgres");
                let server = Server::start(&programs, &folder, Mode::ThrowAway).await?;
                prepare(&server).await.expect("the template database");
                Ok::<_, private_postgres::Error>(server)
            });
            server.expect("a private Postgres")
        })
        .join()
        .expect("the server's thread")
    })
}

async fn prepare(server: &Server) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&server.url("postgres")).await?;
    connection.execute(AssertSqlSafe(format!("create database {TEMPLATE}"))).await?;
    connection.close().await?;
    let url = server.url(TEMPLATE).into();
    let timeout = std::time::Duration::from_secs(10);
    let store = Store::new(&Settings { url, max_connections: 2, timeout, schema: None })
        .expect("a good URL");
    store.migrate().await.expect("migrations apply");
    store.close().await;
    Ok(())
}

/// Makes a migrated one.
pub async fn new_database() -> Database {
    make(TEMPLATE).await
}

/// Makes one without anything in it.
pub async fn empty_database() -> Database {
    make("template0").await
}

async fn make(template: &str) -> Database {
    let server = tokio::task::spawn_blocking(server).await.expect("the server");
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let mut connection =
        PgConnection::connect(&server.url("postgres")).await.expect("the server answers");
    connection
        .execute(AssertSqlSafe(format!("create database {name} template {template}")))
        .await
        .expect("a new database");
    connection.close().await.expect("closed");
    Database::at(server.url(&name))
}
