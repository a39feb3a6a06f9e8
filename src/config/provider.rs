//! The section about the provider, and the keys of the vault.

use super::checks::{endpoint, given, millis, one_of, read_secret, secret, web_address};
use super::error::{self, Collector, ConfigError, ConfigErrors, wrong};
use super::raw::Config;
use cloudauth::{client, credentials};
use policy::product::Product;
use policy::visible;
use strum::VariantArray;
use url::Url;

use crate::provider::USER_AGENT;
use crate::vault::{Key, KeyRing};

impl Config {
    /// The product of callbacks and starts that name none.
    pub fn product(&self) -> error::Result<Product> {
        let known = Product::VARIANTS.iter().map(|product| (product.as_str(), *product));
        one_of("provider.product", &self.provider.product, &known.collect::<Vec<_>>())
    }

    /// Where face-verify is asked: the main region and a spare one. Empty: at `provider.endpoint`.
    fn face_verify_endpoints(&self) -> Result<Vec<Url>, ConfigErrors> {
        const KEY: &str = "provider.face_verify.endpoints";
        let texts = &self.provider.face_verify.endpoints;
        let mut found = Collector::default();
        if texts.len() > 2 {
            found.take(wrong::<()>(KEY, "must be at most two: the main one and a spare one"));
        }
        let urls: Vec<Option<Url>> =
            texts.iter().map(|text| found.take(endpoint(KEY, text))).collect();
        found.finish(|| urls.into_iter().collect())
    }

    /// Where the provider reports completed verifications. `None`: nowhere.
    pub fn callback_url(&self) -> error::Result<Option<Url>> {
        const KEY: &str = "provider.face_verify.callback_url";
        let text = &self.provider.face_verify.callback_url;
        if text.is_empty() {
            return Ok(None);
        }
        let url = web_address(KEY, text)?;
        if url.fragment().is_some() {
            return wrong(KEY, "must have no fragment");
        }
        Ok(Some(url))
    }

    pub fn provider(&self) -> Result<client::Settings, ConfigErrors> {
        let raw = &self.provider;
        let mut found = Collector::default();
        let endpoint = found.take(endpoint("provider.endpoint", &raw.endpoint));
        let face_verify_endpoints = found.take(self.face_verify_endpoints());
        let signature = found.take(one_of(
            "provider.signature",
            &raw.signature,
            &[("v2", client::SignatureVersion::V2), ("v3", client::SignatureVersion::V3)],
        ));
        let method = found.take(one_of(
            "provider.method",
            &raw.method,
            &[("POST", client::Method::Post), ("GET", client::Method::Get)],
        ));
        let format = found.take(one_of(
            "provider.format",
            &raw.format,
            &[("JSON", client::Format::Json), ("XML", client::Format::Xml)],
        ));
        let connect_timeout =
            found.take(millis("provider.connect_timeout_ms", raw.connect_timeout_ms));
        let timeout = found.take(millis("provider.timeout_ms", raw.timeout_ms));
        found.finish(|| {
            Some(client::Settings {
                endpoint: endpoint?,
                face_verify_endpoints: face_verify_endpoints?,
                region: raw.region.clone(),
                signature: signature?,
                method: method?,
                format: format?,
                connect_timeout: connect_timeout?,
                timeout: timeout?,
                user_agent: USER_AGENT.to_owned(),
            })
        })
    }

    /// Where the access key comes from: the one given here, else the vendor's chain.
    pub fn credentials(&self) -> error::Result<credentials::Settings> {
        let raw = &self.provider;
        let file = given(raw.access_key_secret_file.as_deref());
        let key_secret = match (raw.access_key_secret.as_str(), file) {
            ("", None) => None,
            // Read again after it was refused, so that a corrected file heals without a restart.
            ("", Some(file)) => {
                read_secret("provider.access_key_secret_file", file)?;
                Some(credentials::Secret::File(file.to_owned()))
            }
            (value, None) => Some(credentials::Secret::Value(value.to_owned().into())),
            (_, Some(_)) => {
                return wrong("provider.access_key_secret", "is given twice: here and as a file");
            }
        };
        let token = secret(
            "provider.security_token",
            &raw.security_token,
            raw.security_token_file.as_deref(),
        )?;
        let fixed = match (raw.access_key_id.is_empty(), key_secret) {
            (true, None) => None,
            (false, Some(access_key_secret)) => Some(credentials::Fixed {
                access_key_id: raw.access_key_id.clone(),
                access_key_secret,
                security_token: (!token.is_empty()).then(|| token.as_str().into()),
            }),
            (true, Some(_)) => {
                return wrong("provider.access_key_id", "is required with access_key_secret");
            }
            (false, None) => {
                return wrong("provider.access_key_secret", "is required with access_key_id");
            }
        };
        Ok(credentials::Settings {
            fixed,
            user_agent: Some(USER_AGENT.to_owned()),
            session_name: Some("verdict".to_owned()),
            ..Default::default()
        })
    }

    /// The provider account's name.
    pub fn account(&self) -> error::Result<String> {
        match self.provider.account.as_str() {
            "" => wrong("provider.account", "must not be empty"),
            hidden if !visible::is_line(hidden) => {
                wrong("provider.account", "must be visible characters, on one line")
            }
            account => Ok(account.to_owned()),
        }
    }

    /// Whether any key of the vault is configured.
    pub fn has_vault_keys(&self) -> bool {
        !self.vault.keys.is_empty()
    }

    pub fn key_ring(&self) -> Result<KeyRing, ConfigErrors> {
        let mut found = Collector::default();
        if self.vault.keys.is_empty() {
            found.take(wrong::<()>("vault.keys", "at least one is required"));
        }
        // Every one is read before any is given up, so that each mistake is reported.
        let keys: Vec<Option<Key>> =
            (0..self.vault.keys.len()).map(|index| found.take(self.key(index))).collect();
        let keys = found.finish(|| keys.into_iter().collect::<Option<Vec<_>>>())?;
        Ok(KeyRing::new(keys).map_err(|error| ConfigError::new("vault.keys", error))?)
    }

    fn key(&self, index: usize) -> error::Result<Key> {
        let raw = &self.vault.keys[index];
        let name = format!("vault.keys[{index}].secret");
        let text = secret(&name, &raw.secret, raw.secret_file.as_deref())?;
        Key::parse(raw.id.clone(), text.trim())
            .or_else(|error| wrong(format!("vault.keys[{index}]"), error))
    }
}
