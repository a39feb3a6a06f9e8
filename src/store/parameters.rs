//! Which parameters a database URL may have. sqlx passes over those it does not know, so that a
//! wish for more safety (`channel_binding=require`, `ssl=true`) would have no effect and no message.

use url::Url;

use super::error::{Error, Result};

/// What sqlx understands.
const UNDERSTOOD: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    TARGET,
];

/// libpq's choice among several servers. sqlx does not know it: [`super::tls`] takes it out.
pub(super) const TARGET: &str = "target_session_attrs";
/// Its values that a service can use, which writes. All mean the same: the server that takes writes.
const TARGETS: [&str; 3] = ["any", "read-write", "primary"];

/// What people write, and what to write instead.
const INSTEAD: [(&str, &str); 14] = [
    ("ssl", "leave it out, which means sslmode=verify-full outside this machine, or write sslmode"),
    ("requiressl", "write sslmode=require, or leave it out, which means verify-full"),
    ("tls", "leave it out, which means sslmode=verify-full outside this machine, or write sslmode"),
    ("channel_binding", "leave it out: sslmode=verify-full authenticates the server"),
    ("load_balance_hosts", "leave it out: the server that takes writes is used"),
    ("connect_timeout", "set database.timeout_seconds"),
    ("keepalives", "leave it out: keepalives are always on"),
    ("keepalives_idle", "leave it out: keepalives are always on"),
    ("tcp_user_timeout", "set database.timeout_seconds"),
    ("currentSchema", "set database.schema"),
    ("schema", "set database.schema"),
    ("search_path", "set database.schema"),
    ("client_encoding", "leave it out: it is always UTF8"),
    ("connection_limit", "set database.max_connections"),
];

/// Every parameter is understood, and the URL is that of one server.
pub(super) fn understood(url: &Url) -> Result<()> {
    const SEVERAL: &str = "names several hosts in a way that is not supported: write postgres://user@one,two/database";
    if url.host_str().is_some_and(|host| host.contains("%2C")) {
        return refused(SEVERAL);
    }
    for (name, value) in url.query_pairs() {
        if ["host", "hostaddr", "port"].contains(&&*name) && value.contains(',') {
            return refused(SEVERAL);
        }
        if name == TARGET && !TARGETS.contains(&&*value) {
            return refused(
                "has a target_session_attrs that cannot be used, because Verdict writes: leave it out",
            );
        }
        let option = name.strip_prefix("options[").and_then(|name| name.strip_suffix(']'));
        let known = UNDERSTOOD.contains(&&*name) || option.is_some_and(|name| !name.is_empty());
        if !known {
            return Err(Error::Url(complaint(url, &name)));
        }
    }
    Ok(())
}

fn refused<T>(why: &str) -> Result<T> {
    Err(Error::Url(why.to_owned()))
}

fn complaint(url: &Url, name: &str) -> String {
    let instead = INSTEAD.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some((known, instead)) = instead {
        return format!("has the parameter {known}, which is not supported: {instead}");
    }
    if let Some(known) = UNDERSTOOD.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return format!("has the parameter {known} in capitals: write it small");
    }
    // The rest of a password that was not percent-encoded looks like a parameter.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let a_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain);
    if url.query().is_some_and(|query| query.contains('@')) || !a_name || name.len() > 40 {
        return "has a parameter that is not supported; in a password write ? as %3F and & as %26"
            .to_owned();
    }
    format!("has the parameter {name}, which is not supported: leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn told(url: &str) -> String {
        match understood(&Url::parse(url).unwrap()) {
            Err(Error::Url(why)) => why,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn parameters_that_would_be_passed_over_are_refused_by_name() {
        for name in [
            "ssl",
            "channel_binding",
            "connect_timeout",
            "sslcrl",
            "gssencmode",
            "require_auth",
            "passfile",
            "service",
            "sslnegotiation",
            "sslpassword",
            "pgbouncer",
            "replication",
            "fallback_application_name",
        ] {
            let why = told(&format!("postgres://u:geheim@db/d?sslmode=require&{name}=true"));
            assert!(why.contains(name) && !why.contains("geheim"), "{why}");
        }
        assert!(told("postgres://u@db/d?SSLMODE=require").contains("sslmode"));
        told("postgres://u@db/d?options[search_path=x");
        told("postgres://u@db/d?options[]=x");
        for good in ["", "?sslmode=require", "?ssl-ca=%2Fx&options[search_path]=x", "?host=%2Frun"]
        {
            understood(&Url::parse(&format!("postgres://u@db/d{good}")).unwrap()).unwrap();
        }
    }

    #[test]
    fn several_hosts_are_refused_where_they_cannot_be_told_apart() {
        for url in [
            "postgres://u@one%2Ctwo/d",
            "postgres://u@one/d?host=two,three",
            "postgres://u@one/d?port=1,2",
        ] {
            assert!(told(url).contains("several hosts"), "{url}");
        }
    }

    #[test]
    fn target_is_a_server_that_takes_writes() {
        for good in ["any", "read-write", "primary"] {
            let url = format!("postgres://u@one/d?target_session_attrs={good}");
            understood(&Url::parse(&url).unwrap()).unwrap();
        }
        for wrong in ["read-only", "standby", "prefer-standby", ""] {
            let why = told(&format!("postgres://u@one/d?target_session_attrs={wrong}"));
            assert!(why.contains("Verdict writes"), "{wrong}: {why}");
        }
    }

    #[test]
    fn a_piece_of_a_password_is_not_repeated() {
        for url in
            ["postgres://u:12?rest@db/d", "postgres://u:12?abc=rest@db/d", "postgres://u@db/d?ü=1"]
        {
            let why = told(url);
            assert!(!why.contains("rest") && !why.contains("abc") && !why.contains('ü'), "{why}");
        }
    }
}
