//! `face-verify`: `DescribeFaceVerify`, keyed by scene and `CertifyId`.

mod evidence;
mod person;
mod start;
#[cfg(test)]
mod tests;

use std::time::Duration;

use cloudauth::Client;
use cloudauth::face_verify::{self, Material, Read, StoredObject, Verified};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use super::answer::{Answer, Outcome, Person, Progress, Reading, outcome};
use super::error::answer_error;
use super::product::{Asking, Deletion, DeletionCall, Key, Search, Served, StartCall};
use crate::domain::image::ImageKind;
use crate::domain::starting::Starting;
use policy::evidence::{Evidence, History};

/// Links are valid for 15 minutes from the answer, by the provider's documentation.
const LINKS_LIVE: Duration = Duration::from_mins(15);

/// Most objects of one answer that are kept on record. The vendor stores up to five pictures, two
/// sides of the card and a film.
const MOST_OBJECTS: usize = 20;

pub(super) struct FaceVerify;

impl Served for FaceVerify {
    fn ask<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Option<Asking<'a>> {
        let certify_id = key.certify_id?;
        Some(Box::pin(async move {
            let answer = client.describe_face_verify(key.biz_type, certify_id).await?;
            Ok(Answer::of(answer, |read| (read.request_id, read.outcome)))
        }))
    }

    fn read(&self, http_status: u16, body: &[u8]) -> Outcome {
        outcome(face_verify::read(http_status, body).outcome)
    }

    fn delete<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Option<DeletionCall<'a>> {
        let certify_id = key.certify_id?;
        Some(Box::pin(async move {
            let answer = client.delete_face_verify_result(certify_id, false).await?;
            let outcome = match answer.reading.outcome {
                Ok(face_verify::Deletion::Gone) => Ok(Deletion::Deleted),
                Ok(_) => Ok(Deletion::Refused),
                Err(error) => Err(answer_error(&error)),
            };
            Ok((answer.simulated, outcome))
        }))
    }

    fn is_conclusive(&self, code: &str) -> bool {
        face_verify::is_conclusive(Some(code))
    }

    /// Not configured, not opened, no right to it, not paid for.
    fn is_about_product(&self, code: &str) -> bool {
        matches!(code, "402" | "410" | "411" | "412")
    }

    fn start<'a>(&'a self, client: &'a Client, starting: &'a Starting) -> StartCall<'a> {
        Box::pin(start::start(client, starting))
    }

    fn find_started<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Search<'a> {
        Box::pin(start::find(client, key))
    }

    /// Each call may start, and bill, another verification.
    fn may_repeat_start(&self) -> bool {
        false
    }
}

impl Reading for Read {
    /// A `CertifyId` is good for one submission, so every result is the last one.
    fn progress(&self) -> Progress {
        match self {
            Self::Unfinished { .. } => Progress::Unfinished,
            Self::Finished(_) | Self::Refused { .. } => Progress::Finished { last: true },
        }
    }

    fn evidence(&self, biz_type: &str, history: History, fetched_at: OffsetDateTime) -> Evidence {
        evidence::evidence(self, biz_type, history, fetched_at)
    }

    fn person(&self) -> Option<Person> {
        person::person(material(self)?)
    }

    fn links(&self) -> Vec<(ImageKind, &SecretString)> {
        let Some(material) = material(self) else { return Vec::new() };
        let card = material.id_card.as_ref();
        let named = [
            (ImageKind::Face, material.face_image_url.as_ref()),
            (ImageKind::CardFront, card.and_then(|card| card.front_image_url.as_ref())),
            (ImageKind::CardBack, card.and_then(|card| card.back_image_url.as_ref())),
            (ImageKind::Video(1), material.video_url.as_ref()),
        ];
        named.into_iter().filter_map(|(kind, link)| Some((kind, link?))).collect()
    }

    fn bucket_objects(&self) -> Vec<String> {
        let objects = material(self).into_iter().flat_map(|material| &material.stored_objects);
        let name = |object: &StoredObject| {
            let bucket = object.bucket.as_ref().map_or("?", ExposeSecret::expose_secret);
            format!("{bucket}/{}", object.object.expose_secret())
        };
        objects.take(MOST_OBJECTS).map(name).filter(|name| is_object_name(name)).collect()
    }

    fn links_live(&self) -> Duration {
        LINKS_LIVE
    }
}

fn verified(read: &Read) -> Option<&Verified> {
    match read {
        Read::Finished(verified) => Some(verified),
        Read::Unfinished { .. } | Read::Refused { .. } => None,
    }
}

fn material(read: &Read) -> Option<&Material> {
    verified(read)?.material.as_ref()
}

/// A plain name: it is shown in receipts.
fn is_object_name(name: &str) -> bool {
    name.len() <= 512 && name.bytes().all(|byte| byte.is_ascii_graphic())
}
