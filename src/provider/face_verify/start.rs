//! Starts a verification: `InitFaceVerify`.

use cloudauth::face_verify::Start;
use cloudauth::{Client, Unanswered};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::domain::answer::{AnswerError, ErrorClass};
use crate::domain::callback::CertifyId;
use crate::domain::starting::{Started, Starting};
use crate::provider::error::answer_error;
use crate::provider::product::{StartAnswer, StartError};

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
