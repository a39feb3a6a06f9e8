//! Starts a verification: `InitFaceVerify`. Finds one whose answer was lost:
//! `DescribeVerifySearchPageList`.

use cloudauth::face_verify::Start;
use cloudauth::{Client, Unanswered};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::domain::answer::{AnswerError, ErrorClass};
use crate::domain::callback::CertifyId;
use crate::domain::starting::{Started, Starting};
use crate::provider::error::answer_error;
use crate::provider::product::{Key, StartAnswer, StartError};

pub(super) async fn start(client: &Client, starting: &Starting) -> Result<StartAnswer, Unanswered> {
    let mut parameters = starting.parameters();
    parameters.push(("SceneId", starting.biz_type.as_str()));
    parameters.push(("OuterOrderNo", starting.biz_id.as_str()));
    let answer = client.init_face_verify(&parameters).await?;
    let outcome = match answer.reading.outcome {
        Ok(Start::Started(started)) => match CertifyId::parse(&started.certify_id) {
            Ok(certify_id) => Ok(Started::WithId {
                certify_id,
                certify_url: started
                    .certify_url
                    .map(|url| Zeroizing::new(url.expose_secret().to_owned())),
            }),
            // It was started under an id that cannot be stored.
            Err(_) => {
                Err(StartError::Failed(AnswerError { class: ErrorClass::Unreadable, code: None }))
            }
        },
        Ok(Start::Refused { code }) => Err(StartError::Refused(code)),
        Err(error) => Err(StartError::Failed(answer_error(&error))),
    };
    Ok(StartAnswer { simulated: answer.simulated, retry_after: answer.retry_after, outcome })
}

/// Not every account may search the records.
pub(super) async fn find(client: &Client, key: Key<'_>) -> Vec<CertifyId> {
    let found = match client.find_face_verify(key.biz_type, key.biz_id).await {
        Ok(answer) => answer.reading.outcome,
        Err(error) => {
            tracing::warn!(%error, "a start could not be searched for");
            return Vec::new();
        }
    };
    match found {
        Ok(found) => {
            found.into_iter().filter_map(|of| CertifyId::parse(&of.certify_id).ok()).collect()
        }
        Err(error) => {
            let error = answer_error(&error);
            let class = error.class.as_str();
            tracing::warn!(class, code = error.code, "a search for a start was refused");
            Vec::new()
        }
    }
}
