//! How connections to Postgres are protected on their way: decided by the URL alone.
//!
//! libpq and sqlx take an absent `sslmode` for `prefer`, which a proxy strips by answering "no TLS
//! here". Outside this machine an absent `sslmode` therefore means `verify-full`. The PG* variables
//! of libpq, which sqlx reads as well, decide nothing about TLS: a line in a shell profile must not
//! weaken the connections of a process.

use std::net::IpAddr;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::error::{Error, Result};
use super::parameters;

/// How connections are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// A socket or loopback: nothing leaves this machine.
    Local,
    /// TLS, with a certificate that names the host.
    VerifyFull,
    /// The URL spells this weaker `sslmode`.
    Weaker(&'static str),
}

impl Protection {
    /// For logs, metrics and `verdict doctor`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::VerifyFull => "verify-full",
            Self::Weaker(mode) => mode,
        }
    }
}

/// Reads the URL of one server: the options for every connection, and what protects them.
pub(super) fn read(url: &str) -> Result<(PgConnectOptions, Protection)> {
    let unreadable = |_| Error::Url("cannot be parsed".to_owned());
    let parsed = Url::parse(url).map_err(|_| Error::Url("cannot be parsed".to_owned()))?;
    parameters::understood(&parsed)?;
    let mut options = PgConnectOptions::from_str(&without_target(&parsed)).map_err(unreadable)?;
    // As a URL writes an address of IPv6, no resolver takes it.
    let bare = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(bare) = bare.map(ToOwned::to_owned) {
        options = options.host(&bare);
    }
    let spells = |names: &[&str]| parsed.query_pairs().any(|(name, _)| names.contains(&&*name));
    let local = is_local(&options);
    if !spells(&["sslmode", "ssl-mode"]) {
        options = options.ssl_mode(if local { PgSslMode::Prefer } else { PgSslMode::VerifyFull });
    }
    if !spells(&["sslrootcert", "ssl-root-cert", "ssl-ca"]) {
        // No authority of PGSSLROOTCERT: an empty file of them adds none.
        options = options.ssl_root_cert_from_pem(Vec::new());
    }
    let protection = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => Protection::VerifyFull,
        _ if local => Protection::Local,
        weaker => Protection::Weaker(name(weaker)),
    };
    Ok((options, protection))
}

/// sqlx would warn of a parameter that it does not know.
fn without_target(url: &Url) -> String {
    let is_target = |name: &str| name == parameters::TARGET;
    if !url.query_pairs().any(|(name, _)| is_target(&name)) {
        return url.as_str().to_owned();
    }
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !is_target(name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(others);
    url.into()
}

/// Judged by where the options lead in the end, however the host came into them. A name other than
/// `localhost` may be anybody's, whatever it resolves to today.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

fn name(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(url: &str, protection: Protection) {
        assert_eq!(read(url).unwrap_or_else(|e| panic!("{url}: {e}")).1, protection, "{url}");
    }

    #[test]
    fn absent_sslmode_means_verify_full_outside_this_machine() {
        for host in [
            "db.example.com",
            "db",
            "10.0.0.1",
            "[2001:db8::1]",
            "0.0.0.0",
            "[::]",
            // Names that happen to resolve to loopback, or look as if they did.
            "127.1",
            "2130706433",
            "localhost.",
            "localhost.example.com",
            "db.localhost",
            "127.0.0.1.example.com",
            "%6cocalhost",
        ] {
            is(&format!("postgres://u:p@{host}:5432/d"), Protection::VerifyFull);
            is(&format!("postgresql://u:p@{host}/d?application_name=x"), Protection::VerifyFull);
        }
        is("postgres://u@localhost/d?host=db.example.com", Protection::VerifyFull);
        is("postgres://u@localhost/d?hostaddr=10.0.0.1", Protection::VerifyFull);
        is("postgres:///d?host=db.example.com", Protection::VerifyFull);
        is("postgres://u@db/d#sslmode=disable", Protection::VerifyFull);
        is("postgres://sslmode:disable@db/d", Protection::VerifyFull);
    }

    #[test]
    fn loopback_and_sockets_need_no_tls() {
        for host in
            ["localhost", "LocalHost", "127.0.0.1", "127.9.8.7", "[::1]", "[::ffff:127.0.0.1]"]
        {
            is(&format!("postgres://u@{host}/d"), Protection::Local);
            is(&format!("postgres://u@{host}/d?sslmode=disable"), Protection::Local);
            is(&format!("postgres://u@{host}/d?sslmode=verify-full"), Protection::VerifyFull);
        }
        is("postgres://%2Frun%2Fpostgresql/d", Protection::Local);
        is("postgres:///d?host=/run/postgresql", Protection::Local);
        // sqlx prefers the socket, whatever host comes beside it.
        is("postgres://db.example.com/d?host=/run/postgresql", Protection::Local);
    }

    #[test]
    fn a_weaker_sslmode_counts_only_as_spelt() {
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            is(&format!("postgres://u@db/d?sslmode={mode}"), Protection::Weaker(mode));
            is(&format!("postgres://u@db/d?ssl-mode={mode}"), Protection::Weaker(mode));
            is(&format!("postgres://u@db/d?ssl%6Dode={mode}"), Protection::Weaker(mode));
        }
        is("postgres://u@db/d?sslmode=disable&sslmode=verify-full", Protection::VerifyFull);
        is("postgres://u@db/d?sslmode=verify-full&sslmode=disable", Protection::Weaker("disable"));
        assert!(read("postgres://u@db/d?sslmode=off").is_err());
        assert!(read("postgres://u@db/d?sslmode=").is_err());
    }
}
