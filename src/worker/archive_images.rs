//! Archives one result's images: downloads them before their links expire, seals them with the
//! person's key, stores them. Requests new links where the old ones have expired.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::backoff::millis;
use super::context::Worker;
use super::link_refresh::{self, Refresh};
use super::sealed_links::{self, Links};
use super::task_retry::{count_failure, retry_delay};
use crate::domain::ids::ResultId;
use crate::domain::image::ImageKind;
use crate::domain::trace::TraceParent;
use crate::images::archive::{ArchiveError, FoundObjects, ImageId, Put};
use crate::images::format::Recognised;
use crate::images::{Archive, DownloadError, Picture};
use crate::store::archiving::TaskOutcome;
use crate::store::images::{Fate, SettledImage};
use crate::store::tasks::{Task, Work};
use crate::vault::{DataKey, WrappedKey};

/// Until the next try while the object store is down or full: no links are used up meanwhile.
const STORE_RETRY: Duration = Duration::from_secs(10);
/// Bytes from this size on are sealed off the runtime's threads.
const LARGE: usize = 64 * 1024;

/// Kinds whose objects a try has begun to write, for the cleanup after a try that was dropped.
#[derive(Debug, Default)]
pub(super) struct StartedWrites(Mutex<Vec<ImageKind>>);

impl StartedWrites {
    fn begin(&self, kind: ImageKind) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(kind);
    }

    fn kinds(&self) -> Vec<ImageKind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Archives the images that the task's links lead to. An error reschedules the task as a whole.
pub(super) async fn archive(
    worker: &Worker,
    task: &Task,
    started: &StartedWrites,
) -> anyhow::Result<()> {
    let (images, outcome) = follow_links(worker, task, started).await?;
    if settle(worker, task, images, outcome).await? {
        return Ok(());
    }
    tracing::warn!(verification = %task.verification, "task lease lost: nothing written");
    clean_up(worker, task, started).await
}

/// The settled images, and the outcome of the task.
async fn follow_links(
    worker: &Worker,
    task: &Task,
    started: &StartedWrites,
) -> anyhow::Result<(Vec<SettledImage>, TaskOutcome)> {
    let Work::Archive {
        result,
        links,
        data_key,
        expired,
        link_refreshes,
        settled,
        awaits_links,
        ..
    } = &task.work
    else {
        anyhow::bail!("not a task about images");
    };
    // The person was erased a moment ago, and the task goes with the person's data.
    let Some((key_id, bytes)) = data_key else { return Ok((Vec::new(), TaskOutcome::Done)) };
    let wrapped = WrappedKey { key_id: key_id.clone(), bytes: bytes.clone() };
    let key = worker.vault.open_data_key(task.verification, &wrapped)?;
    let mut links = sealed_links::open(links, *result, &key)
        .ok_or_else(|| anyhow::anyhow!("links do not open"))?;
    links.links.retain(|(kind, _)| !settled.contains(&kind.to_string()));
    if *awaits_links {
        return Ok(match link_refresh::poll(worker, task).await? {
            Refresh::Arrived => (Vec::new(), TaskOutcome::Done),
            Refresh::LookAgain(delay) => (Vec::new(), TaskOutcome::RetryAfter(delay)),
            Refresh::Failed => (all_lost(&links, "no-new-links"), TaskOutcome::Done),
        });
    }
    // Links are followed, and new ones requested, only while the images can be stored.
    if let Some(archive) = &worker.images.archive
        && links.keep
        && (task.failures > 0 || *expired)
        && let Err(error) = archive.takes_more().await
    {
        let verification = task.verification;
        tracing::warn!(
            %error, cause = error.cause().code(), %verification,
            "images wait for the object store"
        );
        count_failure(&task.work);
        return Ok((Vec::new(), TaskOutcome::RetryAfter(STORE_RETRY)));
    }
    let fetched = if *expired {
        vec![Fetched::LinkExpired]
    } else {
        fetch_all(worker, task, &key, &links, started).await?
    };
    let expired = fetched.iter().any(|image| matches!(image, Fetched::LinkExpired));
    let transient = fetched.iter().any(|image| matches!(image, Fetched::Transient));
    let mut images: Vec<SettledImage> = fetched.into_iter().filter_map(Fetched::settled).collect();
    if expired {
        // The new links lead to all of the images. Those stored already are stored twice then, under
        // two results.
        if let Some(wait) = link_refresh::wait_before(*link_refreshes) {
            return Ok((images, TaskOutcome::RefreshLinks(wait)));
        }
        links.links.retain(|(kind, _)| !images.iter().any(|image| image.kind == *kind));
        images.extend(all_lost(&links, "link-dead"));
        return Ok((images, TaskOutcome::Done));
    }
    let retry = TaskOutcome::RetryAfter(retry_delay(task.failures, worker.ids.fraction()));
    Ok((images, if transient { retry } else { TaskOutcome::Done }))
}

fn all_lost(links: &Links, reason: &'static str) -> Vec<SettledImage> {
    links.links.iter().map(|(kind, _)| lost(*kind, reason)).collect()
}

/// The outcome of following one link.
enum Fetched {
    Settled(SettledImage),
    LinkExpired,
    Transient,
}

impl Fetched {
    fn settled(self) -> Option<SettledImage> {
        match self {
            Self::Settled(image) => Some(image),
            Self::LinkExpired | Self::Transient => None,
        }
    }
}

/// Follows all links at once, since they share one deadline. If one fails, the others are still
/// completed: a write that was dropped half way could take effect later, unnoticed.
async fn fetch_all(
    worker: &Worker,
    task: &Task,
    key: &DataKey,
    links: &Links,
    started: &StartedWrites,
) -> anyhow::Result<Vec<Fetched>> {
    let started = links.keep.then_some(started);
    let all = links.links.iter().map(|(kind, link)| fetch(worker, task, key, started, *kind, link));
    let began = Instant::now();
    let fetched = futures_util::future::join_all(all).await;
    worker.images.took(began.elapsed());
    fetched.into_iter().collect()
}

async fn fetch(
    worker: &Worker,
    task: &Task,
    key: &DataKey,
    started: Option<&StartedWrites>,
    kind: ImageKind,
    link: &SecretString,
) -> anyhow::Result<Fetched> {
    let outcome = match worker.images.downloader.fetch(link).await {
        Ok(picture) => {
            let image = match (&worker.images.archive, started) {
                (Some(archive), Some(started)) => {
                    started.begin(kind);
                    let longest = worker.images.downloader.max_bytes();
                    store_sealed(archive, task, key, kind, picture, longest).await?
                }
                (Some(_) | None, _) => digested(kind, &picture),
            };
            (Fetched::Settled(image), "fetched")
        }
        Err(DownloadError::LinkExpired) => (Fetched::LinkExpired, "link-dead"),
        Err(DownloadError::Transient(reason)) => (Fetched::Transient, reason),
        Err(DownloadError::Permanent(reason)) => (Fetched::Settled(lost(kind, reason)), reason),
    };
    metrics::counter!("verdict_image_downloads_total", "outcome" => outcome.1).increment(1);
    Ok(outcome.0)
}

fn digested(kind: ImageKind, picture: &Picture) -> SettledImage {
    settled(kind, Fate::Digested, &picture.recognised, &picture.bytes, None)
}

/// Seals an image and puts it into the object store.
async fn store_sealed(
    archive: &Archive,
    task: &Task,
    key: &DataKey,
    kind: ImageKind,
    picture: Picture,
    longest: usize,
) -> anyhow::Result<SettledImage> {
    let Work::Archive { result, person, .. } = &task.work else {
        anyhow::bail!("not a task about images");
    };
    let image = ImageId { verification: task.verification, result: *result, kind };
    let fetched = picture.recognised;
    let (sealed, clear) = seal(key, &image, picture.bytes).await?;
    let (clear, recognised) = match archive.put(&image, sealed).await? {
        Put::New => (clear, fetched),
        // A try before this one stored it and could not record it. The stored image counts.
        Put::Already => {
            let Some(stored) = stored_before(archive, &image, key, longest).await? else {
                // We did not seal this object: delete it, so that the next try can store the image.
                archive.delete(&image).await?;
                anyhow::bail!("the object stored for an image cannot be decrypted");
            };
            let recognised = Recognised::of(&stored).unwrap_or(fetched);
            (stored, recognised)
        }
    };
    let person = kind
        .shows_a_face()
        .then(|| person.clone().unwrap_or_else(|| task.verification.0.as_bytes().to_vec()));
    Ok(settled(kind, Fate::Archived, &recognised, &clear, person))
}

async fn stored_before(
    archive: &Archive,
    image: &ImageId,
    key: &DataKey,
    longest: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, ArchiveError> {
    let stored = archive.get(image, longest).await?;
    Ok(stored.and_then(|sealed| key.open(image.sealed_at(), &sealed).ok()))
}

async fn seal(
    key: &DataKey,
    image: &ImageId,
    bytes: Zeroizing<Vec<u8>>,
) -> anyhow::Result<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    if bytes.len() < LARGE {
        let sealed = key.seal(image.sealed_at(), &bytes)?;
        return Ok((sealed, bytes));
    }
    let (key, image) = (key.clone(), *image);
    let sealing = tokio::task::spawn_blocking(move || {
        key.seal(image.sealed_at(), &bytes).map(|sealed| (sealed, bytes))
    });
    Ok(sealing.await??)
}

fn settled(
    kind: ImageKind,
    fate: Fate,
    recognised: &Recognised,
    bytes: &[u8],
    person: Option<Vec<u8>>,
) -> SettledImage {
    SettledImage {
        kind,
        fate,
        content_type: Some(recognised.format.media_type()),
        unusual: recognised.codes(),
        bytes: i32::try_from(bytes.len()).ok(),
        sha256: Some(Sha256::digest(bytes).into()),
        person,
    }
}

fn lost(kind: ImageKind, reason: &'static str) -> SettledImage {
    let fate = Fate::Lost(reason);
    SettledImage {
        kind,
        fate,
        content_type: None,
        unusual: Vec::new(),
        bytes: None,
        sha256: None,
        person: None,
    }
}

/// Stores the settled images and the outcome; `false`: the lease was lost.
async fn settle(
    worker: &Worker,
    task: &Task,
    images: Vec<SettledImage>,
    outcome: TaskOutcome,
) -> anyhow::Result<bool> {
    let held =
        worker.store.archiving().settle_images(task, &images, outcome, worker.clock.now()).await?;
    if !held {
        return Ok(false);
    }
    if matches!(outcome, TaskOutcome::RefreshLinks(wait) if wait.is_zero()) {
        worker.signals.work_is_due();
    }
    let count = |state: &str| images.iter().filter(|image| image.fate.state() == state).count();
    let reason = images.iter().find_map(|image| image.fate.reason());
    let (then, again_in) = match outcome {
        TaskOutcome::Done => ("done", None),
        TaskOutcome::RetryAfter(wait) => ("retry", Some(wait)),
        TaskOutcome::RefreshLinks(wait) => ("refresh-links", Some(wait)),
    };
    tracing::info!(
        verification = %task.verification,
        archived = count("archived"),
        digested = count("digest"),
        lost = count("lost"),
        reason,
        then,
        again_in_ms = again_in.map(millis),
        age_ms = millis(task.age),
        trace = task.trace.map(TraceParent::trace_id),
        "images"
    );
    for image in &images {
        let state = image.fate.state();
        metrics::counter!("verdict_images_total", "state" => state).increment(1);
    }
    if then == "done" && count("lost") == 0 && !images.is_empty() {
        metrics::histogram!("verdict_images_kept_seconds").record(task.age.as_secs_f64());
    }
    Ok(true)
}

/// After a lost lease: deletes the images that this try stored, if the person was erased meanwhile.
/// Otherwise a successor's image stays. The second pass of the erasure finds what this misses: a
/// write still under way, a process that was killed.
pub(super) async fn clean_up(
    worker: &Worker,
    task: &Task,
    started: &StartedWrites,
) -> anyhow::Result<()> {
    let (Some(archive), Work::Archive { result, .. }) = (&worker.images.archive, &task.work) else {
        return Ok(());
    };
    let kinds = started.kinds();
    if kinds.is_empty() || !worker.store.erasures().is_erased(task.verification).await? {
        return Ok(());
    }
    let mut found = FoundObjects::default();
    for kind in kinds {
        let (verification, result): (_, ResultId) = (task.verification, *result);
        found.extend(archive.find_image(&ImageId { verification, result, kind }).await?);
    }
    // The receipt of the erasure counts them, whoever deletes them.
    worker.store.tasks().note_erased_objects(task.verification, &found.digests()).await?;
    Ok(archive.delete_found(&found).await?)
}
