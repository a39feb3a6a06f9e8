//! The provider as a client: the probe of a `CallbackUrl`, the callback itself, the download of a
//! comparison picture.

use std::time::Duration;

use http::Method;
use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use super::script::{CallbackForm, Finding};
use super::sessions::{CallbackTry, Session};
use crate::Sandbox;
use cloudauth::signing::percent_encode;

/// How long the probe may take. The vendor does not say: long enough for a busy machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

impl Sandbox {
    /// Whether a `CallbackUrl` answers 200, as every start asks first.
    pub(crate) async fn probe(&self, url: &Url, head: bool) -> bool {
        let method = if head { Method::HEAD } else { Method::GET };
        self.call(method, url.clone(), PROBE_TIMEOUT).await == Some(200)
    }

    /// Tells the customer that a verification was submitted: two tries unless one gets 200.
    pub(crate) async fn call_back(&self, session: &Session, finding: &Finding) {
        let form = session.script.person.callback;
        let Some((url, token)) = session.callback.clone() else { return };
        if form == CallbackForm::Never {
            return;
        }
        let url = with_parameters(url, &parameters(session, token.as_deref(), finding));
        for pause in [Duration::ZERO, self.0.settings.callback_pause] {
            tokio::time::sleep(pause).await;
            let timeout = self.0.settings.callback_timeout;
            let status = self.call(Method::GET, url.clone(), timeout).await;
            let certify_id = session.certify_id.clone();
            self.memory().faces.callbacks.push(CallbackTry { certify_id, status });
            tracing::info!(status, "sandbox called back");
            if status == Some(200) {
                return;
            }
        }
    }

    /// A picture by its address, if it comes in time.
    pub(crate) async fn download(&self, url: Url) -> Option<Vec<u8>> {
        let timeout = self.0.settings.download_timeout;
        let response = self.client()?.get(url).timeout(timeout).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        Some(response.bytes().await.ok()?.to_vec())
    }

    async fn call(&self, method: Method, url: Url, timeout: Duration) -> Option<u16> {
        let response = self.client()?.request(method, url).timeout(timeout).send().await.ok()?;
        Some(response.status().as_u16())
    }

    fn client(&self) -> Option<&Client> {
        let build = || {
            Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .user_agent("cloudauth-sandbox")
                .build()
                .ok()
        };
        self.0.client.get_or_init(build).as_ref()
    }
}

/// Https only, as at the vendor; plain http to this machine, or anywhere if `plain_http`.
pub fn acceptable(url: &Url, plain_http: bool) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && (loopback || plain_http))
}

fn parameters(
    session: &Session,
    token: Option<&str>,
    finding: &Finding,
) -> Vec<(&'static str, String)> {
    let form = session.script.person.callback;
    let letter = if finding.passed { "T" } else { "F" }.to_owned();
    let code = finding.sub_code.to_string();
    let id = session.certify_id.clone();
    let mut parameters = Vec::new();
    parameters.extend(token.map(|token| ("callbackToken", token.to_owned())));
    parameters.extend(match form {
        CallbackForm::Documented | CallbackForm::Never => vec![("certifyId", id), ("passed", code)],
        CallbackForm::Letters => vec![("certifyId", id), ("passed", letter)],
        CallbackForm::SubCode => vec![("certifyId", id), ("subCode", code)],
        CallbackForm::LowerCase => vec![("certifyid", id), ("passed", letter), ("subcode", code)],
    });
    parameters
}

/// Appends parameters to whatever the address has, percent-encoded as the vendor's signatures are.
pub fn with_parameters(mut url: Url, parameters: &[(&str, String)]) -> Url {
    let before = url.query().filter(|query| !query.is_empty()).map(str::to_owned);
    let added = parameters.iter().map(|(name, value)| format!("{name}={}", percent_encode(value)));
    let query: Vec<String> = before.into_iter().chain(added).collect();
    url.set_query(Some(&query.join("&")));
    url
}
