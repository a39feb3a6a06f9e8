//! The variables that are keys, and those that were probably meant to be.

use std::collections::{BTreeMap, HashMap};

use super::keys::Shape;

/// The environment of the process, read once.
pub type Environment = BTreeMap<String, String>;

const PREFIX: &str = "VERDICT__";

/// Secrets that can be given as such or as a file.
const EITHER_WAY: [&str; 4] = [
    "VERDICT__CONSOLE__OIDC__CLIENT_SECRET",
    "VERDICT__DATABASE__URL",
    "VERDICT__PROVIDER__ACCESS_KEY_SECRET",
    "VERDICT__PROVIDER__SECURITY_TOKEN",
];

/// Our variables.
pub(super) struct Variables {
    /// As the configuration is given them.
    pub(super) values: HashMap<String, String>,
    /// By key, as they are called.
    pub(super) names: BTreeMap<String, String>,
    /// Ours by their beginning, and no key by the rest.
    pub(super) malformed: Vec<String>,
}

/// Our variables, with `DATABASE_URL` as one of them. One that gives a secret one way takes away
/// what the file says the other way, so that the environment wins.
pub(super) fn variables(environment: &Environment) -> Variables {
    let (ours, malformed): (Vec<_>, Vec<_>) = environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .partition(|(name, _)| key_of(name).split('.').all(is_name));
    let mut values: HashMap<String, String> =
        ours.iter().map(|(name, value)| ((*name).clone(), (*value).clone())).collect();
    let mut names: BTreeMap<String, String> =
        ours.iter().map(|(name, _)| (key_of(name), (*name).clone())).collect();
    if let Some(url) = environment.get("DATABASE_URL")
        && !values.contains_key("VERDICT__DATABASE__URL_FILE")
        && !values.contains_key("VERDICT__DATABASE__URL")
    {
        values.insert("VERDICT__DATABASE__URL".to_owned(), url.clone());
        names.insert("database.url".to_owned(), "DATABASE_URL".to_owned());
    }
    for name in EITHER_WAY {
        let file = format!("{name}_FILE");
        match (values.contains_key(name), values.contains_key(&file)) {
            (true, false) => values.insert(file, String::new()),
            (false, true) => values.insert(name.to_owned(), String::new()),
            _ => None,
        };
    }
    Variables {
        values,
        names,
        malformed: malformed.into_iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// `VERDICT__HTTP__LISTEN` is `http.listen`.
fn key_of(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).to_lowercase().replace("__", ".")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

/// The variable for a key: `VERDICT__VAULT__KEYS` for `vault.keys[0].id`, which has none of its own.
pub(super) fn variable_of(key: &str) -> String {
    let key = key.split('[').next().unwrap_or(key);
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// A variable that is passed over, though it was probably meant as a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misnamed {
    /// As it is called.
    pub variable: String,
    /// The name of the key's variable.
    pub meant: String,
}

/// Variables that differ from those of a key only in underscores and capitals.
pub fn misnamed(environment: &Environment) -> Vec<Misnamed> {
    let keys = Shape::of_everything().keys();
    environment
        .keys()
        .filter(|name| !name.starts_with(PREFIX))
        .filter(|name| {
            name.get(..8).is_some_and(|beginning| beginning.eq_ignore_ascii_case("VERDICT_"))
        })
        .filter_map(|name| {
            let meant = keys.iter().find_map(|key| matching(&name[8..], key))?;
            Some(Misnamed { variable: name.clone(), meant })
        })
        .collect()
}

/// The variable of the key, if these words are those of the key however they are separated.
pub(super) fn matching(words: &str, key: &str) -> Option<String> {
    let words = flat(words);
    let key = key.split('[').next().unwrap_or(key);
    match key.split_once('*') {
        None => (words == flat(key)).then(|| variable_of(key)),
        Some((before, after)) => {
            let rest = words.strip_prefix(&flat(before))?.strip_prefix('_')?;
            let name = match flat(after) {
                after if after.is_empty() => rest,
                after => rest.strip_suffix(&after)?.strip_suffix('_')?,
            };
            (!name.is_empty()).then(|| variable_of(&format!("{before}{name}{after}")))
        }
    }
}

/// In capitals, the words separated by one underscore each.
fn flat(text: &str) -> String {
    let words = text.split(['.', '_']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(variable: &str) -> Option<String> {
        let environment = Environment::from([(variable.to_owned(), "x".to_owned())]);
        misnamed(&environment).pop().map(|found| found.meant)
    }

    #[test]
    fn every_key_is_recognised_under_single_underscores() {
        let mut seen = 0;
        for key in Shape::of_everything().keys() {
            let key = key.split('[').next().unwrap().replace('*', "shop");
            let right = variable_of(&key);
            assert_eq!(meant(&right), None, "{right}");
            for wrong in [right.replace("__", "_"), right.replacen("__", "_", 1)] {
                assert_eq!(meant(&wrong).as_ref(), Some(&right), "{wrong}");
            }
            assert_eq!(meant(&right.to_lowercase()), Some(right));
            seen += 1;
        }
        assert!(seen > 60, "only {seen} keys");
    }

    #[test]
    fn variables_of_tools_and_orchestrators_are_left_alone() {
        for name in [
            "VERDICT_URL",
            "VERDICT_API_KEY",
            "VERDICT_SECRET",
            "VERDICT_CONFIG",
            "VERDICT_PORT",
            "VERDICT_SOURCE",
            "VERDICT_OPERATIONS_PORT",
            "VERDICT_REVISION",
            "VERDICT_SANDBOX_ACCESS_KEY_ID",
            "VERDICT_SERVICE_HOST",
            "VERDICT_PORT_8080_TCP",
            "VERDICT_",
            "VERDICT",
            "MY_VERDICT_HTTP_LISTEN",
            "HTTP_LISTEN",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
