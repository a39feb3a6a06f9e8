//! The parts of the API.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::shared::{Flushed, Shared};
use super::starter::starter;
use crate::config::Settings;
use crate::http::api_key_auth::ApiKeys;
use crate::http::event_watch::EventWatch;
use crate::http::long_polls::{self, LongPolls};
use crate::http::one_second_cache::OneSecondCache;
use crate::http::query_throttle::QueryThrottles;
use crate::http::sources::{CurrentSources, Sources};
use crate::http::wakeups::Wakeups;
use crate::http::webhook_state::Webhooks;
use crate::http::{Parts, server};
use crate::telemetry;
use crate::vault::Vault;

/// Without the archive, which is opened last.
pub(super) fn api_parts(
    settings: Settings,
    vault: Option<Arc<Vault>>,
    limits: &server::Limits,
    listens: Option<SocketAddr>,
    shared: &Shared<'_>,
) -> anyhow::Result<Flushed<Parts>> {
    let store = &shared.store;
    let common = settings.common;
    let (accepting, flusher) = store.start_accepting(common.window, common.max_batch);
    let (sources, starter) = match settings.accepting {
        Some(accepting) => (accepting.sources, starter(accepting.starting, shared)?),
        None => (Sources::default(), None),
    };
    // Nothing is lost when it is dropped with the runtime: it only reads.
    let (loader, _) = store.verifications().start_loader();
    let (wakeups, _) = store.wakeups().start_waking();
    let detached = TaskTracker::new();
    let part = Parts {
        store: store.clone(),
        accepting,
        loader,
        wakeups: Wakeups::new(
            wakeups,
            shared.signals.clone(),
            shared.clock.clone(),
            detached.clone(),
        ),
        signals: shared.signals.clone(),
        long_polls: LongPolls::new(long_polls::Limits {
            all: (limits.connections / 2).max(1),
            per_key: common.waits_per_key,
        }),
        event_watch: EventWatch::default(),
        readiness: OneSecondCache::default(),
        docs: common.docs,
        callback_form: common.callback_form,
        keys: ApiKeys::new(store.clone()),
        sources: CurrentSources::new(sources)?,
        product: common.product,
        window: common.window,
        bodies: common.bodies,
        account: common.account,
        vault,
        persons: OnceCell::new(),
        archive: None,
        public_url: common.public_url,
        callback_url: common.callback_url,
        starter,
        four_eyes: common.four_eyes,
        reviews: Arc::new(common.reviews),
        policies_need_two: common.policies_need_two,
        policy_cache: Arc::default(),
        webhooks: Webhooks::new(common.webhooks),
        works: shared.role.works(),
        listens,
        query_throttles: QueryThrottles::default(),
        render_metrics: Box::new(|| telemetry::metrics().render()),
        clock: shared.clock.clone(),
        ids: shared.ids.clone(),
        detached,
        stop: shared.stop.clone(),
    };
    Ok(Flushed { part, flusher })
}
