//! The section about the console.

use std::net::SocketAddr;

use url::Url;

use super::checks::{address, secret, web_address};
use super::error::{self, Collector, ConfigErrors, wrong};
use super::raw::Config;
use super::validate::Console;
use crate::console;

const PUBLIC_URL: &str = "console.public_url";

impl Config {
    /// Where people are served. `None`: nowhere.
    pub fn console_listen(&self) -> error::Result<Option<SocketAddr>> {
        let text = &self.console.listen;
        if text.is_empty() { Ok(None) } else { address("console.listen", text).map(Some) }
    }

    /// Where browsers reach the console. `None`: where it listens.
    pub fn console_url(&self) -> error::Result<Option<Url>> {
        if self.console.public_url.is_empty() {
            return Ok(None);
        }
        let url = web_address(PUBLIC_URL, &self.console.public_url)?;
        // The cookie is for the whole host, and addresses on the pages begin at its root.
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return wrong(PUBLIC_URL, "must be an origin, like https://console.example.com");
        }
        Ok(Some(url))
    }

    /// Everything about the console, or `None` where there is none.
    pub(super) fn console(&self) -> Result<Option<Console>, ConfigErrors> {
        let mut found = Collector::default();
        let listen = found.take(self.console_listen());
        let public_url = found.take(self.console_url());
        let oidc = found.take(self.oidc());
        let audit = found.take(self.audit());
        found.finish(|| {
            let (public_url, oidc, audit) = (public_url?, oidc?, audit?);
            let kept = &self.retention;
            let retention = console::RetentionClocks {
                persons: kept.person_days > 0,
                images: kept.images_days > 0,
                callbacks: kept.callbacks_days > 0,
            };
            Some(listen?.map(|listen| Console {
                listen,
                console: console::Settings { public_url, oidc, retention, audit },
            }))
        })
    }

    /// The provider of OpenID Connect. `None`: people sign in by password alone.
    fn oidc(&self) -> Result<Option<console::signing_in::oidc::Settings>, ConfigErrors> {
        let raw = &self.console.oidc;
        if raw.issuer.is_empty() {
            return Ok(None);
        }
        let mut found = Collector::default();
        let issuer = found.take(web_address("console.oidc.issuer", &raw.issuer));
        if raw.client_id.is_empty() {
            found.take(wrong::<()>("console.oidc.client_id", "is required with an issuer"));
        }
        let file = raw.client_secret_file.as_deref();
        let secret = found.take(secret("console.oidc.client_secret", &raw.client_secret, file));
        if secret.as_ref().is_some_and(|secret| secret.is_empty()) {
            found.take(wrong::<()>("console.oidc.client_secret", "is required with an issuer"));
        }
        if self.console.public_url.is_empty() {
            found.take(wrong::<()>(PUBLIC_URL, "is required with console.oidc.issuer"));
        }
        found.finish(|| {
            // The issuer is compared letter by letter with what the provider says of itself.
            issuer?;
            Some(Some(console::signing_in::oidc::Settings {
                issuer: raw.issuer.clone(),
                client_id: raw.client_id.clone(),
                client_secret: secret?.as_str().into(),
            }))
        })
    }
}
