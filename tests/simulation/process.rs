//! The processes of the service: workers, and intakes that accept callbacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::domain::source::Groups;
use verdict::images::Downloader;
use verdict::policies::active::ActivePolicies;
use verdict::policies::cache::PolicyCache;
use verdict::provider::Provider;
use verdict::store::Store;
use verdict::store::callbacks::Accepting;
use verdict::store::signals::Signals;
use verdict::vault::{AuditSeal, PersonIndex};
use verdict::worker::{Deliveries, Images, Worker};

use super::defects::Defect;
use super::provider;
use super::proxy::Line;
use super::sim::Sim;
use super::world::{World, store_at};

/// How long an unfinished verification is asked about.
pub const WINDOW: Duration = Duration::from_mins(40);
/// Connections of one process.
const CONNECTIONS: u32 = 12;

/// A process is started with these.
pub struct Surroundings<'a> {
    pub world: &'a World,
    pub sim: Arc<Sim>,
    pub clock: Clock,
    pub defect: Option<&'static Defect>,
    /// Every line to the database, for the end.
    pub lines: std::sync::Mutex<Vec<Arc<Line>>>,
}

impl Surroundings<'_> {
    /// A new line to the database, and the URL for it.
    pub fn line(&self, actor: &str) -> (Arc<Line>, String) {
        let (path, url) = self.world.socket();
        let upstream = (&self.world.sessions, self.world.upstream);
        let line = Line::start(&self.sim, actor, upstream, self.defect, &path);
        self.lines.lock().expect("not poisoned").push(Arc::clone(&line));
        (line, url)
    }
}

/// One worker.
pub struct WorkerProcess {
    pub name: String,
    pub line: Arc<Line>,
    pub signals: Signals,
    stop: CancellationToken,
}

impl WorkerProcess {
    pub async fn start(of: &Surroundings<'_>, name: String, ids: Ids) -> Self {
        let (line, url) = of.line(&name);
        let provider = provider::start(&of.sim, &name).await;
        let (signals, stop) = (Signals::default(), CancellationToken::new());
        let worker = worker(of, &url, &format!("http://{provider}"), signals.clone(), ids);
        tokio::spawn(worker.run(stop.clone()));
        Self { name, line, signals, stop }
    }

    /// From now on nothing that it does has an effect. Statements that it sent may still run.
    pub fn kill(&self) {
        self.line.cut();
        self.stop.cancel();
    }
}

fn worker(of: &Surroundings<'_>, url: &str, provider: &str, signals: Signals, ids: Ids) -> Worker {
    let (config, world) = (&of.world.config, of.world);
    let store = store_at(url, CONNECTIONS);
    let mut client = config.provider().expect("the provider");
    client.endpoint = provider.parse().expect("a URL");
    let credentials = config.credentials().expect("credentials");
    let images = config.images().expect("images");
    let environment = std::iter::empty::<(&str, &str)>().collect();
    let key = |name| world.vault.new_named_key(name).expect("a key").0;
    let (completing, _) = store.start_completing();
    Worker {
        settings: config.worker().expect("settings"),
        completing,
        signals,
        provider: Provider::new(client, credentials, environment, &of.clock, &ids)
            .expect("a client"),
        vault: Arc::clone(&world.vault),
        persons: PersonIndex::new(key("person-index")),
        images: Images {
            mode: images.mode,
            scenes: images.scenes,
            concurrency: images.concurrency,
            downloader: Downloader::new(images.download).expect("a client"),
            archive: None,
            took_micros: AtomicU64::new(0),
        },
        deliveries: Deliveries {
            sender: Arc::clone(&world.sender),
            disable_after: None,
            keep: None,
        },
        audit_seal: AuditSeal::new(key("audit")),
        heads: None,
        groups: Arc::new(Groups::default()),
        policies: ActivePolicies::new(Arc::new(PolicyCache::default()), world.policies.clone()),
        clock: of.clock.clone(),
        ids,
        faults: AtomicBool::new(false),
        store,
    }
}

/// One process that accepts callbacks.
pub struct Intake {
    pub name: String,
    pub line: Arc<Line>,
    pub accepting: Accepting,
    pub store: Store,
    pub ids: Ids,
}

impl Intake {
    pub fn start(of: &Surroundings<'_>, name: String, ids: Ids) -> Self {
        let (line, url) = of.line(&name);
        let store = store_at(&url, CONNECTIONS);
        let (accepting, _) = store.start_accepting(WINDOW, 256);
        Self { name, line, accepting, store, ids }
    }
}
