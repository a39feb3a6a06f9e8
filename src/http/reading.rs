//! The answers of reading operations, for commands that read the database: the same JSON, made by
//! the same code. Nothing here asks for a key, so no handler uses it.

use serde::Serialize;
use serde_json::Value;

use super::problem::Problem;
use super::read_error::ReadError;
use super::view::VerificationView;
use super::{decisions, events, search, timeline, verifications, waiting};
use crate::domain::ids::VerificationId;
use crate::domain::scenes::Scenes;
use crate::policies::cache::PolicyCache;
use crate::store::Store;

type Answer = Result<Value, ReadError>;

/// Reads the database on behalf of its owner, who sees every scene.
pub struct Reading {
    store: Store,
    policies: PolicyCache,
    /// The provider's account.
    account: String,
    /// Names of the configured sources.
    sources: Vec<String>,
}

impl Reading {
    pub fn new(store: Store, account: String, sources: Vec<String>) -> Self {
        Self { store, policies: PolicyCache::default(), account, sources }
    }

    /// `GET /v1/verifications/{id}`.
    pub async fn verification(&self, id: VerificationId) -> Answer {
        let found = self.store.verifications().find(id).await?.ok_or_else(Problem::not_found)?;
        json(&VerificationView::from(found))
    }

    /// `GET /v1/verifications/{id}/decisions`.
    pub async fn decisions(&self, id: VerificationId) -> Answer {
        json(&decisions::page(&self.store, &self.policies, id).await?)
    }

    /// `GET /v1/verifications/{id}/timeline`.
    pub async fn timeline(&self, id: VerificationId) -> Answer {
        json(&timeline::view(&self.store, id).await?)
    }

    /// `GET /v1/verifications/{id}/waiting`.
    pub async fn waiting(&self, id: VerificationId) -> Answer {
        let view = waiting::view(&self.store, &self.account, id).await?;
        json(&view.ok_or_else(Problem::not_found)?)
    }

    /// `GET /v1/verifications`.
    pub async fn list(&self, query: &str) -> Answer {
        json(&verifications::page(&self.store, &Scenes::EVERY, Some(query)).await?)
    }

    /// `GET /v1/search`.
    pub async fn search(&self, text: &str) -> Answer {
        let found = search::find(&self.store, &Scenes::EVERY, &self.sources, text).await?;
        json(&search::page(found))
    }

    /// `GET /v1/events`.
    pub async fn events(&self, after: i64) -> Answer {
        json(&events::after(&self.store, after).await?)
    }
}

fn json(view: &impl Serialize) -> Answer {
    Ok(serde_json::to_value(view).map_err(|_| Problem::internal())?)
}
