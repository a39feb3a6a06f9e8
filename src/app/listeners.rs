//! Where the process listens, and for how many connections.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{Role, descriptors};
use crate::config::{Config, ConfigError};
use crate::http::server;

/// The limits of connections, as far as the limit of open files allows.
pub(super) fn fitting_limits(config: &Config, role: Role) -> anyhow::Result<server::Limits> {
    let configured = config.limits()?;
    let limit = descriptors::limit();
    let fitting = descriptors::fitting_connections(
        configured.connections,
        limit,
        config.descriptors_needed(role.works())?,
    );
    if fitting < configured.connections && role.accepts() {
        tracing::warn!(
            configured = configured.connections,
            connections = fitting,
            limit,
            "http.max_connections lowered to fit the limit of open files"
        );
    }
    Ok(server::Limits { connections: fitting, ..configured })
}

pub(super) async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(address).await.map_err(|error| ConfigError {
        key: key.to_owned(),
        problem: format!("cannot listen on {address}: {}", crate::causes::of_io(&error)),
    })
}
