//! `verdict healthcheck`: for the container's health check, which has no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::causes;

use crate::context::Context;
use crate::output::say;

/// Asks `/readyz` on the operations listener of this machine.
pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    // That address alone: see there why a mistake elsewhere must not fail this check.
    let mut address = context.config()?.health_address()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let ask = async {
        let mut stream = TcpStream::connect(address).await.map_err(|error| {
            anyhow::anyhow!("{address} does not answer: {}", causes::of_io(&error))
        })?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask)
        .await
        .map_err(|_| anyhow::anyhow!("{address} does not answer"))??;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    say(body.trim());
    let ready = answer.starts_with("HTTP/1.1 200");
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
