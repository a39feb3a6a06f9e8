//! The environment variables of the vendor's SDKs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::access_key::{Credentials, Miss};

/// A copy of the environment. Its `Debug` shows nothing, because it holds secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Environment {
    /// The environment of this process. Variables that are no UTF-8 are left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The variable's value; empty and missing are the same.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// A file in the user's home.
    pub(super) fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.get("HOME").map(|home| PathBuf::from(home).join(path))
    }

    /// `ALIBABA_CLOUD_ACCESS_KEY_ID`, `…_SECRET` and perhaps `ALIBABA_CLOUD_SECURITY_TOKEN`.
    pub(super) fn credentials(&self) -> Result<Credentials, Miss> {
        let get =
            |name: &str| self.get(name).ok_or_else(|| Miss::Next(format!("{name} is not set")));
        Ok(Credentials {
            access_key_id: get("ALIBABA_CLOUD_ACCESS_KEY_ID")?.to_owned(),
            access_key_secret: get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")?.into(),
            security_token: self.get("ALIBABA_CLOUD_SECURITY_TOKEN").map(Into::into),
            expires_at: None,
        })
    }
}
