//! What is around the process: files, the object store, disk and ports.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use verdict::app::descriptors;
use verdict::domain::ids::{ResultId, VerificationId};
use verdict::domain::image::ImageKind;
use verdict::images::archive::{Archive, ArchiveError, ImageId, Put, Settings};

use super::Patient;
use super::finding::Finding;
use crate::cli::shell::quoted;

/// Others may read.
const BY_OTHERS: u32 = 0o004;
/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o002;
/// In such a folder nobody removes or renames another's files.
const STICKY: u32 = 0o1000;
/// Below it images are lost soon.
const FEW_BYTES: u64 = 1 << 30;
const FEW_SHARE: f64 = 0.05;
/// For a service on this machine to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// What is put into the store and taken out again.
const PROBE: &[u8] = b"verdict doctor";

pub(super) fn secret_files(patient: &Patient) -> Vec<Finding> {
    let files = patient.config.files_with_secrets();
    let count = files.len();
    let mut found = Vec::new();
    for (key, file) in files {
        // One that cannot be read is the configuration's complaint.
        let Ok(about) = std::fs::metadata(file) else { continue };
        if about.mode() & WRITABLE_BY_OTHERS != 0 || others_replace(file) {
            found.push(Finding::warning(
                format!("{key}: every user of this machine can change {}", file.display()),
                format!("chmod o-w {}, and the folder that it is in", file.display()),
            ));
        }
        if about.mode() & BY_OTHERS != 0 {
            found.push(Finding::warning(
                format!("{key}: every user of this machine can read {}", file.display()),
                format!("chmod o-r {}", quoted(&file.to_string_lossy())),
            ));
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(format!(
            "{count} files with secrets; other users can neither read nor change them"
        )));
    }
    found
}

/// Every user of this machine can put another file in its place.
fn others_replace(file: &Path) -> bool {
    let folder = file.parent().and_then(|folder| std::fs::metadata(folder).ok());
    folder.is_some_and(|folder| folder.mode() & (WRITABLE_BY_OTHERS | STICKY) == WRITABLE_BY_OTHERS)
}

pub(super) async fn object_store(patient: &Patient) -> Finding {
    let Ok(images) = patient.config.images() else {
        return Finding::skipped("the section images is not usable");
    };
    if !images.archives() {
        return Finding::skipped("images are not archived");
    }
    if let Settings::Folder(folder) = &images.store
        && let Ok(about) = std::fs::metadata(folder)
        && about.mode() & WRITABLE_BY_OTHERS != 0
    {
        return Finding::warning(
            format!("every user of this machine can change {}", folder.display()),
            format!("chmod o-w {}: others could delete images, or plant links", folder.display()),
        );
    }
    let opened = tokio::task::spawn_blocking(move || Archive::open(&images.store)).await;
    let hint = "see images.store: the folder must be writable, or bucket, endpoint and key of \
                [images.s3] good for put, get, list and delete";
    let Ok(Ok(archive)) = opened else {
        return Finding::failed(ArchiveError::Setup.to_string(), hint);
    };
    let now = patient.clock.now();
    let probe = ImageId {
        verification: patient.ids.next::<VerificationId>(now),
        result: patient.ids.next::<ResultId>(now),
        kind: ImageKind::Face,
    };
    if !patient.role.works() {
        return match archive.get(&probe).await {
            Ok(_) => Finding::ok("objects can be read"),
            Err(error) => Finding::failed(format!("get: {error}"), hint),
        };
    }
    match round_trip(&archive, &probe).await {
        Ok((true, again)) => Finding::ok(format!(
            "an object was put, read and deleted{}",
            if archive.is_unconditional() {
                "; the store does not take If-None-Match, so a repeated put writes the image again"
            } else if again == Put::New {
                "; the store ignores If-None-Match, so a repeated put writes the image again"
            } else {
                ""
            }
        )),
        Ok((false, _)) => Finding::failed("what was put is not what was read", hint),
        Err((what, error)) => Finding::failed(format!("{what}: {error}"), hint),
    }
}

/// Puts an object twice, reads and deletes it; whether it was the same, and what the second put did.
async fn round_trip(
    archive: &Archive,
    probe: &ImageId,
) -> Result<(bool, Put), (&'static str, ArchiveError)> {
    archive.put(probe, PROBE.to_vec()).await.map_err(|error| ("put", error))?;
    let again = archive.put(probe, PROBE.to_vec()).await.map_err(|error| ("put", error));
    let got = archive.get(probe).await.map_err(|error| ("get", error));
    // Also after a failed reading: nothing is to be left.
    archive.delete(probe).await.map_err(|error| ("delete", error))?;
    let emptied = archive.delete_all(probe.verification).await;
    emptied.map_err(|error| ("list and delete", error))?;
    Ok((got?.is_some_and(|bytes| bytes == PROBE), again?))
}

pub(super) fn disk_space(patient: &Patient) -> Finding {
    let Ok(images) = patient.config.images() else {
        return Finding::skipped("the section images is not usable");
    };
    let archives = images.archives();
    let Settings::Folder(folder) = images.store else {
        return Finding::skipped("the object store is not a folder");
    };
    if !archives && !folder.exists() {
        return Finding::skipped("images are not archived");
    }
    // One that is still to be made lies on the disk of what is above it.
    let there = folder.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    let Ok(disk) = rustix::fs::statvfs(there) else {
        return Finding::failed(
            "the disk of the object store does not tell its space",
            "see that images.store is mounted",
        );
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let all = disk.f_blocks.saturating_mul(disk.f_frsize).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a share to two places")]
    let share = free as f64 / all as f64;
    let says = format!("{} MiB free, {:.0} %", free >> 20, share * 100.0);
    if free < FEW_BYTES || share < FEW_SHARE {
        let hint = "make room, enlarge the disk, or let images go earlier (retention.images_days)";
        return Finding::warning(says, hint);
    }
    Finding::ok(says)
}

pub(super) async fn public(patient: &Patient) -> Finding {
    if !patient.role.accepts() {
        return Finding::skipped("this role does not listen there");
    }
    match patient.config.http_listen() {
        Ok(address) => listener(address).await,
        Err(_) => Finding::skipped("http.listen is not usable"),
    }
}

pub(super) async fn operations(patient: &Patient) -> Finding {
    match patient.config.operations_listen() {
        Ok(address) => listener(address).await,
        Err(_) => Finding::skipped("operations.listen is not usable"),
    }
}

async fn listener(address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => taken(address).await,
        Err(error) => Finding::failed(
            format!("cannot listen on {address}: {}", error.kind()),
            "choose an address of this machine, and a port this user may use",
        ),
    }
}

/// What the operating system allows this user: the service will run under the same limits.
pub(super) fn limits(patient: &Patient) -> Vec<Finding> {
    let mut found = Vec::new();
    if !verdict::vault::all_keys_are_locked() {
        found.push(Finding::warning(
            "keys may be written to swap: the limit of locked memory is too low",
            "raise it (ulimit -l, LimitMEMLOCK=, ulimits: memlock) to 64 KiB or more",
        ));
    }
    let needed = patient.config.limits().and_then(|limits| {
        Ok((limits.connections, patient.config.descriptors_needed(patient.role.works())?))
    });
    if let Ok((connections, needed)) = needed {
        // The service takes what the hard limit gives.
        let limit = descriptors::hard_limit();
        let fitting = descriptors::fitting_connections(connections, limit, needed);
        if fitting < connections && patient.role.accepts() {
            found.push(Finding::warning(
                format!("{limit} open files allow {fitting} of {connections} http.max_connections"),
                "raise the limit (ulimit -n, LimitNOFILE=, ulimits: nofile), or lower the key",
            ));
        }
    }
    if found.is_empty() {
        found.push(Finding::ok("open files and locked memory are enough"));
    }
    found
}

/// By us, or by somebody else. `/healthz` tells, for it asks nobody; `/readyz` is about the state.
async fn taken(address: SocketAddr) -> Finding {
    match tokio::time::timeout(ANSWER, get(address, "/healthz")).await {
        Ok(Some(answer)) if is_ours(&answer) => {}
        Ok(_) => {
            return Finding::failed(
                format!("{address} is taken by another program"),
                "stop it, or choose another address",
            );
        }
        Err(_) => {
            return Finding::failed(
                format!("{address} is taken by another program, or by a verdict that hangs"),
                "see which it is (ss -ltnp): another one can be stopped, or choose another address",
            );
        }
    }
    match tokio::time::timeout(ANSWER, get(address, "/readyz")).await {
        Ok(Some(answer)) if answer.starts_with("HTTP/1.1 200") => {
            Finding::ok(format!("a ready verdict serves on {address}"))
        }
        Ok(Some(_)) => Finding::warning(
            format!("a verdict serves on {address} and is not ready"),
            "ask /readyz on its operations.listen why",
        ),
        _ => Finding::warning(
            format!("a verdict serves on {address} and does not say in time whether it is ready"),
            "leave it running, and see what database says here",
        ),
    }
}

/// Of `/healthz`: our words, and the id that we give each request.
fn is_ours(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    head.to_ascii_lowercase().contains("\r\nx-request-id: ") && body == "{\"status\":\"ok\"}"
}

/// What is answered there.
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
