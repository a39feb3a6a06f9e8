//! What all pages share.

use std::ops::Deref;
use std::sync::Arc;

use url::Url;

use super::oidc;
use crate::http::Api;

/// How the console is reached, and who signs people in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where browsers reach it. `None`: where it listens.
    pub public_url: Option<Url>,
    /// `None`: people sign in with passwords alone.
    pub oidc: Option<oidc::Settings>,
}

/// The pages' state, cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Parts>);

/// The parts of a [`Console`].
pub struct Parts {
    pub api: Api,
    pub settings: Settings,
}

impl Console {
    pub fn new(api: Api, settings: Settings) -> Self {
        Self(Arc::new(Parts { api, settings }))
    }
}

impl Deref for Console {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
