//! The section about Postgres.

use std::path::{Path, PathBuf};

use super::checks::{at_least, given, seconds, secret};
use super::error::{self, Collector, ConfigError, ConfigErrors, wrong};
use super::origin::Origin;
use super::raw::Config;
use crate::store::{self, SchemaName};

impl Config {
    pub fn store(&self) -> Result<store::Settings, ConfigErrors> {
        let database = &self.database;
        let mut found = Collector::default();
        let url = found.take(self.database_url());
        let max_connections =
            found.take(at_least("database.max_connections", database.max_connections, 2));
        let timeout = found.take(seconds("database.timeout_seconds", database.timeout_seconds));
        let schema = found.take(match &*database.schema {
            "" => Ok(None),
            name => SchemaName::parse(name)
                .map(Some)
                .or_else(|why| wrong("database.schema", format!("{why}: {name:?}"))),
        });
        let settings = found.finish(|| {
            Some(store::Settings {
                url: url?.into(),
                max_connections: max_connections?,
                timeout: timeout?,
                schema: schema?,
            })
        })?;
        store::Store::check(&settings).map_err(|error| ConfigError::new("database.url", error))?;
        Ok(settings)
    }

    fn database_url(&self) -> error::Result<String> {
        let database = &self.database;
        let url = secret("database.url", &database.url, database.url_file.as_deref())?;
        if url.is_empty() {
            return wrong("database.url", "is required (or database.url_file, or DATABASE_URL)");
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return wrong("database.url", "must begin with postgres://");
        }
        with_files_of(self.folder_of_database_url(), &url)
    }

    /// Of the file that the URL is written in; `None` for a variable.
    fn folder_of_database_url(&self) -> Option<&Path> {
        let file = match given(self.database.url_file.as_deref()) {
            Some(file) => Some(file),
            None if matches!(self.origins.of("database.url"), Origin::File { .. }) => {
                self.file.as_deref()
            }
            None => None,
        };
        file.and_then(Path::parent)
    }

    /// Connections to Postgres of one process.
    pub fn max_connections(&self) -> u32 {
        self.database.max_connections
    }
}

/// The files that a database URL names, for TLS; relative ones go by this folder. A PEM text in their
/// place is no file.
fn with_files_of(folder: Option<&Path>, text: &str) -> error::Result<String> {
    // No parser of URLs takes several hosts.
    let Some((servers, query)) = text.split_once('?') else { return Ok(text.to_owned()) };
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut moved = false;
    for (name, value) in &mut pairs {
        if !DATABASE_FILES.contains(&name.as_str()) || value.contains("-----BEGIN") {
            continue;
        }
        let file = folder.map_or_else(|| PathBuf::from(&*value), |folder| folder.join(&*value));
        if let Err(error) = std::fs::File::open(&file) {
            return wrong(
                "database.url",
                format!(
                    "{name}={} cannot be read: {}",
                    file.display(),
                    crate::causes::of_io(&error)
                ),
            );
        }
        if let Some(file) = file.to_str()
            && file != value
        {
            file.clone_into(value);
            moved = true;
        }
    }
    if !moved {
        return Ok(text.to_owned());
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Ok(format!("{servers}?{query}"))
}

/// Parameters of a database URL that name files, in each of their spellings.
const DATABASE_FILES: [&str; 7] =
    ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
