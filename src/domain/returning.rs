//! A user's return from the provider's page: what the browser says, and where it may be sent. And
//! what the provider's own callback says.

use std::borrow::Cow;
use std::fmt;

use cloudauth::face_verify::{Notice, Return};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::callback::CertifyId;

/// The parameter that a redirect adds.
const VERIFICATION_ID: &str = "verification_id";

/// The only addresses to which the users of a source are redirected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReturnUrls(Vec<Url>);

impl ReturnUrls {
    pub fn new(listed: Vec<Url>) -> Self {
        Self(listed)
    }

    /// The wanted address if it is listed, else the first. `None`: none is listed.
    pub fn choose(&self, wanted: Option<&str>) -> Option<&Url> {
        let wanted = wanted.and_then(|text| Url::parse(text).ok());
        self.0.iter().find(|listed| Some(*listed) == wanted.as_ref()).or_else(|| self.0.first())
    }
}

/// The address with the verification's id in its query.
pub fn with_verification_id(address: &Url, id: &str) -> Url {
    let mut address = address.clone();
    address.query_pairs_mut().append_pair(VERIFICATION_ID, id);
    address
}

/// The query of a return. The user can forge all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    pub certify_id: Option<CertifyId>,
    /// Where the browser is to be sent.
    pub to: Option<String>,
}

impl Returned {
    pub fn parse(query: &str) -> Self {
        let whole = Parameters::of([query]);
        // How the provider appends `response` to an address that has a query is documented nowhere:
        // perhaps behind a second `?`.
        let parameters =
            if whole.has("response") { whole } else { Parameters::of(query.split('?')) };
        let response = parameters.one("response").map(Return::parse).unwrap_or_default();
        Self {
            certify_id: response.certify_id.and_then(|id| CertifyId::parse(&id).ok()),
            to: parameters.one("to").map(ToOwned::to_owned),
        }
    }
}

/// The query of the provider's callback. Anybody can send one.
#[derive(Clone, Debug, Default)]
pub struct Notified {
    pub certify_id: Option<CertifyId>,
    pub token: Option<CallbackToken>,
}

impl Notified {
    pub fn parse(query: &str) -> Self {
        let notice = Notice::parse(query);
        let digest = |token: SecretString| Sha256::digest(token.expose_secret()).into();
        Self {
            certify_id: notice.certify_id.and_then(|id| CertifyId::parse(&id).ok()),
            token: notice.token.map(|token| CallbackToken(digest(token))),
        }
    }
}

/// SHA-256 of the token in a callback of the provider. Its `Debug` shows nothing.
#[derive(Clone, Copy)]
pub struct CallbackToken([u8; 32]);

impl CallbackToken {
    /// Whether the start with this stored digest gave it to the provider. In constant time.
    pub fn is_of(&self, stored: &[u8]) -> bool {
        self.0[..].ct_eq(stored).into()
    }

    pub fn digest(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CallbackToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackToken")
    }
}

struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    fn of(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(parts.into_iter().flat_map(|part| form_urlencoded::parse(part.as_bytes())).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// The value; none if it is given twice.
    fn one(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(other, _)| other == name);
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &str =
        "response=%7B%22code%22%3A1000%2C%22extInfo%22%3A%7B%22certifyId%22%3A%22sha7%22%7D%7D";

    fn listed() -> ReturnUrls {
        let urls = ["https://shop.example/done", "https://shop.example/other?a=1#/end"];
        ReturnUrls::new(urls.map(|url| Url::parse(url).unwrap()).into())
    }

    fn read(query: &str) -> (Option<String>, Option<String>) {
        let returned = Returned::parse(query);
        (returned.certify_id.map(|id| id.to_string()), returned.to)
    }

    #[test]
    fn response_is_found_however_it_was_appended() {
        let id = || Some("sha7".to_owned());
        assert_eq!(read(RESPONSE), (id(), None));
        let to = "to=https%3A%2F%2Fshop.example%2Fother%3Fa%3D1%23%2Fend";
        let wanted = || Some("https://shop.example/other?a=1#/end".to_owned());
        assert_eq!(read(&format!("{to}&{RESPONSE}")), (id(), wanted()));
        assert_eq!(read(&format!("{RESPONSE}&{to}")), (id(), wanted()));
        assert_eq!(read(&format!("{to}?{RESPONSE}")), (id(), wanted()));
        let plain = "to=https://shop.example/x?a=1";
        assert_eq!(
            read(&format!("{plain}&{RESPONSE}")),
            (id(), Some("https://shop.example/x?a=1".to_owned()))
        );
    }

    #[test]
    fn unreadable_or_doubled_parameters_count_as_missing() {
        for query in ["", "?", "response", "response=", "response=%7B", "response=%FF", "&&=&"] {
            assert_eq!(read(query), (None, None), "{query}");
        }
        assert_eq!(read(&format!("{RESPONSE}&{RESPONSE}")), (None, None));
        assert_eq!(read("to=a&to=b"), (None, None));
    }

    #[test]
    fn only_listed_addresses_are_chosen() {
        let urls = listed();
        let choose = |to: &str| urls.choose(Some(to)).unwrap().as_str();
        assert_eq!(urls.choose(None).unwrap().as_str(), "https://shop.example/done");
        assert_eq!(
            choose("https://shop.example/other?a=1#/end"),
            "https://shop.example/other?a=1#/end"
        );
        assert_eq!(choose("HTTPS://SHOP.example:443/done"), "https://shop.example/done");
        for to in [
            "",
            "1",
            "//evil.example",
            "https://evil.example/done",
            "https://shop.example/done/../evil",
            "https://shop.example/done?x",
            "https://shop.example@evil.example/done",
            "https://user@shop.example/done",
            "http://shop.example/done",
            "javascript:alert(1)",
            "https://shop.example/other?a=1",
        ] {
            assert_eq!(choose(to), "https://shop.example/done", "{to}");
        }
        assert_eq!(ReturnUrls::default().choose(Some("https://shop.example/done")), None);
    }

    #[test]
    fn id_is_added_to_the_query_before_the_fragment() {
        let url = listed().0.remove(1);
        assert_eq!(
            with_verification_id(&url, "7").as_str(),
            "https://shop.example/other?a=1&verification_id=7#/end"
        );
    }
}
