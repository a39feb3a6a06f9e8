//! Loads a leased endpoint: converts its row to types, opens its keys, and builds its window.

use std::time::Duration;

use super::state::{Health, Key, Lane, Row, RowState, Rules};
use super::window::{MOST_OPEN, Window};
use crate::domain::event::{EventId, EventKind, test_body};
use crate::domain::ids::{EndpointId, VerificationId};
use crate::domain::webhook_endpoint::{DeliveryOrder, EndpointStatus, Signing};
use crate::store;
use crate::store::events::{Epoch, Filter};
use crate::store::webhook_deliveries::{ClaimedEndpoint, MOST_REDELIVERIES, PendingRow};
use crate::vault::{DataKey, EndpointSecret, SealedAt, Secret, Vault, WrappedKey};
use crate::webhooks::signing::SigningKey;
use crate::worker::context::Worker;

/// One endpoint, ready to be delivered to.
#[derive(Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub url: String,
    pub revision: i32,
    pub status: EndpointStatus,
    pub filter: Filter,
    pub data_key: DataKey,
    /// The current one first.
    pub keys: Vec<SigningKey>,
}

/// A requested test.
#[derive(Debug)]
pub struct Test {
    pub id: EventId,
    pub body: String,
    pub epoch: Epoch,
}

/// An endpoint and the state of its deliveries.
#[derive(Debug)]
pub struct Loaded {
    pub endpoint: Endpoint,
    pub window: Window,
    pub test: Option<Test>,
    /// There may be more redeliveries than were read.
    pub more_redeliveries: bool,
}

impl Loaded {
    /// `None`: the key of the endpoint does not open. This is logged.
    pub async fn read(worker: &Worker, claimed: ClaimedEndpoint) -> store::Result<Option<Self>> {
        let id = EndpointId(claimed.id);
        let status = claimed.status()?;
        let (ordering, signing) = (claimed.ordering()?, claimed.signing()?);
        let Some((data_key, keys)) = open_keys(&worker.vault, id, &claimed, signing) else {
            tracing::error!(endpoint = %id, "secret of the endpoint does not open: nothing is delivered");
            return Ok(None);
        };
        let pending = worker.store.webhook_deliveries().pending(id).await?;
        let test = match pending.iter().find_map(|row| row.test_id.map(|id| (id, row.first_at))) {
            Some((test, at)) => {
                let (test, epoch) = (EventId(test), worker.store.events().epoch().await?);
                Some(Test { id: test, body: test_body(test, at, id.0), epoch })
            }
            None => None,
        };
        let window = window(&claimed, ordering, &pending, worker.deliveries.disable_after);
        let redeliveries = pending.iter().filter(|row| row.redelivery).count();
        let endpoint = Endpoint {
            id,
            revision: claimed.revision,
            filter: filter(&claimed),
            data_key,
            keys,
            url: claimed.url,
            status,
        };
        Ok(Some(Self {
            endpoint,
            window,
            test,
            more_redeliveries: redeliveries >= MOST_REDELIVERIES,
        }))
    }
}

fn open_keys(
    vault: &Vault,
    id: EndpointId,
    claimed: &ClaimedEndpoint,
    signing: Signing,
) -> Option<(DataKey, Vec<SigningKey>)> {
    let wrapped = WrappedKey { key_id: claimed.key_id.clone(), bytes: claimed.wrapped.clone() };
    let data_key = vault.open_endpoint_key(id, &wrapped).ok()?;
    let sealed = [Some(&claimed.secret), claimed.previous_secret.as_ref()];
    let keys = sealed.into_iter().flatten().map(|sealed| {
        let bytes = data_key.open(SealedAt::WebhookSecret(id), sealed).ok()?;
        match signing {
            Signing::V1a => SigningKey::v1a(&bytes).ok(),
            Signing::V1 => {
                let secret = Secret::parse(&EndpointSecret::from_bytes(&bytes)?.text()).ok()?;
                Some(SigningKey::V1(secret))
            }
        }
    });
    let keys = keys.collect::<Option<Vec<_>>>()?;
    Some((data_key, keys))
}

fn filter(claimed: &ClaimedEndpoint) -> Filter {
    let kinds = claimed.types.as_ref();
    Filter {
        // A type that this version does not know has no events.
        kinds: kinds.map(|types| types.iter().filter_map(|name| EventKind::parse(name)).collect()),
        scenes: claimed.biz_types.clone(),
    }
}

/// The window of a claimed endpoint, from its rows.
pub fn window(
    claimed: &ClaimedEndpoint,
    ordering: DeliveryOrder,
    pending: &[PendingRow],
    limit: Option<Duration>,
) -> Window {
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    let rules = Rules {
        strict: ordering == DeliveryOrder::Strict,
        max_in_flight: usize::try_from(claimed.max_in_flight).unwrap_or(1).max(1),
        per_second: claimed.requests_per_second,
        disable_after: limit,
    };
    let health = Health {
        failing_for: claimed.failing_for.map(seconds),
        failures: count(claimed.failures),
        warnings: u32::try_from(claimed.warned).unwrap_or(0),
        next_try_in: claimed.next_try_in.map(seconds),
        disabled: None,
    };
    let events = pending.iter().filter(|row| row.number > 0);
    let dead = events.clone().find(|row| row.state == "dead").map(|row| row.number);
    let rows: Vec<Row> = events.filter_map(row).collect();
    debug_assert!(rows.len() <= 2 * MOST_OPEN + MOST_REDELIVERIES, "more than are read");
    Window::new(rules, claimed.cursor, health, &rows, dead)
}

fn row(row: &PendingRow) -> Option<Row> {
    let state = match row.state.as_str() {
        "retry" => RowState::Retry(seconds(row.next_in.unwrap_or(0.0))),
        "held" => RowState::Held,
        _ => return None,
    };
    let lane = if row.redelivery { Lane::Redelivery } else { Lane::Log };
    Some(Row {
        key: Key { lane, number: row.number },
        verification: row.verification_id.map(VerificationId),
        state,
        attempts: u32::try_from(row.attempts).unwrap_or(0),
    })
}

fn seconds(seconds: f64) -> Duration {
    // At most a year: no delay here is longer.
    Duration::from_secs_f64(seconds.clamp(0.0, 31_536_000.0))
}
