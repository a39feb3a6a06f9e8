//! A running service: what it consists of, how it is started, and the order in which it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::descriptors;
use super::listeners::Listeners;
use super::presence;
use super::reload::Reload;
use super::role::Role;
use super::shared::Flushed;
use crate::console::{self, Console};
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::http::{
    Api, callbacks_router, operations_router, router, router_without_callbacks, server,
};
use crate::periodic::{self, Periodic};
use crate::store::Store;
use crate::store::signals::Signals;
use crate::telemetry;
use crate::worker::Worker;

/// For the last batches to be written once nobody adds to them.
const LAST_BATCHES: Duration = Duration::from_secs(5);
/// For a last scrape.
const OPERATIONS_DRAIN: Duration = Duration::from_secs(1);
/// Histograms are folded this often.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// A service that runs.
#[derive(Debug)]
pub struct Running {
    /// Where callbacks and the API are served; `None` for a process that accepts nothing.
    pub http: Option<SocketAddr>,
    /// Where callbacks are served in place of there; `None`: there.
    pub callbacks: Option<SocketAddr>,
    /// Where people are served; `None`: nowhere.
    pub console: Option<SocketAddr>,
    /// Where metrics and health are served.
    pub operations: SocketAddr,
    stop: CancellationToken,
    reload_now: Arc<Notify>,
    whole: JoinHandle<()>,
}

impl Running {
    /// Reloads the configuration now, without waiting for the next poll.
    pub fn reload(&self) {
        self.reload_now.notify_one();
    }

    /// Tells it to stop; [`Self::stopped`] waits for it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has stopped.
    pub async fn stopped(self) {
        let _ = self.whole.await;
    }
}

/// Everything that runs, not started yet.
pub(super) struct Service {
    pub(super) store: Store,
    pub(super) signals: Signals,
    pub(super) api: Flushed<Api>,
    pub(super) console: Option<Console>,
    pub(super) limits: server::Limits,
    pub(super) listeners: Listeners,
    pub(super) worker: Option<Flushed<Worker>>,
    pub(super) reload: Reload,
    pub(super) role: Role,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
}

impl Service {
    /// `reload_now` wakes the reload.
    pub(super) fn start(
        self,
        reload_now: Arc<Notify>,
        stop: CancellationToken,
    ) -> anyhow::Result<Running> {
        let (http, operations) =
            (self.listeners.http_address()?, self.listeners.operations.local_addr()?);
        let (callbacks, console) =
            (self.listeners.callbacks_address()?, self.listeners.console_address()?);
        let whole = tokio::spawn(self.run(stop.clone()));
        Ok(Running { http, callbacks, console, operations, stop, reload_now, whole })
    }

    async fn run(self, stop: CancellationToken) {
        // For the parts that others depend on: they stop after the others.
        let background = CancellationToken::new();
        let Flushed { part: api, flusher } = self.api;
        let mut last = vec![flusher];
        let relay = tokio::spawn({
            let (signals, store, stop) =
                (self.signals.clone(), self.store.clone(), background.clone());
            async move { signals.relay(&store, stop).await }
        });
        let waiting = tokio::spawn({
            let (api, stop) = (api.clone(), background.clone());
            async move {
                let (store, signals) = (&api.store, &api.signals);
                tokio::join!(
                    api.long_polls.serve(store.clone(), signals.clone(), stop.clone()),
                    api.event_watch.serve(store.clone(), signals.clone(), stop.clone()),
                );
            }
        });
        let here = (self.ids.clone(), self.clock);
        let presence =
            tokio::spawn(presence::keep(self.store.clone(), self.role, here, background.clone()));
        let upkeep = tokio::spawn(keep_metrics(self.ids.clone(), background.clone()));
        let reload = tokio::spawn(self.reload.run(api.clone(), self.ids, background.clone()));
        // Health and metrics answer until the end.
        let operations = tokio::spawn(server::serve(
            self.listeners.operations,
            operations_router(api.clone()),
            server::Limits {
                connections: descriptors::OPERATIONS_CONNECTIONS,
                drain: OPERATIONS_DRAIN,
                ..self.limits.clone()
            },
            background.clone(),
        ));
        let worker = self.worker.map(|Flushed { part, flusher }| {
            last.push(flusher);
            tokio::spawn(part.run(stop.clone()))
        });
        let serve = |listener: Option<TcpListener>, router: Option<Router>| {
            let (listener, router) = listener.zip(router)?;
            Some(tokio::spawn(server::serve(listener, router, self.limits.clone(), stop.clone())))
        };
        let callbacks = self.listeners.callbacks.is_some().then(|| callbacks_router(api.clone()));
        let at_http = if callbacks.is_some() { router_without_callbacks } else { router };
        let http = serve(self.listeners.http, Some(at_http(api.clone())));
        let callbacks = serve(self.listeners.callbacks, callbacks);
        let console = serve(self.listeners.console, self.console.map(console::router));
        let (detached, drain) = (api.detached.clone(), self.limits.drain);
        drop(api);

        stop.cancelled().await;
        let cut = Instant::now() + drain;
        tracing::info!("stopping");
        for part in [http, callbacks, console, worker].into_iter().flatten() {
            let _ = part.await;
        }
        // They share the drain time of the requests. Nothing can start any longer.
        detached.close();
        if timeout_at(cut, detached.wait()).await.is_err() {
            tracing::warn!(
                calls = detached.len(),
                "work without a client cut after the drain time"
            );
        }
        background.cancel();
        for part in [operations, relay, waiting, presence, upkeep, reload] {
            let _ = part.await;
        }
        let _ = tokio::time::timeout(LAST_BATCHES, async {
            for flusher in last {
                let _ = flusher.await;
            }
        })
        .await;
        let _ = tokio::time::timeout(LAST_BATCHES, self.store.close()).await;
        tracing::info!("stopped");
    }
}

struct FoldHistograms;

impl Periodic for FoldHistograms {
    async fn round(&mut self) -> Duration {
        telemetry::metrics().run_upkeep();
        METRICS_UPKEEP
    }
}

async fn keep_metrics(ids: Ids, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = periodic::repeat(&ids, FoldHistograms) => {}
    }
}
