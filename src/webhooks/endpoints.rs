//! Operations on webhook endpoints, shared by the API and the command line.

use thiserror::Error;
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::targets::Targets;
use crate::domain::callback::BizType;
use crate::domain::event::{EventId, EventKind};
use crate::domain::field_error::FieldError;
use crate::domain::ids::{EndpointId, Ids};
use crate::domain::scenes::Scenes;
use crate::domain::webhook_endpoint::{DeliveryOrder, Signing, Start};
use crate::store::audit::AuditContext;
use crate::store::events::LogRange;
use crate::store::webhook_endpoints::{
    EndpointChange, NewEndpoint, Rotation, WebhookAttempt, WebhookEndpoint,
};
use crate::store::webhook_keys::EndpointKey;
use crate::store::webhook_redeliveries::{Redelivered, Redelivery};
use crate::store::{self, Store};
use crate::vault::{
    DataKey, EndpointSecret, OpenError, Refused, SealError, SealedAt, Vault, WrappedKey,
};

/// Why an operation on an endpoint failed.
#[derive(Debug, Error)]
pub enum EndpointError {
    #[error("there is no such endpoint: see `verdict webhooks list`")]
    Unknown,
    /// A member is invalid, and only the configuration or the log can show it.
    #[error("{} {}", .0.pointer.trim_start_matches('/'), .0.detail)]
    Invalid(FieldError),
    /// The caller is limited to scenes, and the endpoint would get events of other scenes.
    #[error("the endpoint must be limited to scenes of the caller")]
    OtherScene,
    #[error(
        "there are as many endpoints as `webhooks.max_endpoints` allows: remove one that is not needed"
    )]
    TooMany,
    #[error("vault.keys is needed to seal and open the secrets of endpoints")]
    NoVault,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    DataKey(#[from] OpenError),
    #[error(transparent)]
    Open(#[from] Refused),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl EndpointError {
    const fn invalid(pointer: &'static str, detail: &'static str) -> Self {
        Self::Invalid(FieldError { pointer, detail })
    }
}

/// An endpoint to be added. Its values were checked, except its URL and its start.
#[derive(Clone, Debug)]
pub struct Requested {
    pub url: String,
    pub description: String,
    /// `None`: every type.
    pub types: Option<Vec<EventKind>>,
    /// `None`: every scene.
    pub biz_types: Option<Vec<BizType>>,
    pub ordering: DeliveryOrder,
    pub signing: Signing,
    pub start: Start,
    pub max_in_flight: i32,
    pub requests_per_second: Option<f64>,
}

/// An endpoint that was added.
#[derive(Debug)]
pub struct Added {
    pub endpoint: WebhookEndpoint,
    /// Shown once. `None`: the receiver needs only the public key.
    pub secret: Option<Zeroizing<String>>,
}

/// A secret that replaced another.
#[derive(Debug)]
pub struct RotatedSecret {
    /// Shown once. `None`: the receiver needs only the public key.
    pub secret: Option<Zeroizing<String>>,
    pub public_key: Option<[u8; 32]>,
    /// When the previous secret stops signing; `None`: it already has.
    pub previous_until: Option<OffsetDateTime>,
}

/// The events to redeliver, as callers name them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RedeliverySelection {
    Event(EventId),
    /// Sequences, both included.
    Sequences {
        from: i64,
        to: i64,
    },
    /// Events that happened at or after `since` and before `until`.
    Time {
        since: OffsetDateTime,
        until: OffsetDateTime,
    },
    /// All dead letters.
    Failed,
}

/// A request to an endpoint, with its answer decrypted.
#[derive(Debug)]
pub struct Delivery {
    pub attempt: WebhookAttempt,
    pub answer: Option<String>,
}

/// Operations on the endpoints of one database.
#[derive(Clone, Copy, Debug)]
pub struct EndpointOperations<'a> {
    pub store: &'a Store,
    pub targets: &'a Targets,
    /// Endpoints that there may be.
    pub max_endpoints: u32,
    /// `None`: this process has no keys.
    pub vault: Option<&'a Vault>,
    pub ids: &'a Ids,
}

impl EndpointOperations<'_> {
    pub async fn add(
        &self,
        requested: &Requested,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<Added, EndpointError> {
        let url = self.admit(&requested.url)?;
        let biz_types = requested.biz_types.as_deref().map(scene_names);
        if !is_within(scenes, biz_types.as_deref()) {
            return Err(EndpointError::OtherScene);
        }
        let vault = self.vault.ok_or(EndpointError::NoVault)?;
        let cursor = cursor(requested.start, self.store.events().range().await?)?;
        let id: EndpointId = self.ids.next(context.at);
        let (data_key, wrapped) = vault.new_endpoint_key(id)?;
        let new = NewSecret::make(id, &data_key, requested.signing)?;
        let types = requested.types.as_ref().map(|types| type_names(types));
        let endpoint = NewEndpoint {
            id,
            url: url.as_str(),
            description: &requested.description,
            types: types.as_deref(),
            biz_types: biz_types.as_deref(),
            ordering: requested.ordering.as_str(),
            signing: requested.signing.as_str(),
            max_in_flight: requested.max_in_flight,
            requests_per_second: requested.requests_per_second,
            cursor,
            key: (&wrapped.key_id, &wrapped.bytes),
            secret: &new.sealed,
            public_key: new.public_key.as_ref().map(|key| &key[..]),
        };
        let added = self.store.webhook_endpoints().add(&endpoint, self.max_endpoints, context);
        let endpoint = added.await?.ok_or(EndpointError::TooMany)?;
        Ok(Added { endpoint, secret: new.shown })
    }

    /// All endpoints within the caller's scenes, oldest first.
    pub async fn list(&self, scenes: &Scenes) -> Result<Vec<WebhookEndpoint>, EndpointError> {
        let mut endpoints = self.store.webhook_endpoints().list().await?;
        endpoints.retain(|endpoint| is_within(scenes, endpoint.biz_types.as_deref()));
        Ok(endpoints)
    }

    /// Finds an endpoint. One beyond the caller's scenes counts as unknown.
    pub async fn find(
        &self,
        id: EndpointId,
        scenes: &Scenes,
    ) -> Result<WebhookEndpoint, EndpointError> {
        let found = self.store.webhook_endpoints().find(id).await?;
        found
            .filter(|endpoint| is_within(scenes, endpoint.biz_types.as_deref()))
            .ok_or(EndpointError::Unknown)
    }

    /// Changes the given members and keeps the others.
    pub async fn change(
        &self,
        id: EndpointId,
        mut change: EndpointChange,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<WebhookEndpoint, EndpointError> {
        self.find(id, scenes).await?;
        if let Some(url) = &mut change.url {
            *url = self.admit(url)?.into();
        }
        if let Some(biz_types) = &change.biz_types
            && !is_within(scenes, biz_types.as_deref())
        {
            return Err(EndpointError::OtherScene);
        }
        known(self.store.webhook_endpoints().change(id, &change, context).await?)?;
        self.find(id, scenes).await
    }

    pub async fn remove(
        &self,
        id: EndpointId,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<(), EndpointError> {
        self.find(id, scenes).await?;
        known(self.store.webhook_endpoints().remove(id, context).await?)
    }

    /// Stops deliveries. Events that are logged meanwhile are delivered after a resume.
    pub async fn pause(
        &self,
        id: EndpointId,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<WebhookEndpoint, EndpointError> {
        self.find(id, scenes).await?;
        known(self.store.webhook_endpoints().pause(id, context).await?)?;
        self.find(id, scenes).await
    }

    /// Resumes deliveries at once from the same event, after a pause, a failure or a disabling.
    pub async fn resume(
        &self,
        id: EndpointId,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<WebhookEndpoint, EndpointError> {
        self.find(id, scenes).await?;
        known(self.store.webhook_endpoints().resume(id, context).await?)?;
        self.find(id, scenes).await
    }

    /// Requests one `endpoint.test`, whatever the status, and returns the id of its event. While
    /// one waits, no second one is added.
    pub async fn test(
        &self,
        id: EndpointId,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<EventId, EndpointError> {
        self.find(id, scenes).await?;
        let test: Uuid = self.ids.next(context.at);
        let waits = self.store.webhook_redeliveries().test(id, test, context).await?;
        waits.map(EventId).ok_or(EndpointError::Unknown)
    }

    /// Makes a new secret. The previous one signs as well for `keep_seconds`.
    pub async fn rotate_secret(
        &self,
        id: EndpointId,
        keep_seconds: i64,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<RotatedSecret, EndpointError> {
        let endpoint = self.find(id, scenes).await?;
        let data_key = self.data_key(id).await?;
        let signing = Signing::parse(&endpoint.signing)
            .map_err(|_| store::Error::Inconsistent("webhook_endpoints.signing"))?;
        let new = NewSecret::make(id, &data_key, signing)?;
        let rotation = Rotation {
            secret: &new.sealed,
            public_key: new.public_key.as_ref().map(|key| &key[..]),
            keep_seconds,
        };
        let rotated = self.store.webhook_endpoints().rotate(id, rotation, context).await?;
        let rotated = rotated.ok_or(EndpointError::Unknown)?;
        Ok(RotatedSecret {
            secret: new.shown,
            public_key: new.public_key,
            previous_until: rotated.previous_until,
        })
    }

    /// Requests redelivery of events, and returns how many.
    pub async fn redeliver(
        &self,
        id: EndpointId,
        selection: RedeliverySelection,
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<i64, EndpointError> {
        self.find(id, scenes).await?;
        let Some(what) = self.redelivery(selection).await? else { return Ok(0) };
        let done = self.store.webhook_redeliveries().redeliver(id, what, context).await?;
        match done {
            Redelivered::Unknown => Err(EndpointError::Unknown),
            Redelivered::TooMany => {
                Err(EndpointError::invalid("", "selects more than 100,000 events; select fewer"))
            }
            Redelivered::Events(0) if matches!(selection, RedeliverySelection::Event(_)) => {
                Err(EndpointError::invalid("/event_id", "is not among the events of the endpoint"))
            }
            Redelivered::Events(count) => Ok(count),
        }
    }

    /// `None`: no event happened in that time.
    async fn redelivery(
        &self,
        selection: RedeliverySelection,
    ) -> Result<Option<Redelivery>, EndpointError> {
        Ok(match selection {
            RedeliverySelection::Failed => Some(Redelivery::Failed),
            RedeliverySelection::Event(id) => {
                let event = self.store.events().find(id).await?;
                let unknown = EndpointError::invalid("/event_id", "is not in the event log");
                Some(Redelivery::Event(event.ok_or(unknown)?.number))
            }
            RedeliverySelection::Sequences { from, to } => {
                let range = self.store.events().range().await?;
                let number = |sequence: i64| sequence.saturating_add(range.after);
                Some(Redelivery::Numbers { from: number(from), to: number(to) })
            }
            RedeliverySelection::Time { since, until } => {
                let numbers = self.store.events().numbers_between(since, until).await?;
                numbers.map(|(from, to)| Redelivery::Times { from, to, since, until })
            }
        })
    }

    /// Requests to an endpoint before the attempt `before`, newest first, with sealed answers.
    pub async fn attempts(
        &self,
        id: EndpointId,
        before: Option<i64>,
        limit: i64,
        scenes: &Scenes,
    ) -> Result<Vec<WebhookAttempt>, EndpointError> {
        self.find(id, scenes).await?;
        Ok(self.store.webhook_endpoints().attempts(id, before, limit).await?)
    }

    /// As [`Self::attempts`], with the answers decrypted.
    pub async fn deliveries(
        &self,
        id: EndpointId,
        before: Option<i64>,
        limit: i64,
        scenes: &Scenes,
    ) -> Result<Vec<Delivery>, EndpointError> {
        let attempts = self.attempts(id, before, limit, scenes).await?;
        if attempts.iter().all(|attempt| attempt.answer.is_none()) {
            return Ok(attempts
                .into_iter()
                .map(|attempt| Delivery { attempt, answer: None })
                .collect());
        }
        let data_key = self.data_key(id).await?;
        let opened = attempts.into_iter().map(|attempt| {
            let open = |sealed: &Vec<u8>| data_key.open(SealedAt::WebhookAnswer(id), sealed);
            let answer = attempt.answer.as_ref().map(open).transpose()?;
            let answer = answer.map(|answer| String::from_utf8_lossy(&answer).into_owned());
            Ok(Delivery { attempt, answer })
        });
        opened.collect()
    }

    fn admit(&self, url: &str) -> Result<Url, EndpointError> {
        self.targets.admit(url).map_err(|detail| EndpointError::invalid("/url", detail))
    }

    async fn data_key(&self, id: EndpointId) -> Result<DataKey, EndpointError> {
        let vault = self.vault.ok_or(EndpointError::NoVault)?;
        let key = self.store.webhook_keys().find(id).await?;
        let EndpointKey { key_id, wrapped, .. } = key.ok_or(EndpointError::Unknown)?;
        Ok(vault.open_endpoint_key(id, &WrappedKey { key_id, bytes: wrapped })?)
    }
}

/// A new secret that was not handed out yet.
struct NewSecret {
    sealed: Vec<u8>,
    shown: Option<Zeroizing<String>>,
    public_key: Option<[u8; 32]>,
}

impl NewSecret {
    fn make(id: EndpointId, key: &DataKey, signing: Signing) -> Result<Self, EndpointError> {
        let secret = EndpointSecret::generate()?;
        let sealed = key.seal(SealedAt::WebhookSecret(id), secret.as_bytes())?;
        Ok(match signing {
            Signing::V1 => Self { sealed, shown: Some(secret.text()), public_key: None },
            Signing::V1a => {
                let public_key = secret.public_key()?;
                Self { sealed, shown: None, public_key: Some(public_key) }
            }
        })
    }
}

fn known(done: bool) -> Result<(), EndpointError> {
    done.then_some(()).ok_or(EndpointError::Unknown)
}

/// The cursor of a new endpoint: it gets the events after this number.
fn cursor(start: Start, log: LogRange) -> Result<i64, EndpointError> {
    match start {
        Start::Now => Ok(log.number),
        Start::Beginning => Ok((log.oldest - 1).max(0)),
        Start::Sequence(sequence) => {
            let number = sequence.saturating_add(log.after);
            let fits = (log.oldest..=log.number + 1).contains(&number);
            let detail = "must be a sequence that the event log has, or the next one";
            fits.then_some(number - 1).ok_or(EndpointError::invalid("/start", detail))
        }
    }
}

/// Whether an endpoint with these scenes is one for a caller with those. `None`: every scene.
fn is_within(scenes: &Scenes, names: Option<&[String]>) -> bool {
    let all = |names: &[String]| names.iter().all(|name| scenes.include_name(name));
    !scenes.are_limited() || names.is_some_and(all)
}

pub fn type_names(types: &[EventKind]) -> Vec<String> {
    types.iter().map(|kind| kind.as_str().to_owned()).collect()
}

pub fn scene_names(scenes: &[BizType]) -> Vec<String> {
    scenes.iter().map(|scene| scene.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_an_event_that_the_log_has_or_the_next_one() {
        // Ten events of an earlier epoch, of which seven are gone, and five of this one.
        let log = LogRange { number: 15, oldest: 8, after: 10 };
        let number = |start| cursor(start, log).ok();
        assert_eq!(number(Start::Now), Some(15));
        assert_eq!(number(Start::Beginning), Some(7));
        assert_eq!(number(Start::Sequence(1)), Some(10));
        assert_eq!(number(Start::Sequence(6)), Some(15));
        for beyond in [-5, 7, i64::MAX] {
            assert_eq!(number(Start::Sequence(beyond)), None, "{beyond}");
        }
        let empty = LogRange { number: 0, oldest: 1, after: 0 };
        assert_eq!(cursor(Start::Beginning, empty).ok(), Some(0));
        assert_eq!(cursor(Start::Sequence(1), empty).ok(), Some(0));
    }
}
