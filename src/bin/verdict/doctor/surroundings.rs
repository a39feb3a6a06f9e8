//! The surroundings of the process: files, the object store, disk and ports.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use verdict::app::descriptors;
use verdict::causes::{self, Cause};
use verdict::domain::counted::counted;
use verdict::domain::ids::{ResultId, VerificationId};
use verdict::domain::image::ImageKind;
use verdict::images::archive::{Archive, ArchiveError, ImageId, Put, Settings};

use super::context::DoctorContext;
use crate::shell::quoted;
use verdict::checks::Finding;

/// Others may read.
const BY_OTHERS: u32 = 0o004;
/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o002;
/// Others may enter the folder.
const ENTERED_BY_OTHERS: u32 = 0o001;
/// In such a folder nobody removes or renames another's files.
const STICKY: u32 = 0o1000;
/// Below it images are lost soon.
const FEW_BYTES: u64 = 1 << 30;
const FEW_SHARE: f64 = 0.05;
/// For the collector of traces to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Put into the store and deleted again.
const PROBE: &[u8] = b"verdict doctor";

pub(super) fn secret_files(doctor: &DoctorContext) -> Vec<Finding> {
    let files = doctor.config.files_with_secrets();
    let count = files.len();
    let mut found = Vec::new();
    for (key, file) in files {
        // One that cannot be read is the configuration's complaint.
        let Ok(about) = std::fs::metadata(file) else { continue };
        if !others_reach(file) {
            continue;
        }
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
            "{} with secrets; other users can neither read nor change {}",
            counted(count, "file", "files"),
            if count == 1 { "it" } else { "them" }
        )));
    }
    found
}

/// Every user of this machine can get to the folder that it is in.
fn others_reach(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else { return true };
    let mut folders = file.ancestors().skip(1);
    folders.all(|folder| {
        std::fs::metadata(folder).is_ok_and(|about| about.mode() & ENTERED_BY_OTHERS != 0)
    })
}

/// Every user of this machine can put another file in its place.
fn others_replace(file: &Path) -> bool {
    let folder = file.parent().and_then(|folder| std::fs::metadata(folder).ok());
    folder.is_some_and(|folder| folder.mode() & (WRITABLE_BY_OTHERS | STICKY) == WRITABLE_BY_OTHERS)
}

pub(super) async fn object_store(doctor: &DoctorContext) -> Finding {
    let Ok(images) = doctor.config.images() else {
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
    let archive = match opened {
        Ok(Ok(archive)) => archive,
        Ok(Err(error)) => return Finding::failed(error.to_string(), advice(error)),
        Err(_) => return Finding::failed(ArchiveError::Setup.to_string(), hint),
    };
    let now = doctor.clock.now();
    let probe = ImageId {
        verification: doctor.ids.next::<VerificationId>(now),
        result: doctor.ids.next::<ResultId>(now),
        kind: ImageKind::Face,
    };
    if !doctor.role.works() {
        return match archive.get(&probe, PROBE.len()).await {
            Ok(_) => Finding::ok("objects can be read"),
            Err(error) => Finding::failed(format!("get: {error}"), advice(error)),
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
        Err((what, error)) => Finding::failed(format!("{what}: {error}"), advice(error)),
    }
}

/// The remedy for its cause.
fn advice(error: ArchiveError) -> String {
    format!("images.store: {}", error.cause().advice())
}

/// Puts an object twice, reads and deletes it; whether it was the same, and what the second put did.
async fn round_trip(
    archive: &Archive,
    probe: &ImageId,
) -> Result<(bool, Put), (&'static str, ArchiveError)> {
    archive.put(probe, PROBE.to_vec()).await.map_err(|error| ("put", error))?;
    let again = archive.put(probe, PROBE.to_vec()).await.map_err(|error| ("put", error));
    let got = archive.get(probe, PROBE.len()).await.map_err(|error| ("get", error));
    // Also after a failed reading: nothing is to be left.
    archive.delete(probe).await.map_err(|error| ("delete", error))?;
    let emptied = archive.delete_all(probe.verification).await;
    emptied.map_err(|error| ("list and delete", error))?;
    Ok((got?.is_some_and(|bytes| bytes == PROBE), again?))
}

pub(super) fn disk_space(doctor: &DoctorContext) -> Finding {
    let Ok(images) = doctor.config.images() else {
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
            "check that images.store is mounted",
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

/// The operating system's limits for this user: the service will run under the same limits.
pub(super) fn limits(doctor: &DoctorContext) -> Vec<Finding> {
    let mut found = Vec::new();
    if !verdict::vault::all_keys_are_locked() {
        found.push(Finding::warning(
            "keys may be written to swap: the limit of locked memory is too low",
            "raise it (ulimit -l, LimitMEMLOCK=, ulimits: memlock) to 64 KiB or more",
        ));
    }
    let needed = doctor
        .config
        .limits()
        .map(|limits| (limits.connections, doctor.config.descriptors_needed(doctor.role.works())));
    if let Ok((connections, needed)) = needed {
        // The service takes what the hard limit gives.
        let limit = descriptors::hard_limit();
        let fitting = descriptors::fitting_connections(connections, limit, needed);
        if fitting < connections && doctor.role.accepts() {
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

/// The collector of traces: it takes an empty export, or says that it is something else.
pub(super) async fn traces(doctor: &DoctorContext) -> Finding {
    let settings = match doctor.config.traces() {
        Ok(Some(settings)) => settings,
        Ok(None) => return Finding::ok("traces.endpoint is empty: no traces are exported"),
        Err(_) => return Finding::skipped("the section traces is not usable"),
    };
    let address = settings.endpoint.origin().ascii_serialization();
    let client = reqwest::Client::builder()
        .timeout(ANSWER)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else { return Finding::skipped("the HTTP client cannot be set up") };
    // No spans at all are an empty message.
    let request = client.post(settings.endpoint).header("content-type", "application/x-protobuf");
    match request.send().await {
        Ok(answer) if answer.status().is_success() => {
            Finding::ok(format!("the collector at {address} takes traces"))
        }
        Ok(answer) => Finding::warning(
            format!("{address} answers a trace with HTTP {}", answer.status().as_u16()),
            "check that traces.endpoint has the path for OTLP over HTTP, as a rule /v1/traces",
        ),
        Err(error) => {
            let cause = causes::of(&error).unwrap_or(Cause::Unknown);
            Finding::warning(
                format!("the collector at {address} does not take traces: {cause}"),
                format!("traces.endpoint: {}; meanwhile traces are dropped", cause.advice()),
            )
        }
    }
}
