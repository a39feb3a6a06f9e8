//! The options of the program, for others that offer it as a command of theirs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Settings;

/// Public, as this source is.
const BUILT_IN_SECRET: &str = "sandbox-secret";

/// How to run the simulated provider.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to listen; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Listen here as well, as the provider's spare region. It knows the same verifications.
    #[arg(long)]
    pub spare_listen: Option<SocketAddr>,
    /// The only access key it knows.
    #[arg(long, default_value = "sandbox-key", env = "VERDICT_SANDBOX_ACCESS_KEY_ID")]
    access_key_id: String,
    /// Its secret. It protects nothing but invented people.
    #[arg(long, default_value = BUILT_IN_SECRET, env = "VERDICT_SANDBOX_ACCESS_KEY_SECRET")]
    access_key_secret: String,
    /// Throttle above this many calls per second, as the real one does; 0: never.
    #[arg(long, default_value_t = 0)]
    queries_per_second: u32,
    /// Throttle deletions of face-verify above this many per second (the provider: 10); 0: as other
    /// calls.
    #[arg(long, default_value_t = 0)]
    deletes_per_second: u32,
    /// Delay every answer by this many milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Delay every image by this many milliseconds.
    #[arg(long, default_value_t = 0)]
    image_latency_ms: u64,
    /// Image links live this many seconds (the provider's live 300).
    #[arg(long, default_value_t = 300)]
    image_seconds: u64,
    /// Picture links of face-verify live this many seconds (the provider's live 900).
    #[arg(long, default_value_t = 900)]
    picture_seconds: u64,
    /// Call back over plain http anywhere, as in a network of containers. Without it: https, or http
    /// on this machine.
    #[arg(long)]
    plain_http_callbacks: bool,
}

impl Options {
    /// Warns where anybody who reaches the address has the key: it listens beyond this machine, and
    /// the secret is the published one.
    pub fn warn_of_built_in_key(&self) {
        let addresses = [Some(self.listen), self.spare_listen];
        let beyond_this_machine = addresses
            .into_iter()
            .flatten()
            .any(|address| !address.ip().to_canonical().is_loopback());
        if beyond_this_machine && self.access_key_secret == BUILT_IN_SECRET {
            tracing::warn!(
                "the simulated provider is reachable from outside with its public built-in access key"
            );
        }
    }

    /// The settings they mean.
    pub fn into_settings(self) -> Settings {
        let mut settings = Settings::new(self.access_key_id, self.access_key_secret.into());
        settings.queries_per_second =
            (self.queries_per_second > 0).then_some(self.queries_per_second);
        settings.deletes_per_second =
            (self.deletes_per_second > 0).then_some(self.deletes_per_second);
        settings.picture_ttl = Duration::from_secs(self.picture_seconds);
        settings.plain_http_callbacks = self.plain_http_callbacks;
        settings.latency = Duration::from_millis(self.latency_ms);
        settings.image_latency = Duration::from_millis(self.image_latency_ms);
        settings.image_ttl = Duration::from_secs(self.image_seconds);
        settings
    }
}
