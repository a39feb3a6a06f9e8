//! The name of the schema that holds the tables, where the configuration says one.

use std::fmt;

/// Bytes of the longest name.
const MAX_BYTES: usize = 40;

/// A name that Postgres takes without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// Small letters, digits and `_`, at most 40 bytes; not a name that Postgres keeps for itself.
    ///
    /// # Errors
    ///
    /// The rule that the name breaks.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !begins || !name.chars().all(plain) || name.len() > MAX_BYTES {
            return Err("must be 1 to 40 small letters, digits or _, and not begin with a digit");
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return Err("is a name that Postgres keeps for itself");
        }
        Ok(Self(name.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The statement that has a session find our tables, whatever its role is set to.
    pub(super) fn search_path(&self) -> String {
        format!("set search_path = \"{}\", pg_temp", self.0)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for good in ["verdict", "verdict_2", "_x", &"a".repeat(40)] {
            assert_eq!(SchemaName::parse(good).unwrap().as_str(), good);
        }
        for wrong in [
            "",
            "Verdict",
            "2x",
            "a b",
            "a\"b",
            "a;b",
            "ä",
            "pg_x",
            "information_schema",
            &"a".repeat(41),
        ] {
            assert!(SchemaName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
