//! The calls of face verification, with a main and a spare endpoint.
//!
//! The vendor tells its customers to ask a second region when the first one fails. Reading and
//! deleting may be repeated, starting may not: a start is billed and not idempotent.

use url::Url;

use super::request::{Operation, Place};
use super::settings::{Method, SignatureVersion};
use super::{
    Answer, Client, DeletionAnswer, FaceVerifyAnswer, FoundAnswer, StartAnswer, Unanswered,
};
use crate::face_verify::{self, Reading};
use crate::wire::ErrorClass;

type Outcome<T> = Result<Answer<Reading<T>>, Unanswered>;
/// Reads an answer, as [`face_verify::read`] does.
type Reader<T> = fn(u16, &[u8]) -> Reading<T>;

impl Client {
    /// Fetches the result of a verification: `scene` is its `SceneId`. Idempotent.
    ///
    /// If the main endpoint gives no answer, a 5xx or body code 500, the spare one is asked once.
    /// Its answer counts if it says something about the verification. Otherwise the caller gets the
    /// fault of the main one: it is not documented that one region knows the verifications of the
    /// other, so "unknown" from the spare one is not believed.
    pub async fn describe_face_verify(
        &self,
        scene: &str,
        certify_id: &str,
    ) -> Result<FaceVerifyAnswer, Unanswered> {
        let params = [("SceneId", scene), ("CertifyId", certify_id)];
        let (signature, method) = (self.settings.signature, self.settings.method);
        // No SDK sends these parameters in a form under the header signature.
        let place = match (signature, method) {
            (SignatureVersion::V2, Method::Post) => Place::Form,
            _ => Place::Query,
        };
        let action = "DescribeFaceVerify";
        let operation = Operation { action, signature, method, place, params: &params };
        self.repeatable(&operation, face_verify::read).await
    }

    /// Starts a verification. `params` are all parameters by the provider's names, such as
    /// `SceneId` and `OuterOrderNo`. They travel in a form body under signature V2, whatever the
    /// settings say: they name the person, and URLs are logged along the way.
    ///
    /// A start is billed and not idempotent. So the spare endpoint is asked only if the main one
    /// cannot have started anything: there was no connection, or it answered with body code 500.
    /// After [`Unanswered::Timeout`] and [`Unanswered::Cut`] it is unknown whether the verification
    /// was started.
    pub async fn init_face_verify(
        &self,
        params: &[(&str, &str)],
    ) -> Result<StartAnswer, Unanswered> {
        let operation = form("InitFaceVerify", params);
        let (main, spare) = self.face_verify_endpoints();
        let first = self.attempt(main, &operation, face_verify::read_started).await;
        let Some(spare) = spare.filter(|_| did_not_start(&first)) else { return first };
        match self.attempt(spare, &operation, face_verify::read_started).await {
            // Nothing was sent there either.
            Err(Unanswered::Connect(_) | Unanswered::NoCredentials(_)) => first,
            second => second.map(from_spare),
        }
    }

    /// Searches the provider's records for verifications with this order number, as after a start
    /// whose outcome is unknown. An empty list proves nothing: the vendor does not say when a
    /// record appears. Not every key may search: [`ErrorClass::Credentials`] here says nothing about
    /// the other calls.
    pub async fn find_face_verify(
        &self,
        scene: &str,
        outer_order_no: &str,
    ) -> Result<FoundAnswer, Unanswered> {
        let params = [
            ("SceneId", scene),
            ("OuterOrderNo", outer_order_no),
            ("CurrentPage", "1"),
            ("PageSize", "20"),
        ];
        let operation = form("DescribeVerifySearchPageList", &params);
        let mut answer = self.repeatable(&operation, face_verify::read_found).await?;
        if let Ok(found) = &mut answer.reading.outcome {
            // A service that ignores the parameter lists the verifications of others.
            found.retain(|found| found.outer_order_no == outer_order_no);
        }
        Ok(answer)
    }

    /// Has the provider erase its copy of a verification's personal data. Idempotent, and
    /// irrevocable. With `after_query` it does so only if the result was fetched before. The spare
    /// endpoint is asked as by [`Client::describe_face_verify`].
    pub async fn delete_face_verify_result(
        &self,
        certify_id: &str,
        after_query: bool,
    ) -> Result<DeletionAnswer, Unanswered> {
        let after_query = if after_query { "Y" } else { "N" };
        let params = [("CertifyId", certify_id), ("DeleteAfterQuery", after_query)];
        let operation = form("DeleteFaceVerifyResult", &params);
        self.repeatable(&operation, face_verify::read_deleted).await
    }

    async fn repeatable<T>(&self, operation: &Operation<'_>, read: Reader<T>) -> Outcome<T> {
        let (main, spare) = self.face_verify_endpoints();
        let first = self.attempt(main, operation, read).await;
        let Some(spare) = spare.filter(|_| may_repeat(&first)) else { return first };
        match self.attempt(spare, operation, read).await {
            Ok(second) if second.reading.outcome.is_ok() => Ok(from_spare(second)),
            _ => first,
        }
    }

    async fn attempt<T>(
        &self,
        endpoint: &Url,
        operation: &Operation<'_>,
        read: Reader<T>,
    ) -> Outcome<T> {
        let called = self.call(endpoint, operation).await?;
        let reading = read(called.http_status, &called.body);
        self.drop_refused_key(reading.outcome.as_ref().err(), &called).await;
        Ok(called.into_answer(reading))
    }

    /// The main endpoint, and the spare one if there is any.
    fn face_verify_endpoints(&self) -> (&Url, Option<&Url>) {
        let endpoints = &self.settings.face_verify_endpoints;
        (endpoints.first().unwrap_or(&self.settings.endpoint), endpoints.get(1))
    }
}

/// Everything in a form under signature V2: the only recorded way without parameters in a URL.
const fn form<'a>(action: &'static str, params: &'a [(&'a str, &'a str)]) -> Operation<'a> {
    let (signature, method) = (SignatureVersion::V2, Method::Post);
    Operation { action, signature, method, place: Place::Form, params }
}

fn from_spare<T>(answer: Answer<T>) -> Answer<T> {
    Answer { from_spare: true, ..answer }
}

/// No answer, a 5xx or body code 500. Without credentials the spare endpoint gets no further.
fn may_repeat<T>(outcome: &Outcome<T>) -> bool {
    match outcome {
        Ok(answer) => {
            let fault = answer.reading.outcome.as_ref().err();
            let transient = fault.is_some_and(|fault| fault.class == ErrorClass::Transient);
            transient && (answer.http_status >= 500 || says_500(answer))
        }
        Err(error) => !matches!(error, Unanswered::NoCredentials(_)),
    }
}

fn did_not_start<T>(outcome: &Outcome<T>) -> bool {
    match outcome {
        Ok(answer) => says_500(answer),
        Err(error) => matches!(error, Unanswered::Connect(_)),
    }
}

fn says_500<T>(answer: &Answer<Reading<T>>) -> bool {
    let fault = answer.reading.outcome.as_ref().err();
    fault.is_some_and(|fault| fault.code.as_deref() == Some("500"))
}
