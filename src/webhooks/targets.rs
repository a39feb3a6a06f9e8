//! Checks the URLs of endpoints. Pure: the addresses of a name are vetted when it is dialled.

use std::net::IpAddr;

use policy::visible;
use url::{Host, Url};

use crate::domain::webhook_endpoint::MAX_URL_BYTES;
use crate::images::guard::vet;

/// The hosts that may be reached by plain http, and whose addresses may be private ones.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    private: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// `*.name`: everything below it, not itself.
    Below(String),
    Address(IpAddr),
}

/// The error for an entry of `allow_private`.
pub const MUST_BE_HOST: &str =
    "must list hosts without scheme and port: names, *.name, or addresses";

impl Targets {
    /// Names, `*.name` for everything below one, and addresses.
    pub fn parse<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Result<Self, &'static str> {
        let private = hosts.into_iter().map(Pattern::parse).collect::<Option<_>>();
        private.map(|private| Self { private }).ok_or(MUST_BE_HOST)
    }

    /// Checks a URL and returns it as it is stored and called.
    pub fn admit(&self, text: &str) -> Result<Url, &'static str> {
        if text.len() > MAX_URL_BYTES {
            return Err("must be at most 2048 bytes");
        }
        if !visible::is_word(text) {
            return Err("must be a URL without blanks and invisible characters");
        }
        let url = Url::parse(text).map_err(|_| "must be a URL, like https://example.com/events")?;
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err("must begin with https://"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user or a password");
        }
        if url.fragment().is_some() {
            return Err("must not contain a fragment (#)");
        }
        if url.as_str().len() > MAX_URL_BYTES {
            return Err("must be at most 2048 bytes, characters outside ASCII encoded");
        }
        let Some(host) = url.host() else { return Err("must name a host") };
        if !self.lists(&host) {
            if plain {
                return Err(
                    "must begin with https://; plain http needs the host in [webhooks] allow_private",
                );
            }
            if is_private(&host) {
                return Err(
                    "must not lead to a private address, unless [webhooks] allow_private lists the host",
                );
            }
        }
        Ok(url)
    }

    /// Whether this host of a URL may be dialled at a private address.
    pub fn may_be_private(&self, host: &str) -> bool {
        Host::parse(host).is_ok_and(|host| self.lists(&host))
    }

    fn lists<S: AsRef<str>>(&self, host: &Host<S>) -> bool {
        self.private.iter().any(|pattern| pattern.fits(host))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Some(Self::Address(address));
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let label = |label: &str| {
            let bytes = label.as_bytes();
            (1..=63).contains(&bytes.len())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // A name whose last label is a number is an address in another notation.
        let numeric = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
        let name = (name.split('.').all(label) && !numeric).then(|| name.to_ascii_lowercase())?;
        Some(if below { Self::Below(name) } else { Self::Name(name) })
    }

    fn fits<S: AsRef<str>>(&self, host: &Host<S>) -> bool {
        match (self, host) {
            (Self::Address(listed), Host::Ipv4(address)) => *listed == IpAddr::from(*address),
            (Self::Address(listed), Host::Ipv6(address)) => *listed == IpAddr::from(*address),
            (Self::Name(listed), Host::Domain(name)) => without_dot(name.as_ref()) == listed,
            (Self::Below(listed), Host::Domain(name)) => {
                let before = without_dot(name.as_ref()).strip_suffix(listed.as_str());
                before.is_some_and(|before| before.len() > 1 && before.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// Removes the dot of the root: a name with it and without it is the same name.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A literal private address, or a name that always resolves to one (RFC 6761).
fn is_private<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Ipv4(address) => vet((*address).into()).is_err(),
        Host::Ipv6(address) => vet((*address).into()).is_err(),
        Host::Domain(name) => {
            let name = without_dot(name.as_ref());
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let hosts = ["localhost", "10.0.0.7", "*.svc.cluster.local", "[fd00::7]", "Receiver"];
        Targets::parse(hosts).unwrap()
    }

    #[test]
    fn https_goes_anywhere_public_and_plain_http_to_listed_hosts() {
        for (given, stored) in [
            ("https://example.com", "https://example.com/"),
            ("https://EXAMPLE.com:8443/a?b=c", "https://example.com:8443/a?b=c"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://例子.example/", "https://xn--fsqu00a.example/"),
            ("http://localhost:3000/hook", "http://localhost:3000/hook"),
            ("http://localhost.:3000/hook", "http://localhost.:3000/hook"),
            ("http://10.0.0.7/", "http://10.0.0.7/"),
            ("http://0xa000007/", "http://10.0.0.7/"),
            ("http://[fd00::7]:80/", "http://[fd00::7]/"),
            ("http://a.b.svc.cluster.local/", "http://a.b.svc.cluster.local/"),
            ("http://receiver:8000/", "http://receiver:8000/"),
        ] {
            let admitted = targets().admit(given).map(String::from);
            assert_eq!(admitted, Ok(stored.to_owned()), "{given}");
        }
        assert!(targets().may_be_private("localhost") && targets().may_be_private("[fd00::7]"));
        assert!(!targets().may_be_private("example.com") && !targets().may_be_private("10.0.0.8"));
    }

    #[test]
    fn everything_else_is_refused_for_what_it_is() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        let wide = format!("https://example.com/{}", "例".repeat(600));
        for (given, said) in [
            ("", "must be a URL"),
            ("example.com", "must be a URL"),
            ("https://", "must be a URL"),
            ("https://example.com/a b", "without blanks"),
            ("https://example.com/\u{202e}", "without blanks"),
            ("https://exam\nple.com/", "without blanks"),
            ("ftp://example.com/", "https://"),
            ("file:///etc/passwd", "https://"),
            ("data:text/plain,a", "https://"),
            ("http://example.com/", "allow_private"),
            ("https://me@example.com/", "a user"),
            ("https://me:pw@example.com/", "a user"),
            ("https://example.com/#a", "fragment"),
            ("https://example.com/#", "fragment"),
            ("https://127.0.0.1/", "private address"),
            ("https://2130706433/", "private address"),
            ("https://0x7f.1/", "private address"),
            ("https://10.0.0.8/", "private address"),
            ("https://169.254.169.254/latest", "private address"),
            ("https://100.100.100.200/", "private address"),
            ("https://[::1]/", "private address"),
            ("https://[::ffff:10.0.0.7]/", "private address"),
            ("https://a.localhost/", "private address"),
            ("https://a.localhost./", "private address"),
            ("http://svc.cluster.local/", "allow_private"),
            ("http://localhost.example.com/", "allow_private"),
            (&long, "at most 2048"),
            (&wide, "at most 2048"),
        ] {
            let refused = targets().admit(given).expect_err(given);
            assert!(refused.contains(said), "{given}: {refused}");
        }
    }

    #[test]
    fn a_list_names_hosts() {
        for bad in
            ["", "*", "*.", "https://a", "a:80", "a/b", "10.0.0.0/8", "0x7f000001", "1.2", "a..b"]
        {
            assert!(Targets::parse([bad]).is_err(), "{bad}");
        }
        assert!(Targets::default().admit("https://localhost/").is_err());
    }
}
