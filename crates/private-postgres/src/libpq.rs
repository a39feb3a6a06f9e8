//! Environment variables of libpq. sqlx and Postgres' programs read them too, so a variable that a
//! person has set for another Postgres must not reach a private one.

use std::ffi::OsStr;

/// Whether libpq or a program of Postgres may read a variable of that name: `PG` and a letter. A
/// rule, because new versions add names. `PG_BIN` is ours. `scripts/without-libpq.sh` has the same
/// rule.
pub fn is_libpq_variable(name: &OsStr) -> bool {
    let rest = name.to_str().and_then(|name| name.strip_prefix("PG"));
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    /// The documentation of libpq, "Environment Variables", versions 14 to 18.
    const DOCUMENTED: [&str; 43] = [
        "PGAPPNAME",
        "PGCHANNELBINDING",
        "PGCLIENTENCODING",
        "PGCONNECT_TIMEOUT",
        "PGDATABASE",
        "PGDATESTYLE",
        "PGGEQO",
        "PGGSSDELEGATION",
        "PGGSSENCMODE",
        "PGGSSLIB",
        "PGHOST",
        "PGHOSTADDR",
        "PGKRBSRVNAME",
        "PGLOADBALANCEHOSTS",
        "PGLOCALEDIR",
        "PGMAXPROTOCOLVERSION",
        "PGMINPROTOCOLVERSION",
        "PGOAUTHDEBUG",
        "PGOPTIONS",
        "PGPASSFILE",
        "PGPASSWORD",
        "PGPORT",
        "PGREQUIREAUTH",
        "PGREQUIREPEER",
        "PGREQUIRESSL",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGSSLCERT",
        "PGSSLCERTMODE",
        "PGSSLCOMPRESSION",
        "PGSSLCRL",
        "PGSSLCRLDIR",
        "PGSSLKEY",
        "PGSSLMAXPROTOCOLVERSION",
        "PGSSLMINPROTOCOLVERSION",
        "PGSSLMODE",
        "PGSSLNEGOTIATION",
        "PGSSLROOTCERT",
        "PGSSLSNI",
        "PGSYSCONFDIR",
        "PGTARGETSESSIONATTRS",
        "PGTZ",
        "PGUSER",
    ];
    const OTHERS: [&str; 5] = ["PG_BIN", "PG", "HOME", "DATABASE_URL", "XPGHOST"];

    #[test]
    fn every_documented_variable_is_one_and_ours_is_not() {
        for name in DOCUMENTED {
            assert!(is_libpq_variable(OsStr::new(name)), "{name}");
        }
        for name in OTHERS {
            assert!(!is_libpq_variable(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn cargo_starts_programs_without_any_of_them() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        let settings = std::fs::read_to_string(format!("{root}.cargo/config.toml"));
        let settings: toml::Table = settings.expect("the file").parse().expect("TOML");
        let runner = settings["target"]["cfg(unix)"]["runner"].as_str().expect("a runner");
        let mut command = Command::new(format!("{root}{runner}"));
        command.arg("/usr/bin/env").env_clear().env("PATH", "/usr/bin:/bin");
        command.envs(DOCUMENTED.iter().chain(&OTHERS).map(|name| (name, "two\nPGHOST=lines")));
        let output = command.output().expect("it starts");
        let output = String::from_utf8(output.stdout).expect("text");
        let names: BTreeSet<&str> =
            output.lines().filter_map(|line| line.strip_suffix("=two")).collect();
        assert_eq!(names, BTreeSet::from(OTHERS), "{output}");
        // This process was started so as well.
        let found = std::env::vars_os().find(|(name, _)| is_libpq_variable(name));
        assert_eq!(found, None);
    }
}
