//! Where the process listens, and for how many connections.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{Role, descriptors};
use crate::config::{ConfigError, Settings};
use crate::http::server;

/// The limits of connections, as far as the limit of open files allows.
pub(super) fn fitting_limits(settings: &Settings, role: Role) -> server::Limits {
    let configured = &settings.limits;
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

pub(super) async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(address).await.map_err(|error| {
        let cause = crate::causes::of_io(&error);
        ConfigError::new(key, format!("cannot listen on {address}: {cause}"))
    })
}
