//! The addresses to listen on: free, taken by this installation's own service, or by another program.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::context::DoctorContext;
use verdict::checks::Finding;

/// For a service on this machine to answer. Long, because a slow machine is no fault.
const ANSWER: Duration = Duration::from_secs(10);

/// Of `/readyz` on an operations listener; members that an older version lacks are `None`.
#[derive(Debug, Default, Deserialize)]
struct Details {
    status: String,
    installation: Option<String>,
    http: Option<SocketAddr>,
}

pub(super) async fn public(doctor: &DoctorContext) -> Finding {
    if !doctor.role.accepts() {
        return Finding::skipped("this role does not listen there");
    }
    let Ok(address) = doctor.config.http_listen() else {
        return Finding::skipped("http.listen is not usable");
    };
    if let Some(finding) = free_or_not_ours(address).await {
        return finding;
    }
    // Strangers ask there, so whose it is is only said on the operations listener beside it.
    let operations = doctor.config.operations_listen().ok();
    let beside = match operations {
        Some(operations) => details(operations).await,
        None => None,
    };
    match beside {
        Some(details) if details.http.is_some_and(|http| is_same(http, address)) => {
            served(doctor, address, &details)
        }
        Some(Details { installation: None, .. }) => Finding::warning(
            format!("a verdict serves on {address}, and does not name its database"),
            "see with ss -ltnp that it is the one with this configuration",
        ),
        _ => another(address, "with another operations.listen"),
    }
}

pub(super) async fn operations(doctor: &DoctorContext) -> Finding {
    let Ok(address) = doctor.config.operations_listen() else {
        return Finding::skipped("operations.listen is not usable");
    };
    if let Some(finding) = free_or_not_ours(address).await {
        return finding;
    }
    match details(address).await {
        Some(details) => served(doctor, address, &details),
        None => Finding::warning(
            format!("a verdict serves on {address} and does not say in time whether it is ready"),
            "leave it running, and see what database says here",
        ),
    }
}

/// Whether the address that the provider is given leads to this account, as far as its text says.
pub(super) fn callback_url(doctor: &DoctorContext) -> Finding {
    const KEY: &str = "provider.face_verify.callback_url";
    let (Ok(url), Ok(account)) = (doctor.config.callback_url(), doctor.config.account()) else {
        return Finding::skipped(format!("{KEY} or provider.account is not usable"));
    };
    let Some(url) = url else {
        return Finding::ok(format!("{KEY} is empty: results of face-verify are polled"));
    };
    let mut expected = url.clone();
    if let Ok(mut segments) = expected.path_segments_mut() {
        segments.clear().extend(["v1", "provider-callbacks", &account]);
    }
    if url.path().ends_with(expected.path()) {
        Finding::ok(format!("{KEY} leads to the callbacks of this account"))
    } else {
        Finding::warning(
            format!("{KEY} does not end with /v1/provider-callbacks/ and the account"),
            "correct it, unless a proxy in front rewrites the path; callbacks that arrive \
             elsewhere are lost, and results come only by polling",
        )
    }
}

/// `None`: a Verdict serves there. `/healthz` tells, for it asks nobody.
async fn free_or_not_ours(address: SocketAddr) -> Option<Finding> {
    match TcpListener::bind(address).await {
        Ok(_) => return Some(Finding::ok(format!("{address} is free"))),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
        Err(error) => {
            let cause = verdict::causes::of_io(&error);
            let says = format!("cannot listen on {address}: {cause}");
            let hint = "choose an address of this machine, and a port this user may use";
            return Some(Finding::failed(says, hint));
        }
    }
    match tokio::time::timeout(ANSWER, get(address, "/healthz")).await {
        Ok(Some(answer)) if is_ours(&answer) => None,
        Ok(_) => Some(Finding::failed(
            format!("{address} is taken by another program"),
            "stop it, or choose another address",
        )),
        Err(_) => Some(Finding::failed(
            format!("{address} is taken by another program, or by a verdict that hangs"),
            "see which it is (ss -ltnp): another one can be stopped, or choose another address",
        )),
    }
}

/// A Verdict answers there: with this database, with another one, or with an unknown one.
fn served(doctor: &DoctorContext, address: SocketAddr, details: &Details) -> Finding {
    let same = doctor.installation.as_ref().zip(details.installation.as_ref());
    match same.map(|(ours, theirs)| ours == theirs) {
        Some(false) => another(address, "with another database"),
        _ if details.status != "ready" => Finding::warning(
            format!("a verdict serves on {address} and is not ready"),
            "GET /readyz on its operations.listen says why",
        ),
        Some(true) => {
            Finding::ok(format!("a ready verdict of this installation serves on {address}"))
        }
        None => Finding::warning(
            format!("a ready verdict serves on {address}; its database is unknown"),
            "see what database says here, and with ss -ltnp which process it is",
        ),
    }
}

fn another(address: SocketAddr, how: &str) -> Finding {
    Finding::failed(
        format!("{address} is taken by another Verdict, {how}"),
        "stop it, or choose another address",
    )
}

/// The same port, and an address that leads there.
fn is_same(bound: SocketAddr, wanted: SocketAddr) -> bool {
    bound.port() == wanted.port()
        && (bound.ip() == wanted.ip()
            || bound.ip().is_unspecified()
            || wanted.ip().is_unspecified())
}

async fn details(address: SocketAddr) -> Option<Details> {
    let answer = tokio::time::timeout(ANSWER, get(address, "/readyz")).await.ok()??;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// Of `/healthz`: our words, and the id that we give each request.
fn is_ours(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    head.to_ascii_lowercase().contains("\r\nx-request-id: ") && body == "{\"status\":\"ok\"}"
}

/// The answer to a GET there.
async fn get(mut address: SocketAddr, path: &str) -> Option<String> {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
