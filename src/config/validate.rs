//! The whole configuration as one checked value, or every mistake in it.

use std::net::SocketAddr;
use std::time::Duration;

use cloudauth::{client, credentials};
use policy::Policy;
use policy::product::Product;
use url::Url;

use super::error::{Collector, ConfigError, ConfigErrors, wrong};
use super::images::Images;
use super::raw::Config;
use crate::audit_log::heads::HeadSettings;
use crate::console;
use crate::domain::case;
use crate::domain::review::FourEyes;
use crate::http::CallbackForm;
use crate::http::body_limits::BodyLimits;
use crate::http::server::Limits;
use crate::http::sources::Sources;
use crate::store;
use crate::telemetry;
use crate::vault::KeyRing;
use crate::webhooks;
use crate::worker;

/// Every value that is no secret and does not depend on the role. All processes and commands check
/// all of it.
pub struct Common {
    pub log: telemetry::Settings,
    /// `None`: traces are exported nowhere.
    pub traces: Option<telemetry::export::Settings>,
    pub operations_listen: SocketAddr,
    pub limits: Limits,
    pub bodies: BodyLimits,
    pub max_batch: usize,
    /// The product of callbacks and starts that name none.
    pub product: Product,
    /// How long an unfinished verification is polled after its last callback.
    pub window: Duration,
    pub account: String,
    pub waits_per_key: usize,
    pub four_eyes: FourEyes,
    pub policies_need_two: bool,
    /// How people work on cases.
    pub reviews: case::Settings,
    pub webhooks: webhooks::Settings,
    /// The heads of the audit, and who signs them.
    pub audit: HeadSettings,
    /// Where users and the provider reach the public listener. `None`: unknown.
    pub public_url: Option<Url>,
    /// Where the provider reports completed verifications of face-verify. `None`: nowhere.
    pub callback_url: Option<Url>,
    /// Whether the public listener serves `/docs`.
    pub docs: bool,
    /// The form on its API page that posts a callback: no key of the file sets it.
    pub callback_form: Option<CallbackForm>,
}

/// The validated configuration of a service of one role.
pub struct Settings {
    pub common: Common,
    pub store: store::Settings,
    /// File descriptors beside the connections of callers.
    pub descriptors: usize,
    pub images: Images,
    /// `None`: no key is configured, and this role needs none.
    pub keys: Option<KeyRing>,
    /// `None`: the role accepts nothing.
    pub accepting: Option<Accepting>,
    /// `None`: the role fetches nothing.
    pub working: Option<Working>,
    /// `None`: people are not served here.
    pub console: Option<Console>,
}

/// What a process of one role does, and so which part of the configuration it needs.
#[derive(Clone, Copy, Debug)]
pub struct RoleParts {
    pub accepts: bool,
    pub works: bool,
    pub people: People,
}

/// Whether a process serves the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    None,
    /// If it is configured.
    Optional,
    Required,
}

impl RoleParts {
    pub const ALL: Self = Self { accepts: true, works: true, people: People::Optional };
}

/// For a process that people work with.
pub struct Console {
    pub listen: SocketAddr,
    pub console: console::Settings,
}

/// The validated configuration of a command that works on the database. A command reads no secret
/// that it does not use: it runs where those of the service are not mounted.
pub struct CommandSettings {
    pub common: Common,
    pub store: store::Settings,
    /// `None`: the command does not use them, or none is configured.
    pub keys: Option<KeyRing>,
}

/// Whether a command uses the keys of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Unused,
    /// Where any is configured.
    Optional,
    Required,
}

/// For a process that accepts and answers.
pub struct Accepting {
    pub listen: SocketAddr,
    /// Where callbacks and returns are served, and nowhere else. `None`: where the API is.
    pub callbacks_listen: Option<SocketAddr>,
    pub sources: Sources,
    /// Starts verifications. A process that only accepts may do without.
    pub starting: Result<ProviderCall, ConfigErrors>,
}

/// How to call the provider.
pub struct ProviderCall {
    pub client: client::Settings,
    pub credentials: credentials::Settings,
}

/// For a process that fetches and decides.
pub struct Working {
    pub worker: worker::Settings,
    pub provider: ProviderCall,
    /// Sources that share verifications.
    pub groups: Vec<(String, String)>,
    /// Seeds an empty database.
    pub seed: Policy,
}

impl Config {
    /// The settings of a service that has these parts.
    pub fn settings(&self, parts: RoleParts) -> Result<Settings, ConfigErrors> {
        let RoleParts { accepts, works, people } = parts;
        let mut found = Collector::new(self.misread.clone());
        let common = found.take(self.common());
        let store = found.take(self.store());
        let images = found.take(self.images());
        let needs_keys = works || self.has_vault_keys();
        // Where a part is not needed, there is none and nothing is wrong with it.
        let accepting = found.take(accepts.then(|| self.accepting()).transpose());
        let keys = found.take(needs_keys.then(|| self.key_ring()).transpose());
        let working = found.take(works.then(|| self.working()).transpose());
        let console = found.take(if people == People::None { Ok(None) } else { self.console() });
        if people == People::Required && matches!(console, Some(None)) {
            found.take(wrong::<()>("console.listen", "is required for the role console"));
        }
        found.finish(|| {
            Some(Settings {
                common: common?,
                store: store?,
                descriptors: self.descriptors_needed(works),
                images: images?,
                keys: keys?,
                accepting: accepting?,
                working: working?,
                console: console?,
            })
        })
    }

    /// The settings of a command that works on the database.
    pub fn for_command(&self, keys: Keys) -> Result<CommandSettings, ConfigErrors> {
        let mut found = Collector::new(self.misread.clone());
        let common = found.take(self.common());
        let store = found.take(self.store());
        let needs_keys = match keys {
            Keys::Unused => false,
            Keys::Optional => self.has_vault_keys(),
            Keys::Required => true,
        };
        let keys = found.take(needs_keys.then(|| self.key_ring()).transpose());
        found.finish(|| Some(CommandSettings { common: common?, store: store?, keys: keys? }))
    }

    /// The text of the policy that seeds an empty database, for a command that needs no database.
    pub fn seed_text(&self) -> Result<String, ConfigErrors> {
        let mut found = Collector::new(self.misread.clone());
        found.take(self.common());
        let text = found.take(self.policy_text());
        found.finish(|| text)
    }

    /// Where the service of this machine tells whether it is ready. Nothing else is checked: a
    /// service keeps its configuration while its files hold a wrong one, and a health check that
    /// failed for these would have it restarted into them.
    pub fn health_address(&self) -> Result<SocketAddr, ConfigErrors> {
        let about_it = |error: &&ConfigError| error.subject == "operations.listen".into();
        match self.misread.iter().find(about_it) {
            Some(error) => Err(error.clone().into()),
            None => Ok(self.operations_listen()?),
        }
    }

    fn common(&self) -> Result<Common, ConfigErrors> {
        let mut found = Collector::default();
        let log = found.take(self.log());
        let operations_listen = found.take(self.operations_listen());
        let limits = found.take(self.limits());
        let bodies = found.take(self.body_limits());
        let max_batch = found.take(self.max_batch());
        let product = found.take(self.product());
        let window = found.take(self.window());
        let account = found.take(self.account());
        let traces = found.take(self.traces());
        let four_eyes = found.take(self.four_eyes());
        let reviews = found.take(self.reviews());
        let waits_per_key = found.take(self.waits_per_key());
        let policies_need_two = found.take(self.policies_need_two());
        let webhooks = found.take(self.webhooks());
        let audit = found.take(self.audit());
        let public_url = found.take(self.public_url());
        let callback_url = found.take(self.callback_url());
        found.finish(|| {
            Some(Common {
                log: log?,
                traces: traces?,
                operations_listen: operations_listen?,
                limits: limits?,
                bodies: bodies?,
                max_batch: max_batch?,
                product: product?,
                window: window?,
                account: account?,
                waits_per_key: waits_per_key?,
                four_eyes: four_eyes?,
                policies_need_two: policies_need_two?,
                reviews: reviews?,
                webhooks: webhooks?,
                audit: audit?,
                public_url: public_url?,
                callback_url: callback_url?,
                docs: self.serves_docs(),
                callback_form: None,
            })
        })
    }

    fn accepting(&self) -> Result<Accepting, ConfigErrors> {
        let mut found = Collector::default();
        let listen = found.take(self.http_listen());
        let callbacks_listen = found.take(self.callbacks_listen());
        let sources = found.take(self.sources());
        let starting = self.client();
        found.finish(|| {
            Some(Accepting {
                listen: listen?,
                callbacks_listen: callbacks_listen?,
                sources: sources?,
                starting,
            })
        })
    }

    fn client(&self) -> Result<ProviderCall, ConfigErrors> {
        let mut found = Collector::default();
        let client = found.take(self.provider());
        let credentials = found.take(self.credentials());
        found.finish(|| Some(ProviderCall { client: client?, credentials: credentials? }))
    }

    fn working(&self) -> Result<Working, ConfigErrors> {
        let mut found = Collector::default();
        let provider = found.take(self.client());
        let worker = found.take(self.worker());
        let seed = found.take(self.seed());
        let groups = self.groups();
        found.finish(|| Some(Working { worker: worker?, provider: provider?, groups, seed: seed? }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::environment::Environment;
    use super::*;

    /// Every value here is wrong, except `images.store`: it leads to `[images.s3]`.
    const WRONG: &str = r#"
        [http]
        listen = "nowhere"
        callbacks_listen = "nowhere"
        max_connections = 0
        header_read_seconds = 0
        first_byte_seconds = -1
        body_read_seconds = 0
        write_stall_seconds = 0
        waits_per_key = 0
        public_url = "http://verdict.example.com"
        [console]
        listen = "nowhere"
        public_url = "nowhere"
        [console.oidc]
        issuer = "nowhere"
        client_id = ""
        client_secret = ""
        [operations]
        listen = "nowhere"
        [database]
        url = "mysql://localhost"
        max_connections = 1
        timeout_seconds = 0
        [callbacks]
        max_batch = 0
        unverified_bytes = 1
        [sources]
        [provider]
        endpoint = "nowhere"
        signature = "v9"
        method = "PUT"
        format = "YAML"
        access_key_id = "alone"
        queries_per_second = 0
        account = ""
        connect_timeout_ms = 0
        timeout_ms = 0
        [provider.face_verify]
        callback_url = "nowhere"
        [[vault.keys]]
        id = "one"
        secret = "short"
        [[vault.keys]]
        id = "two"
        secret = "short"
        [images]
        mode = "keep"
        store = "s3://bucket"
        allowed_hosts = ["http://a"]
        concurrency = 0
        max_bytes = 1
        timeout_ms = 0
        [images.s3]
        endpoint = "nowhere"
        region = "a b"
        credentials = "none"
        [images.scenes]
        one = "keep"
        two = "keep"
        [retention]
        person_days = 40000
        images_days = 40000
        callbacks_days = 40000
        events_days = 40000
        results_days = 40000
        decisions_days = 40000
        [audit]
        origin = "two words"
        head_seconds = 0
        [webhooks]
        allow_private = ["http://a"]
        disable_after_days = 40000
        keep_deliveries_days = 40000
        max_endpoints = 0
        [policy]
        file = "missing.toml"
        [reviews]
        four_eyes = "some"
        target_minutes = 0
        golden_share = 0.6
        again_share = -1
        claim_minutes = 0
        undo_seconds = 61
        [reviews.scene_target_minutes]
        one = -1
        [reviews.reasons.one]
        outcomes = ["review"]
        en = ""
        zh = ""
        [reviews.reveal_purposes.two]
        en = ""
        zh = ""
        [policies]
        four_eyes = "some"
        [worker]
        concurrency = 0
        lease_seconds = 0.5
        drain_seconds = 0
        unfinished_minutes = 0
        unfinished_schedule_ms = []
        backoff_first_ms = 0
        backoff_longest_ms = 0
        unreadable_tries = 0
        transient_tries = 0
        faults_to_open = 0
        longest_probe_seconds = 0
        [log]
        format = "xml"
        filter = "loud"
        [traces]
        endpoint = "nowhere"
        sample = 2
    "#;

    /// The keys of the text, as a mistake names them.
    fn keys(text: &str) -> Vec<String> {
        let mut section = String::new();
        let mut tables = 0;
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line == "[[vault.keys]]" {
                // A key of the vault is one value.
                keys.push(format!("vault.keys[{tables}]"));
                tables += 1;
                section.clear();
            } else if let Some(name) = line.strip_prefix('[') {
                name.trim_end_matches(']').clone_into(&mut section);
                if section == "sources" {
                    keys.push(section.clone());
                }
            } else if !section.is_empty() {
                keys.push(format!("{section}.{}", line.split(' ').next().unwrap_or_default()));
            }
        }
        keys.retain(|key| key != "images.store");
        // The secret that is missing is named, not the id that is there.
        for key in &mut keys {
            if key == "provider.access_key_id" {
                "provider.access_key_secret".clone_into(key);
            }
        }
        keys.sort();
        keys
    }

    #[test]
    fn every_wrong_value_is_reported_at_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("verdict.toml");
        std::fs::write(&file, WRONG).unwrap();
        let config = Config::load(Some(Path::new(&file)), &Environment::new()).unwrap();
        let Err(errors) = config.settings(RoleParts::ALL) else { panic!("it was taken") };
        let mut reported: Vec<String> =
            errors.0.iter().map(|error| error.subject.to_string()).collect();
        reported.sort();
        assert_eq!(reported, keys(WRONG));
    }

    #[test]
    fn default_of_a_misread_key_is_not_reported() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("verdict.toml");
        std::fs::write(&file, "[database]\nurl = { a = 1 }\n").unwrap();
        let config = Config::read(Some(Path::new(&file)), &Environment::new()).unwrap();
        let Err(errors) = config.settings(RoleParts::ALL) else { panic!("it was taken") };
        let about_url = errors.0.iter().filter(|error| error.subject.to_string() == "database.url");
        let problems: Vec<&str> = about_url.map(|error| error.problem.as_str()).collect();
        assert_eq!(problems, ["must be text"]);
    }
}
