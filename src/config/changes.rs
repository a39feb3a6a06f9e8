//! Changes since a configuration was read: of files by their digest, and of keys one by one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::checks::given;
use super::environment::Environment;
use super::error::ConfigErrors;
use super::raw::Config;

/// The files that a configuration was read from, as they are at one moment. Compared by content:
/// an orchestrator swaps secrets by moving a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Watched {
    /// Both saw the same content.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let differs = |(file, digest)| other.0.get(file).is_some_and(|known| known != digest);
        !self.0.iter().any(differs)
    }
}

impl Config {
    /// Reads it again from the same file and environment.
    pub fn reload(&self, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::read(self.file.as_deref(), environment)
    }

    /// The files it was read from, as they are now. Blocks.
    pub fn watched(&self) -> Watched {
        let sources = self.sources.values().filter_map(|source| source.secrets_file.as_deref());
        let others = self.secret_files().into_iter().map(|(_, file)| file);
        let files = self.file.as_deref().into_iter().chain(sources).chain(others);
        Watched(files.map(|file| (file.to_owned(), digest(file))).collect())
    }

    /// Keys that differ between the two and need a restart. Files
    /// count by their content now, in `before` by what it was then.
    pub fn fixed_changes(&self, before: &Self, then: &Watched, now: &Watched) -> Vec<String> {
        let differs = |key: &&String| self.digests.get(*key) != before.digests.get(*key);
        let keys = before.digests.keys().chain(self.digests.keys());
        let mut changed: Vec<String> =
            keys.filter(differs).filter(|key| !applies_at_once(key)).cloned().collect();
        for (key, file) in self.secret_files() {
            let known = then.0.get(file);
            if known.is_some() && known != now.0.get(file) {
                changed.push(key);
            }
        }
        changed.sort();
        changed.dedup();
        changed
    }

    /// Files with secrets that are read once, at the start, by key. The provider's own is read
    /// again whenever it was refused.
    fn secret_files(&self) -> Vec<(String, &Path)> {
        let mut files = vec![
            ("database.url_file".to_owned(), self.database.url_file.as_deref()),
            (
                "console.oidc.client_secret_file".to_owned(),
                self.console.oidc.client_secret_file.as_deref(),
            ),
            (
                "provider.security_token_file".to_owned(),
                self.provider.security_token_file.as_deref(),
            ),
        ];
        if let Some(s3) = &self.images.s3 {
            let file = s3.access_key_secret_file.as_deref();
            files.push(("images.s3.access_key_secret_file".to_owned(), file));
        }
        for (index, key) in self.vault.keys.iter().enumerate() {
            files.push((format!("vault.keys[{index}].secret_file"), key.secret_file.as_deref()));
        }
        files.into_iter().filter_map(|(key, file)| Some((key, given(file)?))).collect()
    }

    /// Every file with secrets in it, by key.
    pub fn files_with_secrets(&self) -> Vec<(String, &Path)> {
        let mut files = self.secret_files();
        let provider = given(self.provider.access_key_secret_file.as_deref());
        files.extend(provider.map(|file| ("provider.access_key_secret_file".to_owned(), file)));
        for (name, source) in &self.sources {
            if let Some(file) = &source.secrets_file {
                files.push((format!("sources.{name}.secrets_file"), file));
            }
        }
        files
    }
}

fn applies_at_once(key: &str) -> bool {
    key == "sources" || key.starts_with("sources.")
}

fn digest(file: &Path) -> Option<[u8; 32]> {
    // Read every second: of a secret no copy is left in memory.
    let content = Zeroizing::new(std::fs::read(file).ok()?);
    Some(Sha256::digest(content.as_slice()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &Path, text: &str) -> Config {
        std::fs::write(file, text).unwrap();
        Config::load(Some(file), &Environment::new()).unwrap()
    }

    #[test]
    fn keys_that_need_a_restart_are_named() {
        let folder = tempfile::TempDir::new().unwrap();
        let (file, url) = (folder.path().join("verdict.toml"), folder.path().join("url"));
        std::fs::write(&url, "postgres://a").unwrap();
        let text = |port: u32, key: &str, limit: u32| {
            format!(
                "[http]\nlisten = \"127.0.0.1:{port}\"\n[database]\nurl_file = {url:?}\n\
                 [[vault.keys]]\nid = \"{key}\"\nsecret = \"x\"\n\
                 [sources.app]\nrequests_per_second = {limit}\n"
            )
        };
        let before = load(&file, &text(1, "one", 5));
        let then = before.watched();
        assert!(then == before.watched());
        let fixed = |after: &Config| after.fixed_changes(&before, &then, &after.watched());

        let after = load(&file, &text(1, "one", 6));
        assert!(then != after.watched());
        assert_eq!(fixed(&after), [""; 0]);
        let after = load(&file, &text(2, "two", 6));
        assert_eq!(fixed(&after), ["http.listen", "vault.keys[0].id"]);
        std::fs::write(&url, "postgres://b").unwrap();
        let after = load(&file, &text(1, "one", 5));
        assert_eq!(fixed(&after), ["database.url_file"]);
    }
}
