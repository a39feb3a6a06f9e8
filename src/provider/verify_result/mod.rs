//! `verify-result`: `DescribeVerifyResult`, keyed by scene and `BizId`. It is no longer sold.

mod evidence;
mod person;
#[cfg(test)]
mod tests;

use std::time::Duration;

use cloudauth::Client;
use cloudauth::wire::{self, Answered};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::answer::{Answer, Outcome, Person, Progress, Reading, outcome};
use super::error::answer_error;
use super::product::{
    Asking, DeletionCall, Key, Search, Served, StartAnswer, StartCall, StartError,
};
use crate::domain::image::ImageKind;
use crate::domain::starting::{Started, Starting};
use policy::evidence::{Evidence, History};

/// Links are valid for 5 minutes from the result, by the provider's documentation.
const LINKS_LIVE: Duration = Duration::from_mins(5);
/// Most recordings of one result that are archived.
const MOST_VIDEOS: u8 = 9;
/// `VerifyStatus` of those who passed. Only this one is final: others may try again under the same
/// `BizId`.
const PASSED: i32 = 1;

pub(super) struct VerifyResult;

impl Served for VerifyResult {
    fn ask<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Option<Asking<'a>> {
        Some(Box::pin(async move {
            let answer = client.describe_verify_result(key.biz_type, key.biz_id).await?;
            Ok(Answer::of(answer, |read| (read.request_id, read.outcome)))
        }))
    }

    fn read(&self, http_status: u16, body: &[u8]) -> Outcome {
        outcome(wire::read(http_status, body).outcome)
    }

    fn delete<'a>(&'a self, _: &'a Client, _: Key<'a>) -> Option<DeletionCall<'a>> {
        None
    }

    fn is_conclusive(&self, code: &str) -> bool {
        wire::is_conclusive(Some(code))
    }

    fn start<'a>(&'a self, client: &'a Client, starting: &'a Starting) -> StartCall<'a> {
        Box::pin(async move {
            let (biz_type, biz_id) = (starting.biz_type.as_str(), starting.biz_id.as_str());
            let parameters = starting.parameters();
            let answer = client.describe_verify_token(biz_type, biz_id, &parameters).await?;
            let outcome = match answer.outcome {
                Ok(of) => Ok(Started::WithToken { token: of.token, page_url: of.page_url }),
                Err(error) => Err(StartError::Failed(answer_error(&error))),
            };
            let (simulated, retry_after) = (answer.simulated, answer.retry_after);
            Ok(StartAnswer { simulated, retry_after, outcome })
        })
    }

    /// A start is repeated instead.
    fn find_started<'a>(&'a self, _: &'a Client, _: Key<'a>) -> Search<'a> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// It only makes another token.
    fn may_repeat_start(&self) -> bool {
        true
    }
}

impl Reading for Answered {
    fn progress(&self) -> Progress {
        match self.verify_status {
            -1 | 0 => Progress::Unfinished,
            status => Progress::Finished { last: status == PASSED },
        }
    }

    fn evidence(&self, biz_type: &str, history: History, fetched_at: OffsetDateTime) -> Evidence {
        evidence::evidence(self, biz_type, history, fetched_at)
    }

    fn person(&self) -> Option<Person> {
        person::person(self.material.as_ref()?)
    }

    fn links(&self) -> Vec<(ImageKind, &SecretString)> {
        let Some(material) = &self.material else { return Vec::new() };
        let card = material.id_card.as_ref();
        let named = [
            (ImageKind::Face, material.face_image_url.as_ref()),
            (ImageKind::FaceGlobal, material.face_global_url.as_ref()),
            (ImageKind::CardFront, card.and_then(|card| card.front_image_url.as_ref())),
            (ImageKind::CardBack, card.and_then(|card| card.back_image_url.as_ref())),
        ];
        let videos =
            (1..=MOST_VIDEOS).map(ImageKind::Video).zip(material.video_urls.iter().map(Some));
        let links = named.into_iter().chain(videos);
        links.filter_map(|(kind, link)| Some((kind, link?))).collect()
    }

    fn bucket_objects(&self) -> Vec<String> {
        Vec::new()
    }

    fn links_live(&self) -> Duration {
        LINKS_LIVE
    }
}
