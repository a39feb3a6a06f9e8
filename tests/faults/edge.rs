//! The way of the provider's callbacks to the processes: a load balancer that answers probes itself
//! and sends everything else to a process that serves, while there is one.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::service::Service;

/// For a process to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the provider reaches us.
pub struct Edge {
    pub address: SocketAddr,
    services: Arc<OnceLock<Vec<Arc<Service>>>>,
}

impl Edge {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let services: Arc<OnceLock<Vec<Arc<Service>>>> = Arc::default();
        let known = Arc::clone(&services);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let http = http.expect("a client");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (services, http) = (Arc::clone(&known), http.clone());
                // The provider may disconnect at any time.
                tokio::spawn(async move { serve(stream, &services, &http).await });
            }
        });
        Self { address, services }
    }

    pub fn lead_to(&self, services: &[Arc<Service>]) {
        let is_new = self.services.set(services.to_vec()).is_ok();
        assert!(is_new, "the processes are known once");
    }
}

async fn serve(
    mut stream: TcpStream,
    services: &OnceLock<Vec<Arc<Service>>>,
    http: &reqwest::Client,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&head);
    let target = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    let status = match target.split_once('?') {
        None => "200 OK",
        Some((_, query)) if delivered(query, services, http).await => "200 OK",
        Some(_) => "502 Bad Gateway",
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await
}

async fn delivered(
    query: &str,
    services: &OnceLock<Vec<Arc<Service>>>,
    http: &reqwest::Client,
) -> bool {
    for address in services.get().into_iter().flatten().filter_map(|service| service.address()) {
        let url = format!("http://{address}/v1/provider-callbacks/default?{query}");
        if http.get(url).send().await.is_ok_and(|answer| answer.status() == 200) {
            return true;
        }
    }
    false
}
