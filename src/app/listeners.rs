//! Where the process listens, and for how many connections.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::descriptors;
use super::role::Role;
use crate::config::{ConfigError, Settings};
use crate::http::server;

/// The limits of connections, as far as the limit of open files allows.
pub(super) fn fitting_limits(settings: &Settings, role: Role) -> server::Limits {
    let configured = &settings.common.limits;
    let limit = descriptors::limit();
    let fitting =
        descriptors::fitting_connections(configured.connections, limit, settings.descriptors);
    if fitting < configured.connections && role.accepts() {
        tracing::warn!(
            configured = configured.connections,
            connections = fitting,
            limit,
            "http.max_connections lowered to fit the limit of open files"
        );
    }
    server::Limits { connections: fitting, ..configured.clone() }
}

/// The sockets of a process.
pub(super) struct Listeners {
    /// For callers; `None` for a process that accepts nothing.
    pub(super) http: Option<TcpListener>,
    /// For callbacks; `None`: they are served with the rest.
    pub(super) callbacks: Option<TcpListener>,
    /// For people; `None` where the console is off.
    pub(super) console: Option<TcpListener>,
    pub(super) operations: TcpListener,
}

impl Listeners {
    pub(super) async fn bind(settings: &Settings) -> Result<Self, ConfigError> {
        let http = match &settings.accepting {
            Some(accepting) => Some(bind("http.listen", accepting.listen).await?),
            None => None,
        };
        let callbacks = settings.accepting.as_ref().and_then(|it| it.callbacks_listen);
        let callbacks = match callbacks {
            Some(address) => Some(bind("http.callbacks_listen", address).await?),
            None => None,
        };
        let console = match &settings.console {
            Some(console) => Some(bind("console.listen", console.listen).await?),
            None => None,
        };
        let operations = bind("operations.listen", settings.common.operations_listen).await?;
        Ok(Self { http, callbacks, console, operations })
    }

    pub(super) fn http_address(&self) -> io::Result<Option<SocketAddr>> {
        self.http.as_ref().map(TcpListener::local_addr).transpose()
    }

    pub(super) fn console_address(&self) -> io::Result<Option<SocketAddr>> {
        self.console.as_ref().map(TcpListener::local_addr).transpose()
    }

    pub(super) fn callbacks_address(&self) -> io::Result<Option<SocketAddr>> {
        self.callbacks.as_ref().map(TcpListener::local_addr).transpose()
    }
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(address).await.map_err(|error| {
        let cause = crate::causes::of_io(&error);
        ConfigError::new(key, format!("cannot listen on {address}: {cause}"))
    })
}
