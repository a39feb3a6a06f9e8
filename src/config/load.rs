//! Reading: the defaults, the file and the environment become one `Config`. Unreadable values are
//! taken out and noted, so that all mistakes are reported at once.

use std::path::{Path, PathBuf};

use ::config::{Environment as Source, File, FileFormat, Value, ValueKind};
use serde_path_to_error::Segment;
use toml::de::DeTable;

use super::did_you_mean::complaint;
use super::digests::digests;
use super::environment::{Environment, Variables, variables};
use super::error::{ConfigError, ConfigErrors, Subject, wrong};
use super::keys::{Shape, take_unknown};
use super::origin::{Origin, Origins, join, line_of};
use super::raw::Config;
use crate::domain::byte_order_mark;

const DEFAULTS: &str = include_str!("../../config/default.toml");
/// More wrong values than anybody reads.
const MOST_COMPLAINTS: usize = 100;

impl Config {
    /// Merges defaults, the file and the environment; refuses unknown keys and values of another
    /// type, all of them at once.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigErrors> {
        let config = Self::read(file, environment)?;
        if config.misread.is_empty() { Ok(config) } else { Err(ConfigErrors(config.misread)) }
    }

    /// The same, but keeps what `load` refuses, so that it is reported together with wrong values.
    pub fn read(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigErrors> {
        let text = file.map(read_file).transpose()?;
        let text = text.as_deref().map(byte_order_mark::skipped);
        let table = text.map(DeTable::parse).transpose();
        let table = table.map_err(|error| syntax(file, text, &error))?;
        let variables = variables(environment);
        let in_file = file
            .zip(table.as_ref())
            .zip(text)
            .map(|((file, table), text)| (file, table.get_ref(), text));
        let origins = Origins::new(in_file, &variables.names);
        let merged =
            merge(text, &variables).or_else(|error| wrong(whole_text(file), first_line(&error)))?;
        let digests = digests(&merged);
        let mut misread = malformed(&variables);
        let value = merged.try_deserialize::<Value>();
        let mut value = value.or_else(|error| wrong(whole_text(file), first_line(&error)))?;
        let shape = Shape::of_everything();
        let unknown = take_unknown(&mut value, &shape);
        misread.extend(unknown.iter().map(|unknown| complaint(unknown, &shape, &origins)));
        let config = typed(value, &mut misread)?;
        let mut config =
            Self { file: file.map(ToOwned::to_owned), digests, misread, origins, ..config };
        config.resolve_paths();
        Ok(config)
    }

    /// Paths in the file go by its folder. Those in variables go by the working folder.
    fn resolve_paths(&mut self) {
        let Some(folder) = self.file.as_deref().and_then(Path::parent).map(ToOwned::to_owned)
        else {
            return;
        };
        let origins = self.origins.clone();
        for (key, path) in self.paths() {
            let in_file = matches!(origins.of(&key), Origin::File { .. });
            if in_file && !path.as_os_str().is_empty() {
                *path = folder.join(&*path);
            }
        }
    }

    /// Every key that names a file.
    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let mut paths = vec![("policy.file".to_owned(), &mut self.policy.file)];
        let provider = &mut self.provider;
        let mut optional = vec![
            ("database.url_file".to_owned(), &mut self.database.url_file),
            (
                "console.oidc.client_secret_file".to_owned(),
                &mut self.console.oidc.client_secret_file,
            ),
            ("provider.access_key_secret_file".to_owned(), &mut provider.access_key_secret_file),
            ("provider.security_token_file".to_owned(), &mut provider.security_token_file),
        ];
        for (name, source) in &mut self.sources {
            optional.push((format!("sources.{name}.secrets_file"), &mut source.secrets_file));
        }
        for (index, key) in self.vault.keys.iter_mut().enumerate() {
            optional.push((format!("vault.keys[{index}].secret_file"), &mut key.secret_file));
        }
        if let Some(s3) = &mut self.images.s3 {
            let key = "images.s3.access_key_secret_file".to_owned();
            optional.push((key, &mut s3.access_key_secret_file));
        }
        paths.extend(optional.into_iter().filter_map(|(key, path)| Some((key, path.as_mut()?))));
        paths
    }
}

fn read_file(path: &Path) -> super::error::Result<String> {
    std::fs::read_to_string(path).or_else(|error| {
        wrong(
            Subject::Option("--config"),
            format!("{} cannot be read: {}", path.display(), crate::causes::of_io(&error)),
        )
    })
}

/// Says where, and never what is written there.
fn syntax(file: Option<&Path>, text: Option<&str>, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let line = line_of(text.unwrap_or_default(), start);
    // Some messages have more lines, which quote the text.
    let message = error.message().lines().next().unwrap_or("not TOML");
    ConfigError::new(whole_text(file), format!("line {line} is not TOML: {message}"))
}

fn merge(
    text: Option<&str>,
    variables: &Variables,
) -> Result<::config::Config, ::config::ConfigError> {
    let mut builder =
        ::config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(text) = text {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    let environment = Source::with_prefix("VERDICT")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.values.clone()));
    builder.add_source(environment).build()
}

fn malformed(variables: &Variables) -> Vec<ConfigError> {
    let problem = "is not the name of a key: write VERDICT__SECTION__KEY";
    let names = variables.malformed.iter();
    names.map(|name| ConfigError::new(name.as_str(), problem)).collect()
}

/// Reads the values; what is of another type is noted and replaced by its default.
fn typed(mut value: Value, misread: &mut Vec<ConfigError>) -> Result<Config, ConfigErrors> {
    let defaults = ::config::Config::builder()
        .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
        .build()
        .and_then(::config::Config::try_deserialize::<Value>);
    let defaults = defaults
        .or_else(|error| wrong(Subject::Text("default.toml".to_owned()), first_line(&error)))?;
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(value.clone()) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let mut path: Vec<Segment> = error.path().iter().cloned().collect();
        let message = first_line(error.inner());
        let problem = match missing(&message) {
            Some(name) => {
                path.push(Segment::Map { key: name.to_owned() });
                "is required".to_owned()
            }
            None => expectation(&message),
        };
        let found = ConfigError::new(written(&path), problem);
        let replaced = misread.len() < MOST_COMPLAINTS
            && !misread.contains(&found)
            && replace(&mut value, &defaults, &path);
        misread.push(found);
        if !replaced {
            return Err(ConfigErrors(std::mem::take(misread)));
        }
    }
}

fn missing(message: &str) -> Option<&str> {
    let rest = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("missing configuration field \""))?;
    // The library names the whole path.
    let name = rest.split(['`', '"']).next()?;
    name.rsplit(['.', ']']).next()
}

/// `invalid type: string "…", expected …` quotes the value, which may be a secret.
fn expectation(message: &str) -> String {
    let Some((_, expected)) = message.rsplit_once("expected ") else {
        return "is not valid".to_owned();
    };
    let end = expected.find(" for key ").unwrap_or(expected.len());
    let expected = &expected[..end];
    let plain = match expected {
        "a boolean" => "true or false",
        "a string" => "text",
        "an integer" | "i32" | "i64" | "an signed 64 bit or less integer" => "a whole number",
        "u32" | "u64" | "usize" | "an unsigned 64 bit or less integer" => {
            "a whole number that is not negative"
        }
        "a floating point" | "f64" => "a number",
        "a map" => "a section",
        other if other.starts_with("struct ") || other.ends_with("integer") => {
            if other.starts_with("struct ") { "a section" } else { "a whole number in its range" }
        }
        other => other,
    };
    format!("must be {plain}")
}

/// `vault.keys[0].id`
fn written(path: &[Segment]) -> String {
    path.iter().fold(String::new(), |at, segment| match segment {
        Segment::Map { key } => join(&at, key),
        Segment::Seq { index } => format!("{at}[{index}]"),
        Segment::Enum { .. } | Segment::Unknown => at,
    })
}

/// Puts the default in the place of what the path leads to; where there is none, takes it out, and
/// where it was missing puts an empty text.
fn replace(value: &mut Value, defaults: &Value, path: &[Segment]) -> bool {
    let Some((last, before)) = path.split_last() else { return false };
    let (mut place, mut default) = (value, Some(defaults));
    for segment in before {
        let Some(inner) = step_mut(place, segment) else { return false };
        place = inner;
        default = default.and_then(|default| step(default, segment));
    }
    let default = default.and_then(|default| step(default, last)).cloned();
    match (&mut place.kind, last) {
        (ValueKind::Table(table), Segment::Map { key }) => {
            match (default, table.remove(key)) {
                (Some(default), _) => table.insert(key.clone(), default),
                (None, Some(_)) => None,
                (None, None) => table.insert(key.clone(), Value::from("")),
            };
            true
        }
        (ValueKind::Array(items), Segment::Seq { index }) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match (&value.kind, segment) {
        (ValueKind::Table(table), Segment::Map { key }) => table.get(key),
        (ValueKind::Array(items), Segment::Seq { index }) => items.get(*index),
        _ => None,
    }
}

fn step_mut<'v>(value: &'v mut Value, segment: &Segment) -> Option<&'v mut Value> {
    match (&mut value.kind, segment) {
        (ValueKind::Table(table), Segment::Map { key }) => table.get_mut(key),
        (ValueKind::Array(items), Segment::Seq { index }) => items.get_mut(*index),
        _ => None,
    }
}

fn whole_text(file: Option<&Path>) -> Subject {
    Subject::Text(file.map_or_else(|| "environment".to_owned(), |path| path.display().to_string()))
}

fn first_line(error: &::config::ConfigError) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::variable_of;

    /// Each way to write a key that names a file: in the file it goes by the file's folder, in a
    /// variable by the working folder, and an absolute one stays.
    #[test]
    fn every_path_goes_by_where_it_is_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("verdict.toml");
        let mut seen = 0;
        for pattern in Shape::of_everything().keys() {
            if !pattern.ends_with("file") {
                continue;
            }
            seen += 1;
            let key = pattern.replace('*', "app").replace("[]", "[0]");
            let (section, name) = key.rsplit_once('.').unwrap();
            let section = match section.strip_suffix("[0]") {
                Some(list) => format!("[[{list}]]\nid = \"one\"\n"),
                None => format!("[{section}]\n"),
            };
            let more = if key.contains("s3") { "endpoint = \"https://s3\"\n" } else { "" };
            let resolved = |text: &str, environment: &Environment| {
                std::fs::write(&file, text).unwrap();
                let mut config = Config::load(Some(&file), environment).unwrap();
                let paths = config.paths();
                let found = paths.into_iter().find(|(known, _)| *known == key);
                found.unwrap_or_else(|| panic!("{key} is not among the paths")).1.clone()
            };
            let none = Environment::new();
            let text = format!("{section}{more}{name} = \"secrets/it\"\n");
            assert_eq!(resolved(&text, &none), folder.path().join("secrets/it"), "{key}");
            let text = format!("{section}{more}{name} = \"/secrets/it\"\n");
            assert_eq!(resolved(&text, &none), Path::new("/secrets/it"), "{key}");
            if !key.contains('[') {
                let text = format!("{section}{more}{name} = \"secrets/it\"\n");
                let variable = (variable_of(&key), "other/it".to_owned());
                let environment = Environment::from([variable]);
                assert_eq!(resolved(&text, &environment), Path::new("other/it"), "{key}");
            }
        }
        assert_eq!(seen, 8);
    }
}
