//! Starts a verification of face-verify. The call of the provider is billed and not idempotent: it is
//! on record before it is made, and no order number is called for twice unless nothing was sent.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::checks::{not_refused, provider_unavailable, source_of, with_code};
use super::parameters::{PAGE, RETURN_URL};
use super::return_url::{MUST_BE_LISTED, is_allowed};
use crate::causes::Cause;
use crate::domain::callback::{BizId, BizType, CertifyId};
use crate::domain::ids::{LeaseToken, VerificationId};
use crate::domain::starting::{NotStarted, Started, Starter, Starting, TOKEN_LIVES};
use crate::http::api::Api;
use crate::http::memory_budget::MemoryPermit;
use crate::http::problem::Problem;
use crate::http::view::VerificationView;
use crate::store;
use crate::store::audit::AuditContext;
use crate::store::starts::{FirstStart, StartCall, StoredStart};
use crate::vault::api_key::secret_digest;
use crate::vault::person_index::{PERSON_INDEX, PersonIndex};
use crate::vault::{DataKey, SealedAt, Vault, WrappedKey};
use policy::product::Product;

/// How long a process may take: [`CALL_TIMEOUT`] and [`STORE_TIMEOUT`]. A request after that learns
/// that the outcome is unknown.
const LEASE: Duration = Duration::from_mins(2);
/// How long the provider may take: two endpoints, one after the other.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);
/// How long it is tried to store the answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(25);
/// How long the verification is polled after the `CertifyId` has lived out its time: the provider
/// may still be at work on a late submission.
const GRACE: Duration = Duration::from_mins(5);
/// Between two tries to store the answer.
const RETRY_AFTER: Duration = Duration::from_millis(250);
const NO_PERSON_INDEX: &str = "No worker has run on this database yet: start one, then try again";
/// Rounds of requests that start the same order number at once.
const ROUNDS: usize = 4;

/// What the app or the browser needs to continue.
#[derive(Serialize, ToSchema)]
pub(super) struct FaceVerifyStartedView {
    verification: VerificationView,
    /// The provider's id of the verification, for its SDK in the app.
    certify_id: String,
    /// The page to open in a browser, for one submission. It gives access to the verification: keep
    /// it out of logs. `null` for apps, and where the provider cannot use `meta_info`.
    certify_url: Option<String>,
    /// When `certify_id` and `certify_url` expire.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// The provider's answer, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Answer {
    certify_id: String,
    certify_url: Option<String>,
}

/// A call of the provider that this process may make.
struct Job {
    id: VerificationId,
    call: StartCall,
    key: DataKey,
    starting: Starting,
    /// Covers the parameters, which may hold a picture.
    _permit: Option<MemoryPermit>,
}

/// A start whose outcome is unknown.
struct Lost {
    id: VerificationId,
    call: StartCall,
    key: DataKey,
    what: Wanted,
    /// A callback has told it.
    certify_id: Option<CertifyId>,
}

/// What was started, for a search.
struct Wanted {
    product: Product,
    biz_type: BizType,
    biz_id: BizId,
    /// The address of a page is not on record at the provider: without it the user cannot go on.
    needs_page: bool,
}

impl From<&Starting> for Wanted {
    fn from(of: &Starting) -> Self {
        Self {
            product: of.product,
            biz_type: of.biz_type.clone(),
            biz_id: of.biz_id.clone(),
            needs_page: of.parameters().iter().any(|(name, _)| *name == PAGE),
        }
    }
}

/// What a request finds about its order number.
enum Found {
    /// It was started with the same parameters.
    Answered(VerificationId, Answer, OffsetDateTime),
    /// Nothing was sent: this process may call, under this data key.
    NotSent(VerificationId, DataKey),
    /// The answer of this call was lost.
    Unknown(Lost),
}

pub(super) async fn start(
    api: &Api,
    ask: &Starter,
    mut starting: Starting,
    context: AuditContext,
    permit: Option<MemoryPermit>,
) -> Result<Response, Problem> {
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable()
            .detail("This process has no vault.keys. Repeat the request, or tell the operator")
    })?;
    let source = source_of(api, &starting)?;
    let return_url = starting.parameters().into_iter().find(|(name, _)| *name == RETURN_URL);
    if let Some((_, url)) = return_url
        && !is_allowed(url, api.public_url.as_ref(), source.as_deref())
    {
        return Err(Problem::invalid_field().field("/return_url", MUST_BE_LISTED));
    }
    let source = source.as_ref().map(|source| &source.access);
    not_refused(api, &starting, source, context.at).await?;
    let source = source.map(|source| source.name.as_str());
    let starts = api.store.starts();
    // A request that loses a race finds what the other one has stored.
    for _ in 0..ROUNDS {
        let (call, callback) = new_call(api, context.at);
        let stored = starts.find(&starting.biz_type, &starting.biz_id).await?;
        let (id, key) = if let Some(stored) = stored {
            match found(vault, &starting, stored, context.at)? {
                Found::Answered(id, answer, expires_at) => {
                    return answered(api, StatusCode::OK, id, answer, expires_at).await;
                }
                Found::Unknown(lost) => return find(api, ask, lost, StatusCode::OK).await,
                Found::NotSent(id, key) if starts.take(id, call).await? => (id, key),
                Found::NotSent(..) => continue,
            }
        } else {
            match begin(api, vault, &starting, source, call, &context).await? {
                Some(begun) => begun,
                None => continue,
            }
        };
        // Of this call alone, so no part of what is compared.
        starting.handed_through.extend(callback);
        let job = Job { id, call, key, starting, _permit: permit };
        // Goes on if the client goes away: the answer is paid for.
        let task = api.detached.spawn(carry_out(api.clone(), ask.clone(), job));
        return task.await.map_err(|_| Problem::internal())?;
    }
    Err(Problem::start_running().retry_after(Duration::from_secs(1)))
}

/// A call, and its parameters for the provider's callback if one is asked for.
fn new_call(api: &Api, at: OffsetDateTime) -> (StartCall, Vec<(&'static str, Zeroizing<String>)>) {
    let callback = api.callback_url.as_ref().map(|url| {
        let token = [api.ids.salt(), api.ids.salt()].concat();
        (url, Zeroizing::new(URL_SAFE_NO_PAD.encode(token)))
    });
    let call = StartCall {
        token: api.ids.next(at),
        callback_token: callback.as_ref().map(|(_, token)| secret_digest(token)),
        at,
        expires_at: at + TOKEN_LIVES,
        lease: LEASE,
        window: TOKEN_LIVES + GRACE,
    };
    let parameters = callback.into_iter().flat_map(|(url, token)| {
        [("CallbackUrl", Zeroizing::new(url.to_string())), ("CallbackToken", token)]
    });
    (call, parameters.collect())
}

/// Stores the start. `None`: another request was faster.
async fn begin(
    api: &Api,
    vault: &Vault,
    starting: &Starting,
    source: Option<&str>,
    call: StartCall,
    context: &AuditContext,
) -> Result<Option<(VerificationId, DataKey)>, Problem> {
    let id: VerificationId = api.ids.next(context.at);
    let person = match starting.number() {
        Some(number) => person_index(api, vault).await?.digest(number),
        None => None,
    };
    let (key, wrapped) = vault.new_data_key(id).map_err(|_| Problem::internal())?;
    let parameters = key
        .seal(SealedAt::StartParameters(id), &starting.digest())
        .map_err(|_| Problem::internal())?;
    let first = FirstStart {
        id,
        starting,
        source,
        parameters: &parameters,
        data_key: (&wrapped.key_id, &wrapped.bytes),
        person: person.as_ref(),
    };
    let begun = api.store.starts().begin(first, call, context).await?;
    Ok(begun.then_some((id, key)))
}

/// The blind index of persons.
async fn person_index<'a>(api: &'a Api, vault: &Vault) -> Result<&'a PersonIndex, Problem> {
    let load = || async {
        let keys = api.store.vault_keys();
        let known = if let Some(known) = keys.person_index_key().await? {
            known
        } else {
            let (_, new) = vault.new_named_key(PERSON_INDEX).map_err(|_| Problem::internal())?;
            let candidate = (new.key_id.as_str(), &new.bytes[..]);
            match keys.named_key(PERSON_INDEX, candidate, api.clock.now()).await {
                Err(error) if error.cause() == Cause::MissingRight => {
                    return Err(Problem::unavailable().detail(NO_PERSON_INDEX));
                }
                made => made?,
            }
        };
        let (key_id, bytes) = known;
        let key = vault.open_named_key(PERSON_INDEX, &WrappedKey { key_id, bytes });
        key.map(PersonIndex::new).map_err(|error| {
            tracing::error!(%error, "the key of the person index cannot be opened");
            Problem::internal()
        })
    };
    api.persons.get_or_try_init(load).await
}

/// What is on record for the order number, or why it cannot be started.
fn found(
    vault: &Vault,
    starting: &Starting,
    stored: StoredStart,
    now: OffsetDateTime,
) -> Result<Found, Problem> {
    if stored.product != starting.product.as_str() {
        return Err(Problem::product_mismatch());
    }
    if stored.erased {
        return Err(Problem::erased());
    }
    let id = VerificationId(stored.verification_id);
    let (Some(parameters), Some(expires_at)) = (&stored.parameters, stored.expires_at) else {
        return Err(Problem::order_number_used());
    };
    let key = data_key(vault, id, stored.key_id, stored.wrapped)?;
    let known = open(&key, id, SealedAt::StartParameters(id), parameters)?;
    if known.as_slice() != starting.digest() {
        return Err(Problem::order_number_used());
    }
    if let Some(code) = stored.refused_code {
        return Err(with_code(Problem::provider_refused(), Some(code)));
    }
    match (stored.answer, stored.call_token) {
        (Some(_), _) if now >= expires_at => Err(Problem::order_number_used()),
        (Some(answer), _) => {
            let text = open(&key, id, SealedAt::StartAnswer(id), &answer)?;
            let answer = serde_json::from_slice(&text).map_err(|_| unreadable(id))?;
            Ok(Found::Answered(id, answer, expires_at))
        }
        (None, None) => Ok(Found::NotSent(id, key)),
        (None, Some(_)) if stored.calling => {
            Err(Problem::start_running().retry_after(Duration::from_secs(1)))
        }
        (None, Some(_)) if now >= expires_at => Err(Problem::start_unknown()),
        (None, Some(token)) => {
            let call = StartCall {
                token: LeaseToken(token),
                callback_token: None,
                at: now,
                expires_at,
                lease: LEASE,
                window: TOKEN_LIVES + GRACE,
            };
            let certify_id = stored.certify_id.and_then(|id| CertifyId::parse(&id).ok());
            Ok(Found::Unknown(Lost { id, call, key, what: starting.into(), certify_id }))
        }
    }
}

fn data_key(
    vault: &Vault,
    id: VerificationId,
    key_id: Option<String>,
    wrapped: Option<Vec<u8>>,
) -> Result<DataKey, Problem> {
    let (Some(key_id), Some(bytes)) = (key_id, wrapped) else { return Err(unreadable(id)) };
    vault.open_data_key(id, &WrappedKey { key_id, bytes }).map_err(|_| unreadable(id))
}

fn open(
    key: &DataKey,
    id: VerificationId,
    at: SealedAt,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    key.open(at, sealed).map_err(|_| unreadable(id))
}

fn unreadable(id: VerificationId) -> Problem {
    tracing::error!(verification = %id, "a stored start cannot be decrypted");
    Problem::internal()
}

/// Calls the provider and stores what came of it.
async fn carry_out(api: Api, ask: Starter, job: Job) -> Result<Response, Problem> {
    let Job { id, call, key, starting, _permit } = job;
    let what = Wanted::from(&starting);
    let called =
        timeout(CALL_TIMEOUT, (ask.start)(starting)).await.unwrap_or(Err(NotStarted::Unknown));
    let (starts, at) = (api.store.starts(), api.clock.now());
    match called {
        Ok((_, Started::WithId { certify_id, certify_url })) => {
            let certify_url = certify_url.map(|url| url.to_string());
            let answer = Answer { certify_id: certify_id.to_string(), certify_url };
            keep_answer(&api, id, call, &key, &certify_id, &answer).await?;
            answered(&api, StatusCode::CREATED, id, answer, call.expires_at).await
        }
        Ok((_, Started::WithToken { .. })) => Err(Problem::internal()),
        Err(NotStarted::Refused(code)) => {
            let stored = code.as_deref().unwrap_or("refused");
            until_stored(|| starts.refused(id, call, stored, at)).await?;
            api.signals.something_settled();
            Err(with_code(Problem::provider_refused(), code))
        }
        Err(NotStarted::Unavailable { wait, code }) => {
            until_stored(|| starts.not_sent(id, call)).await?;
            Err(provider_unavailable(wait, code))
        }
        Err(NotStarted::Unknown) => {
            tracing::warn!(verification = %id, "the outcome of a start is unknown");
            until_stored(|| starts.unknown(id, call)).await?;
            find(&api, &ask, Lost { id, call, key, what, certify_id: None }, StatusCode::CREATED)
                .await
        }
    }
}

/// Answers with the id that a callback has told, else with the one that the provider's records have
/// for the order number, if it is one.
async fn find(
    api: &Api,
    ask: &Starter,
    lost: Lost,
    status: StatusCode,
) -> Result<Response, Problem> {
    let Lost { id, call, key, what, certify_id } = lost;
    if what.needs_page {
        return Err(Problem::start_unknown());
    }
    let found = match certify_id {
        Some(certify_id) => vec![certify_id],
        None => (ask.find)(what.product, what.biz_type, what.biz_id).await,
    };
    let [certify_id] = found.as_slice() else { return Err(Problem::start_unknown()) };
    let answer = Answer { certify_id: certify_id.to_string(), certify_url: None };
    keep_answer(api, id, call, &key, certify_id, &answer).await?;
    answered(api, status, id, answer, call.expires_at).await
}

async fn keep_answer(
    api: &Api,
    id: VerificationId,
    call: StartCall,
    key: &DataKey,
    certify_id: &CertifyId,
    answer: &Answer,
) -> Result<(), Problem> {
    let text = serde_json::to_vec(answer).map(Zeroizing::new).map_err(|_| Problem::internal())?;
    let sealed = key.seal(SealedAt::StartAnswer(id), &text).map_err(|_| Problem::internal())?;
    let (starts, at) = (api.store.starts(), api.clock.now());
    if !until_stored(|| starts.answered(id, call, certify_id, &sealed, at)).await? {
        return Err(Problem::erased());
    }
    // A callback may have come meanwhile.
    api.signals.work_is_due();
    Ok(())
}

/// Retries while Postgres is unavailable, as long as the lease lasts.
async fn until_stored<T, F>(write: impl Fn() -> F) -> Result<T, Problem>
where
    F: Future<Output = store::Result<T>>,
{
    let began = Instant::now();
    loop {
        match write().await {
            Err(error) if error.is_passing() && began.elapsed() < STORE_TIMEOUT => {
                sleep(RETRY_AFTER).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

async fn answered(
    api: &Api,
    status: StatusCode,
    id: VerificationId,
    answer: Answer,
    expires_at: OffsetDateTime,
) -> Result<Response, Problem> {
    let verifications = api.store.verifications();
    let mut found = verifications.find(id).await?.ok_or_else(Problem::not_found)?;
    if let Some(other) = found.answered_by {
        found = verifications.find(other).await?.ok_or_else(Problem::not_found)?;
    }
    let location = format!("/v1/verifications/{}", found.id);
    let view = FaceVerifyStartedView {
        verification: found.into(),
        certify_id: answer.certify_id,
        certify_url: answer.certify_url,
        expires_at,
    };
    Ok((status, [(LOCATION, location)], Json(view)).into_response())
}
