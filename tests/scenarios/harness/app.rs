//! The whole service in this process, with a simulated provider and a fixed clock.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use cloudauth_sandbox::{Sandbox, Settings};
use reqwest::redirect::Policy;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::net::TcpListener;
use verdict::app::{self, Role, Running};
use verdict::config::{Config, Environment};
use verdict::domain::clock::Clock;
use verdict::domain::ids::{ApiKeyId, Ids};
use verdict::http::api_key_auth::Scope;
use verdict::store::Store;
use verdict::store::api_keys::KeyTerms;
use verdict::store::audit::AuditContext;
use verdict::vault::api_key;

use super::caller::{Callback, Reply, SECRET, callback};
use super::cluster::{Database, new_database};
use super::eventually;

/// Where every test begins.
const START: OffsetDateTime = datetime!(2026-11-23 09:30:00 UTC);

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    pub role: Role,
    /// More configuration, TOML.
    pub more: String,
    pub queries_per_second: f64,
    /// The provider's secret as configured here; empty: no access key at all.
    pub provider_secret: String,
    /// Signature, method and format of calls.
    pub dialect: [&'static str; 3],
    /// The product of callbacks that name none.
    pub product: &'static str,
    /// Delays between polls of unfinished verifications, in milliseconds.
    pub unfinished_schedule_ms: &'static str,
    pub database: Option<Database>,
    /// Ids of the key ring; each id has its own secret.
    pub vault_keys: &'static [&'static str],
    /// The section about images.
    pub images: String,
    /// Whether the clock is fixed.
    pub fixed_clock: bool,
    /// Clients served at once.
    pub max_connections: usize,
    /// Limits of the public listener, TOML of its section.
    pub http: &'static str,
}

/// Short, so that tests of slow clients are.
const HTTP: &str = "body_read_seconds = 1\nheader_read_seconds = 2\nwrite_stall_seconds = 1";

impl Default for Options {
    fn default() -> Self {
        Self {
            role: Role::All,
            more: String::new(),
            queries_per_second: 1000.0,
            provider_secret: "provider-secret".to_owned(),
            dialect: ["v2", "POST", "JSON"],
            product: "verify-result",
            unfinished_schedule_ms: "[50]",
            database: None,
            vault_keys: &["test"],
            images: "mode = \"off\"".to_owned(),
            fixed_clock: true,
            max_connections: 4096,
            http: HTTP,
        }
    }
}

impl Options {
    pub fn with_dialect(self, dialect: [&'static str; 3]) -> Self {
        Self { dialect, ..self }
    }

    /// Unfinished verifications are asked about every ten minutes.
    pub fn patient(self) -> Self {
        Self { unfinished_schedule_ms: "[600000]", ..self }
    }

    pub fn without_access_key(self) -> Self {
        Self { provider_secret: String::new(), ..self }
    }
}

/// A running service and its surroundings.
pub struct TestApp {
    pub http: SocketAddr,
    pub operations: SocketAddr,
    /// `None`: `[console] listen` is not set.
    pub console: Option<SocketAddr>,
    pub callbacks: Option<SocketAddr>,
    pub database: Database,
    pub store: Store,
    pub provider: Sandbox,
    pub clock: Clock,
    pub client: reqwest::Client,
    pub api_key: String,
    _running: Running,
}

/// A simulated provider that knows key `provider-key` with secret `provider-secret`.
pub async fn provider(clock: &Clock) -> (Sandbox, SocketAddr) {
    let settings = Settings::new("provider-key", "provider-secret".to_owned().into());
    let sandbox = Sandbox::with_sources(settings, clock.into(), (&Ids::random()).into());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = sandbox.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    (sandbox, address)
}

/// The secret of the key-encryption key with this id, in base64.
pub fn vault_secret(id: &str) -> String {
    use base64::Engine;
    let secret = format!("{id:-<32}");
    base64::engine::general_purpose::STANDARD.encode(secret)
}

/// Configuration for the service under test.
pub fn configuration(options: &Options, database: &Database, provider: SocketAddr) -> String {
    let [signature, method, format] = options.dialect;
    // Left out where they are the default: an older version does not know the keys.
    let schema = database.schema.map_or_else(String::new, |name| format!("schema = \"{name}\""));
    let product = match options.product {
        "verify-result" => String::new(),
        other => format!("product = \"{other}\""),
    };
    let vault: String = options
        .vault_keys
        .iter()
        .map(|id| {
            ["[[vault.keys]]\nid = \"", id, "\"\nsecret = \"", &vault_secret(id), "\"\n"].concat()
        })
        .collect();
    let key = if options.provider_secret.is_empty() { "" } else { "provider-key" };
    format!(
        r#"
[http]
listen = "127.0.0.1:0"
{}
max_connections = {}
[operations]
listen = "127.0.0.1:0"
[database]
url = "{}"
{schema}
[sources.app]
secrets = ["{SECRET}"]
[provider]
{product}
endpoint = "http://{provider}"
signature = "{signature}"
method = "{method}"
format = "{format}"
access_key_id = "{key}"
access_key_secret = "{}"
queries_per_second = {:?}
{vault}
[images]
{}
[worker]
unfinished_schedule_ms = {}
backoff_first_ms = 20
{}
"#,
        options.http,
        options.max_connections,
        database.url,
        options.provider_secret,
        options.queries_per_second,
        options.images,
        options.unfinished_schedule_ms,
        options.more
    )
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        let clock = if options.fixed_clock { Clock::fixed(START) } else { Clock::system() };
        let (provider, address) = provider(&clock).await;
        Self::start_beside(options, provider, address, clock).await
    }

    /// One more service on the same database and provider.
    pub async fn another(&self, options: Options, provider: SocketAddr) -> Self {
        let options = Options { database: Some(self.database.clone()), ..options };
        Self::start_beside(options, self.provider.clone(), provider, self.clock.clone()).await
    }

    pub async fn start_beside(
        options: Options,
        provider: Sandbox,
        address: SocketAddr,
        clock: Clock,
    ) -> Self {
        let database = match &options.database {
            Some(database) => database.clone(),
            None => new_database().await,
        };
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(configuration(&options, &database, address).as_bytes()).expect("written");
        let environment = Environment::new();
        let config = Config::load(Some(file.path()), &environment).expect("good configuration");
        let store = database.store();
        let running = app::start(&config, &environment, options.role, clock.clone(), Ids::random())
            .await
            .expect("the service starts");
        if database.url.contains(',') {
            // Unlike the service, this store begins with the first server, which may refuse it.
            eventually("the store finds the server that takes writes", || async {
                store.takes_writes().await.is_ok_and(|found| found).then_some(())
            })
            .await;
        }
        let api_key = make_key(&store, &Scope::ALL).await;
        // Without spare connections: the service may close one at the moment of its next use.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(90))
            .build()
            .expect("a client");
        Self {
            http: running.http.unwrap_or(running.operations),
            operations: running.operations,
            console: running.console,
            callbacks: running.callbacks,
            database,
            store,
            provider,
            clock,
            client,
            api_key,
            _running: running,
        }
    }

    pub async fn post(&self, callback: Callback) -> Reply {
        let url = format!("http://{}/v1/callbacks/{}", self.http, callback.source);
        let mut request = self.client.post(url).body(callback.body);
        for (name, value) in callback.headers {
            request = request.header(name, value);
        }
        Reply::read(request.send().await.expect("an answer")).await
    }

    /// Posts a callback as its senders do: again, as long as the service is busy. On a loaded machine
    /// a connection to the database can take longer than its timeout.
    pub async fn deliver(&self, callback: Callback) -> Reply {
        eventually("the service takes a callback", || async {
            Some(self.post(callback.clone()).await).filter(|reply| reply.status != 503)
        })
        .await
    }

    /// Posts a good callback; its verification's id.
    pub async fn accepted(&self, biz_id: &str) -> String {
        let reply = self.deliver(callback(biz_id, self.clock.now())).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.id()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.get_as(path, &self.api_key).await
    }

    /// As a browser or the provider asks, without a key and without following a redirect.
    pub async fn ask_as_stranger(&self, method: &str, path: &str) -> Reply {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build();
        let method = method.parse().expect("a method");
        let request =
            client.expect("a client").request(method, format!("http://{}{path}", self.http));
        Reply::read(request.send().await.expect("an answer")).await
    }

    pub async fn get_as(&self, path: &str, key: &str) -> Reply {
        let request = self.client.get(format!("http://{}{path}", self.http)).bearer_auth(key);
        Reply::read(request.send().await.expect("an answer")).await
    }

    /// The verification once it has settled.
    pub async fn settled(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/verifications/{id}?wait=30")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let state = reply.json["state"].as_str().unwrap_or("");
        assert!(!["pending", "unfinished"].contains(&state), "not settled: {}", reply.text);
        reply.json
    }

    /// Posts a callback and waits for the end of it.
    pub async fn verified(&self, biz_id: &str) -> Value {
        let id = self.accepted(biz_id).await;
        self.settled(&id).await
    }

    pub async fn results(&self, id: &str) -> Vec<Value> {
        let reply = self.get(&format!("/v1/verifications/{id}/results")).await;
        reply.json["items"].as_array().unwrap_or_else(|| panic!("{reply:?}")).clone()
    }

    pub async fn decisions(&self, id: &str) -> Vec<Value> {
        let reply = self.get(&format!("/v1/verifications/{id}/decisions")).await;
        reply.json["items"].as_array().unwrap_or_else(|| panic!("{reply:?}")).clone()
    }
}

/// A new API key with these scopes, held by a program.
pub async fn make_key(store: &Store, scopes: &[Scope]) -> String {
    make_key_with(store, scopes, &KeyTerms::default()).await.0
}

/// A new API key with these scopes for this person.
pub async fn make_key_of(store: &Store, person: &str, scopes: &[Scope]) -> String {
    let terms = KeyTerms { person: Some(person.to_owned()), ..KeyTerms::default() };
    make_key_with(store, scopes, &terms).await.0
}

/// A new API key, and its id.
pub async fn make_key_with(
    store: &Store,
    scopes: &[Scope],
    terms: &KeyTerms,
) -> (String, ApiKeyId) {
    let key = api_key::generate().expect("randomness");
    let now = OffsetDateTime::UNIX_EPOCH;
    let id: ApiKeyId = Ids::random().next(now);
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: now };
    store
        .api_keys()
        .add_api_key_with(id, "test", &api_key::secret_digest(&key), &scopes, terms, &doing)
        .await
        .expect("a key");
    (key, id)
}
