//! Decides which links may be followed, and which addresses may be connected to. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Why a link is not followed. A closed list: it goes to logs and to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No URL at all.
    #[error("not-a-url")]
    NotAUrl,
    /// Neither `https` nor `http`.
    #[error("scheme")]
    Scheme,
    /// A user or a password stands before the host.
    #[error("user-info")]
    UserInfo,
    /// Not the port of its scheme, nor one the list names.
    #[error("port")]
    Port,
    /// Not on the list.
    #[error("host")]
    Host,
    /// Leads to an address that is not a public one.
    #[error("address")]
    Address,
}

/// The hosts that links may lead to.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts {
    patterns: Vec<Pattern>,
    /// Scheme, host and port of a simulated provider on this machine, which serves its own images.
    simulated: Option<Url>,
}

#[derive(Clone, Debug)]
struct Pattern {
    name: String,
    /// `*.name`: everything below it, not itself.
    below: bool,
}

impl AllowedHosts {
    /// Names, and `*.name` for everything below one. `None`: one of them is neither.
    pub fn parse<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let patterns = hosts.into_iter().map(Pattern::parse).collect::<Option<_>>()?;
        Some(Self { patterns, simulated: None })
    }

    /// Also everything at this endpoint, if it is on this machine: a simulated provider's images.
    #[must_use]
    pub fn and_simulated(mut self, endpoint: &Url) -> Self {
        let loopback = match endpoint.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        self.simulated = loopback.then(|| endpoint.clone());
        self
    }

    /// The link as it may be followed. Plain `http` to the default port becomes `https`: signed
    /// links are good for both, and a face does not travel in the clear.
    pub fn admit(&self, link: &str) -> Result<Url, Refusal> {
        let mut url = Url::parse(link.trim()).map_err(|_| Refusal::NotAUrl)?;
        if !["https", "http"].contains(&url.scheme()) {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        url.set_fragment(None);
        if self.is_simulated(&url) {
            return Ok(url);
        }
        // None where it is the scheme's own.
        if url.port().is_some() {
            return Err(Refusal::Port);
        }
        match url.host() {
            None => return Err(Refusal::Host),
            // Decimal and octal spellings are addresses by now (WHATWG URL, 3.5).
            Some(Host::Ipv4(address)) => vet(address.into())?,
            Some(Host::Ipv6(address)) => vet(address.into())?,
            Some(Host::Domain(_)) => {}
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
        if !self.patterns.iter().any(|pattern| pattern.fits(&host)) {
            return Err(Refusal::Host);
        }
        // Cannot fail: both schemes are special ones.
        let _ = url.set_scheme("https");
        Ok(url)
    }

    /// At the simulated provider's own scheme, host and port.
    fn is_simulated(&self, url: &Url) -> bool {
        self.simulated.as_ref().is_some_and(|simulated| simulated.origin() == url.origin())
    }

    /// Whether that name may lead to this machine: the simulated provider's alone.
    pub fn may_be_loopback(&self, name: &str) -> bool {
        self.simulated.as_ref().and_then(Url::host_str) == Some(name)
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let label = |label: &str| {
            let bytes = label.as_bytes();
            (1..=63).contains(&bytes.len())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        };
        let fits = name.split('.').all(label) && name.contains('.');
        // An address has no name to be resolved and vetted.
        let named = name.parse::<IpAddr>().is_err();
        (fits && named).then(|| Self { name: name.to_ascii_lowercase(), below })
    }

    fn fits(&self, host: &str) -> bool {
        match (self.below, host.strip_suffix(&self.name)) {
            (false, Some(before)) => before.is_empty(),
            (true, Some(before)) => before.len() > 1 && before.ends_with('.'),
            (_, None) => false,
        }
    }
}

/// Refuses every address that is not an ordinary public one: the special-purpose registries of
/// IANA (RFC 6890 and its successors), and for IPv6 everything outside `2000::/3`, which is where
/// public ones are given out.
pub fn vet(address: IpAddr) -> Result<(), Refusal> {
    let public = match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    };
    if public { Ok(()) } else { Err(Refusal::Address) }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [([u8; 4], u32); 16] = [
        ([0, 0, 0, 0], 8),        // this network
        ([10, 0, 0, 0], 8),       // private
        ([100, 64, 0, 0], 10),    // carrier-grade NAT; Alibaba Cloud's own metadata is here
        ([127, 0, 0, 0], 8),      // loopback
        ([168, 63, 129, 16], 32), // Azure's own service for its machines
        ([169, 254, 0, 0], 16),   // link-local; metadata of most clouds
        ([172, 16, 0, 0], 12),    // private
        ([192, 0, 0, 0], 24),     // protocol assignments
        ([192, 0, 2, 0], 24),     // documentation
        ([192, 88, 99, 0], 24),   // 6to4 relays
        ([192, 168, 0, 0], 16),   // private
        ([198, 18, 0, 0], 15),    // benchmarks
        ([198, 51, 100, 0], 24),  // documentation
        ([203, 0, 113, 0], 24),   // documentation
        ([224, 0, 0, 0], 4),      // multicast
        ([240, 0, 0, 0], 4),      // reserved, broadcast
    ];
    let bits = u32::from(address);
    !SPECIAL.iter().any(|(net, length)| (bits ^ u32::from_be_bytes(*net)) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    const SPECIAL: [(u128, u32); 4] = [
        (0x2001 << 112, 23),     // protocol assignments: Teredo, ORCHID, benchmarks
        (0x2001_0db8 << 96, 32), // documentation
        (0x2002 << 112, 16),     // 6to4: carries an IPv4 address
        (0x3fff << 112, 20),     // documentation
    ];
    let bits = u128::from(address);
    let within = |net: u128, length: u32| (bits ^ net) >> (128 - length) == 0;
    within(0x2000 << 112, 3) && !SPECIAL.iter().any(|(net, length)| within(*net, *length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> AllowedHosts {
        AllowedHosts::parse(["*.aliyuncs.com", "images.example.com"]).unwrap()
    }

    #[test]
    fn links_to_allowed_hosts_are_admitted_and_never_in_the_clear() {
        for (link, admitted) in [
            (
                "https://b.oss-cn-hangzhou.aliyuncs.com/a.jpg?x=1",
                "https://b.oss-cn-hangzhou.aliyuncs.com/a.jpg?x=1",
            ),
            (" http://b.oss.aliyuncs.com/a.jpg \n", "https://b.oss.aliyuncs.com/a.jpg"),
            ("http://B.OSS.ALIYUNCS.COM:80/a", "https://b.oss.aliyuncs.com/a"),
            ("https://images.example.com:443/", "https://images.example.com/"),
        ] {
            assert_eq!(hosts().admit(link).map(String::from), Ok(admitted.to_owned()), "{link}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (link, refusal) in [
            ("", Refusal::NotAUrl),
            ("//x.aliyuncs.com/a", Refusal::NotAUrl),
            ("https://", Refusal::NotAUrl),
            ("ftp://x.aliyuncs.com/a", Refusal::Scheme),
            ("file:///etc/passwd", Refusal::Scheme),
            ("gopher://x.aliyuncs.com/", Refusal::Scheme),
            ("data:image/png;base64,AA==", Refusal::Scheme),
            ("https://me@x.aliyuncs.com/a", Refusal::UserInfo),
            ("https://me:pw@x.aliyuncs.com/a", Refusal::UserInfo),
            ("https://x.aliyuncs.com@127.0.0.1/", Refusal::UserInfo),
            ("https://x.aliyuncs.com:8443/a", Refusal::Port),
            ("http://x.aliyuncs.com:443/a", Refusal::Port),
            ("http://x.aliyuncs.com:22/a", Refusal::Port),
            ("https://aliyuncs.com/a", Refusal::Host),
            ("https://.aliyuncs.com/a", Refusal::Host),
            ("https://xaliyuncs.com/a", Refusal::Host),
            ("https://x.aliyuncs.com.evil.example/a", Refusal::Host),
            ("https://sub.images.example.com/", Refusal::Host),
            ("https://localhost/", Refusal::Host),
            ("https://8.8.8.8/", Refusal::Host),
            ("https://[2606:4700::1]/", Refusal::Host),
            // Addresses, however they are spelt.
            ("http://127.0.0.1/", Refusal::Address),
            ("http://127.1/", Refusal::Address),
            ("http://2130706433/", Refusal::Address),
            ("http://0x7f000001/", Refusal::Address),
            ("http://0177.0.0.1/", Refusal::Address),
            ("http://①②⑦.0.0.1/", Refusal::Address),
            ("http://0/", Refusal::Address),
            ("http://10.1.2.3/", Refusal::Address),
            ("http://172.31.255.255/", Refusal::Address),
            ("http://192.168.0.1/", Refusal::Address),
            ("http://169.254.169.254/latest/meta-data", Refusal::Address),
            ("http://169.254.170.2/v2/credentials", Refusal::Address),
            ("http://168.63.129.16/machine", Refusal::Address),
            ("http://192.0.0.192/opc/v2", Refusal::Address),
            ("http://100.100.100.200/latest/meta-data", Refusal::Address),
            ("http://198.19.0.1/", Refusal::Address),
            ("http://224.0.0.1/", Refusal::Address),
            ("http://255.255.255.255/", Refusal::Address),
            ("http://[::]/", Refusal::Address),
            ("http://[::1]/", Refusal::Address),
            ("http://[::ffff:127.0.0.1]/", Refusal::Address),
            ("http://[::ffff:8.8.8.8]/", Refusal::Address),
            ("http://[::127.0.0.1]/", Refusal::Address),
            ("http://[::ffff:0:127.0.0.1]/", Refusal::Address),
            ("http://[fd00:ec2::254]/latest/meta-data", Refusal::Address),
            ("http://[5f00::1]/", Refusal::Address),
            ("http://[64:ff9b::7f00:1]/", Refusal::Address),
            ("http://[64:ff9b:1::a00:1]/", Refusal::Address),
            ("http://[2002:7f00:1::]/", Refusal::Address),
            ("http://[2001::7f00:1]/", Refusal::Address),
            ("http://[2001:db8::1]/", Refusal::Address),
            ("http://[fe80::1]/", Refusal::Address),
            ("http://[fec0::1]/", Refusal::Address),
            ("http://[fd00::1]/", Refusal::Address),
            ("http://[ff02::1]/", Refusal::Address),
            ("http://[100::1]/", Refusal::Address),
        ] {
            assert_eq!(hosts().admit(link), Err(refusal), "{link}");
        }
    }

    #[test]
    fn local_sandbox_serves_only_its_own_images() {
        let at = |endpoint: &str| hosts().and_simulated(&Url::parse(endpoint).unwrap());
        let simulated = at("http://127.0.0.1:9000");
        assert!(simulated.admit("http://127.0.0.1:9000/images/face").is_ok());
        for link in ["http://127.0.0.1:9001/", "https://127.0.0.1:9000/", "http://127.0.0.2:9000/"]
        {
            assert!(simulated.admit(link).is_err(), "{link}");
        }
        assert!(simulated.may_be_loopback("127.0.0.1") && !simulated.may_be_loopback("localhost"));
        let real = at("https://cloudauth.aliyuncs.com");
        assert!(real.admit("https://cloudauth.aliyuncs.com:8443/").is_err());
        assert!(!real.may_be_loopback("cloudauth.aliyuncs.com"));
    }

    #[test]
    fn a_list_names_hosts() {
        for bad in
            ["", "*", "*.", "com", "10.0.0.1", "[::1]", "a..b", "https://a.b", "a.b:1", "*.*.a"]
        {
            assert!(AllowedHosts::parse([bad]).is_none(), "{bad}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "8.8.8.8",
            "100.63.255.255",
            "168.63.129.15",
            "100.128.0.0",
            "172.32.0.1",
            "2606:4700::1",
            "2400:3200::1",
        ] {
            assert_eq!(vet(address.parse().unwrap()), Ok(()), "{address}");
        }
    }
}
