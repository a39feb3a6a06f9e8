//! A proxy between Verdict and Postgres tries to strip TLS.
//!
//! The host is `0.0.0.0` in all tests: connections to it reach this machine, yet it is no loopback
//! address, so it represents a remote host.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use private_postgres::{Mode, Server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;
use verdict::store::signals::Signals;
use verdict::store::{Error, PoolerSearch, Protection};

use crate::harness::{
    Database, Options, PATIENCE, Setting, eventually, new_database, programs, run_verdict,
};

/// "Let us speak TLS", as every client of Postgres says it first.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Answers every request for TLS with "there is none here" and passes the rest on, as a proxy does
/// that wants to read along.
struct Stripping {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    requests_for_tls: usize,
    /// Bytes that clients sent in the clear.
    in_the_clear: Vec<u8>,
}

impl Stripping {
    async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let record = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(strip(client, upstream, Arc::clone(&record)));
            }
        });
        Self { address, heard }
    }

    fn requests_for_tls(&self) -> usize {
        self.heard.lock().unwrap().requests_for_tls
    }

    fn in_the_clear(&self) -> usize {
        self.heard.lock().unwrap().in_the_clear.len()
    }
}

async fn strip(
    mut client: TcpStream,
    upstream: SocketAddr,
    heard: Arc<Mutex<Heard>>,
) -> std::io::Result<()> {
    let mut first = [0; 8];
    client.read_exact(&mut first).await?;
    let mut server = TcpStream::connect(upstream).await?;
    if first == TLS_REQUEST {
        heard.lock().unwrap().requests_for_tls += 1;
        client.write_all(b"N").await?;
    } else {
        heard.lock().unwrap().in_the_clear.extend(first);
        server.write_all(&first).await?;
    }
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let n = from_client.read(&mut buffer).await?;
            if n == 0 {
                return to_server.shutdown().await;
            }
            heard.lock().unwrap().in_the_clear.extend(&buffer[..n]);
            to_server.write_all(&buffer[..n]).await?;
        }
    };
    tokio::try_join!(there, tokio::io::copy(&mut from_server, &mut to_client))?;
    Ok(())
}

/// The database at another address, with these parameters.
fn at(database: &Database, address: SocketAddr, parameters: &str) -> Database {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_host(Some("0.0.0.0")).unwrap();
    url.set_port(Some(address.port())).unwrap();
    url.set_query(Some(parameters).filter(|parameters| !parameters.is_empty()));
    Database::at(url)
}

fn address_of(database: &Database) -> SocketAddr {
    let url = Url::parse(&database.url).unwrap();
    SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().unwrap()))
}

fn options() -> Options {
    Options { fixed_clock: false, ..Options::default() }
}

#[tokio::test]
async fn commands_send_nothing_to_a_proxy_that_strips_tls() {
    let mut setting = Setting::new(options()).await;
    let proxy = Stripping::before(address_of(&setting.database)).await;
    setting.database = at(&setting.database, proxy.address, "");
    let config = setting.config_file();
    let config = config.to_str().unwrap();
    let commands: [&[&str]; 9] = [
        &["serve"],
        &["serve", "--role", "api"],
        &["serve", "--role", "worker"],
        &["migrate"],
        &["keys", "list"],
        &["audit", "verify"],
        &["vault", "status"],
        &["policy", "list"],
        &["doctor"],
    ];
    // Variables of libpq, which sqlx reads too, must not bring the proxy any nearer.
    let environments: [&[(&str, &str)]; 3] = [
        &[],
        &[("PGSSLMODE", "disable"), ("PGHOST", "127.0.0.1")],
        &[("PGSSLMODE", "prefer"), ("PGHOSTADDR", "127.0.0.1")],
    ];
    for (index, command) in commands.into_iter().enumerate() {
        let arguments = [command, &["--config", config]].concat();
        let before = proxy.requests_for_tls();
        let environment = environments[index % environments.len()];
        // One that is not refused serves on, and must not hang the test.
        let run = tokio::time::timeout(PATIENCE, run_verdict(&arguments, environment)).await;
        let (code, said, error) = run.unwrap_or_else(|_| panic!("{command:?} was not refused"));
        assert_ne!(code, 0, "{command:?} {environment:?}: {said}{error}");
        let told = format!("{said}{error}");
        assert!(told.contains("offers no TLS"), "{command:?}: {told}");
        assert!(told.contains("sslrootcert"), "{command:?} says what to do: {told}");
        assert!(proxy.requests_for_tls() > before, "{command:?} came to the proxy");
        assert_eq!(proxy.in_the_clear(), 0, "{command:?} {environment:?}");
    }
}

#[tokio::test]
async fn listening_connection_sends_nothing_without_tls() {
    let database = new_database().await;
    let proxy = Stripping::before(address_of(&database)).await;
    let store = at(&database, proxy.address, "").store();
    assert_eq!(store.protection(), Protection::VerifyFull);
    let (stop, signals) = (CancellationToken::new(), Signals::default());
    let relay = tokio::spawn({
        let (signals, store, stop) = (signals.clone(), store.clone(), stop.clone());
        async move { signals.relay(&store, stop).await }
    });
    eventually("it tries to listen", || async { (proxy.requests_for_tls() > 0).then_some(()) })
        .await;
    let before = proxy.requests_for_tls();
    signals.work_is_due();
    eventually("it tries to notify", || async {
        (proxy.requests_for_tls() > before).then_some(())
    })
    .await;
    for refused in [store.ping().await, store.inspection().connect_once(PoolerSearch::Usual).await]
    {
        assert!(matches!(refused, Err(Error::Untrusted(_))), "{refused:?}");
    }
    stop.cancel();
    relay.await.unwrap();
    assert_eq!(proxy.in_the_clear(), 0);
}

#[tokio::test]
async fn weaker_sslmode_is_used_and_reported_everywhere() {
    let mut setting = Setting::new(options()).await;
    let proxy = Stripping::before(address_of(&setting.database)).await;
    setting.database = at(&setting.database, proxy.address, "sslmode=prefer");
    let process = setting.serve().await;
    assert!(proxy.in_the_clear() > 0, "this is what verify-full prevents");
    let metrics = setting.get(process.operations, "/metrics").await.text;
    assert!(metrics.contains("verdict_database_tls_info{sslmode=\"prefer\"} 1"), "{metrics}");
    let (_, said, _) = setting.run(&["doctor", "--json"], "").await;
    let items: serde_json::Value = serde_json::from_str(&said).unwrap();
    let items = items.as_array().unwrap();
    let tls = items.iter().find(|item| item["check"] == "database-tls").unwrap();
    assert_eq!(tls["state"], "warning", "{tls}");
    assert!(tls["says"].as_str().unwrap().contains("sslmode=prefer"), "{tls}");
    let (_, _, error) = setting.run(&["keys", "list"], "").await;
    assert!(error.contains("can be read or changed on their way"), "{error}");
    let log = process.kill().await;
    let told = log.iter().any(|line| line.contains("\"sslmode\":\"prefer\""));
    assert!(told, "{log:?}");
}

/// A Postgres that speaks TLS, with a certificate authority made for it.
struct TlsPostgres {
    folder: TempDir,
    server: Server,
    issuer: Issuer<'static, KeyPair>,
    authority: PathBuf,
}

impl TlsPostgres {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let programs = programs();
        let home = folder.path().join("pg");
        let server = Server::start(&programs, &home, Mode::ThrowAway).await.unwrap();
        let (issuer, certificate) = authority();
        let authority = folder.path().join("authority.pem");
        std::fs::write(&authority, certificate).unwrap();
        Self { folder, server, issuer, authority }
    }

    /// From now on with a certificate for that host, by its own authority or by another.
    async fn shows(&self, name: &str, host: &str, issuer: &Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap().pem();
        // Where Postgres can read them, whatever account it runs under.
        let log = self.server.log_path();
        let place = log.parent().unwrap();
        let owner = std::fs::metadata(place).unwrap();
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await.unwrap();
        for (kind, text) in [("cert", certificate), ("key", key.serialize_pem())] {
            let path = place.join(format!("{name}.{kind}"));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
            let path = path.display();
            let set = format!("alter system set ssl_{kind}_file = '{path}'");
            connection.execute(AssertSqlSafe(set)).await.unwrap();
        }
        connection.execute("alter system set ssl = on").await.unwrap();
        connection.execute("select pg_reload_conf()").await.unwrap();
    }

    fn database(&self, parameters: &str) -> Database {
        let url = self.server.url("postgres");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.server.port()));
        at(&Database::at(url), address, parameters)
    }

    fn trusting(&self) -> Database {
        self.database(&format!("sslrootcert={}", self.authority.display()))
    }
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), certificate)
}

/// Waits until the store refuses the server's certificate for this reason: a reload takes a moment.
async fn is_refused_for(database: &Database, why: &str) {
    let store = database.store();
    eventually(why, || async {
        match store.inspection().connect_once(PoolerSearch::Usual).await {
            Err(Error::Untrusted(found)) if found.says().contains(why) => Some(()),
            _ => None,
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_right_host_and_authority_are_trusted() {
    let postgres = TlsPostgres::start().await;
    postgres.shows("good", "0.0.0.0", &postgres.issuer).await;
    let trusting = postgres.trusting().store();
    eventually("TLS is on", || async {
        trusting.inspection().connect_once(PoolerSearch::Usual).await.ok()
    })
    .await;
    trusting.migrate().await.unwrap();
    trusting.ping().await.unwrap();
    let mut setting =
        Setting::on(postgres.trusting(), options(), &verdict::domain::clock::Clock::system()).await;
    let (_, said, _) = setting.run(&["doctor"], "").await;
    assert!(said.contains("verified certificate"), "{said}");

    // The authority is named by the URL alone; a variable that adds one changes nothing.
    setting.database = postgres.database("");
    is_refused_for(&setting.database, "authority that is not trusted").await;
    let config = setting.config_file();
    let authority_file = postgres.authority.to_str().unwrap();
    let (code, _, error) = run_verdict(
        &["migrate", "--config", config.to_str().unwrap()],
        &[("PGSSLROOTCERT", authority_file), ("PGSSLMODE", "require")],
    )
    .await;
    assert_ne!(code, 0);
    assert!(error.contains("authority that is not trusted"), "{error}");
    // A file that is not there is a fault of the configuration.
    setting.database = postgres.database("sslrootcert=/nowhere/ca.pem");
    let (code, _, error) = setting.run(&["migrate"], "").await;
    assert!(code == 2 && error.contains("sslrootcert=/nowhere/ca.pem cannot be read"), "{error}");

    postgres.shows("elsewhere", "db.example.com", &postgres.issuer).await;
    is_refused_for(&postgres.trusting(), "for another host").await;
    postgres.shows("stranger", "0.0.0.0", &authority().0).await;
    is_refused_for(&postgres.trusting(), "authority that is not trusted").await;
    // A weaker mode accepts the same certificate.
    postgres
        .database("sslmode=require")
        .store()
        .inspection()
        .connect_once(PoolerSearch::Usual)
        .await
        .unwrap();
    let TlsPostgres { server, folder, .. } = postgres;
    server.stop().await.unwrap();
    drop(folder);
}
