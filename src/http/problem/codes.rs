//! The closed list of problem codes: status, title, and the texts of `/problems/{code}`.

use http::StatusCode;

/// The texts of a code, the same wherever it is used.
struct Entry {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    happened: &'static str,
    remedy: &'static str,
}

macro_rules! declare_codes {
    ($($code:ident, $constructor:ident: $status:ident $text:literal, $title:literal,
        $happened:literal, $remedy:literal;)*) => {
        /// The stable code of a problem: what callers switch on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`")] $code,)*
        }

        impl Code {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            const fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$code => &Entry {
                        status: StatusCode::$status,
                        code: $text,
                        title: $title,
                        happened: $happened,
                        remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

/// Hands the list to a macro: code, constructor, status, text, title, what happened, what to do.
macro_rules! for_each_code {
    ($then:ident) => { $then! {
    MalformedJson, malformed_json: BAD_REQUEST "malformed-json",
        "The body is not a JSON object",
        "The body is not one JSON object in UTF-8, or it broke off before its end.",
        "Send one JSON object and nothing else. Check that the declared Content-Length is the length of the body.";
    PlusInQuery, plus_in_query: BAD_REQUEST "plus-in-query",
        "A + in a query string means a space: write + as %2B",
        "A query parameter contains a literal `+`, which a query string decodes to a space. The value after decoding is invalid.",
        "Percent-encode the parameter: `+` is `%2B`. This is common in times with an offset, such as `2026-11-26T12:00:00%2B08:00`.";
    PurposeMissing, purpose_missing: BAD_REQUEST "purpose-missing",
        "Send Verdict-Purpose: why this is done; it is recorded",
        "The operation reads or changes personal data, and the request names no purpose.",
        "Send the header `Verdict-Purpose` with the reason, for example a ticket number. It goes to the audit log and is kept indefinitely, so it must not name a person.";
    SignatureMissing, signature_missing: UNAUTHORIZED "signature-missing",
        "webhook-id, webhook-timestamp and webhook-signature are required",
        "At least one of the three Standard Webhooks headers is missing or empty.",
        "Sign the callback and send `webhook-id`, `webhook-timestamp` and `webhook-signature`. A proxy between the sender and Verdict must not remove them.";
    SignatureInvalid, signature_invalid: UNAUTHORIZED "signature-invalid",
        "The signature does not verify",
        "No secret of the source in the path produced this signature. An unknown source gets the same answer.",
        "Check the name of the source, the secret, and that the signature covers exactly the bytes that are sent: `id.timestamp.body`. `verdict callback send --curl` shows a correct one.";
    TimestampOutOfTolerance, timestamp_out_of_tolerance: UNAUTHORIZED "timestamp-out-of-tolerance",
        "webhook-timestamp is more than 5 minutes away from our clock",
        "The callback was signed too long ago, or by a clock that is wrong.",
        "Sign each attempt anew with the current time, under the same `webhook-id`. If that does not help, synchronise the sender's clock.";
    TimestampNotSeconds, timestamp_not_seconds: UNAUTHORIZED "timestamp-not-seconds",
        "Send webhook-timestamp as whole seconds since 1970, not milli-, micro- or nanoseconds, and sign that text",
        "`webhook-timestamp` is a current time in another unit than seconds.",
        "Send whole seconds since 1970-01-01 UTC as decimal digits, and sign exactly that text.";
    ApiKeyMissing, api_key_missing: UNAUTHORIZED "api-key-missing",
        "Send Authorization: Bearer <api key>",
        "The request carries no API key.",
        "Send `Authorization: Bearer KEY`. `verdict keys create` makes a key.";
    ApiKeyInvalid, api_key_invalid: UNAUTHORIZED "api-key-invalid",
        "This API key is unknown, expired or revoked",
        "Verdict knows no valid key of that value.",
        "Check that the whole key was copied. `verdict keys list` shows which keys have expired or were revoked; `verdict keys create` makes a new one.";
    OtherScene, other_scene: FORBIDDEN "other-scene",
        "This API key is limited to other scenes: name a scene of the key",
        "The key is limited to certain scenes (`biz_type`), and the request is about another scene or about all of them.",
        "Name a scene of the key in `biz_type`, or use a key without this limit.";
    PersonMissing, person_missing: FORBIDDEN "person-missing",
        "Two persons must agree, and this API key names no person: use a key made with --person",
        "The operation needs the consent of two persons (`four_eyes`), and the key does not say which person holds it.",
        "Create a separate key for each of these persons: `verdict keys create --person NAME`.";
    ScopeMissing, scope_missing: FORBIDDEN "scope-missing",
        "This API key lacks the required scope",
        "The key is valid, but it was not given the scope that this operation needs.",
        "Use a key with the scope that the API description names at the operation. No scope includes another.";
    NotFound, not_found: NOT_FOUND "not-found",
        "Not found",
        "There is no such resource, or the key may not see it: it is limited to other scenes.",
        "Check the path and the id. With a key that is limited to scenes, check that the verification lies in one of them.";
    NoMaterial, no_material: NOT_FOUND "no-material",
        "No personal data is stored for this verification",
        "The verification exists, but no result of the provider contained personal data.",
        "Wait until the verification is decided. If it failed or expired, there is nothing to read.";
    NoImage, no_image: NOT_FOUND "no-image",
        "No such image is stored for this verification",
        "The verification exists, but an image of this kind was never archived, or its retention has ended.",
        "`GET /v1/verifications/{id}/images` lists the images and says why one is missing.";
    MethodNotAllowed, method_not_allowed: METHOD_NOT_ALLOWED "method-not-allowed",
        "Method not allowed",
        "The path exists, but not with this HTTP method.",
        "Use a method that the header `Allow` of this answer names.";
    RequestTimeout, request_timeout: REQUEST_TIMEOUT "request-timeout",
        "The body did not arrive in time",
        "The request's body was sent too slowly or not at all.",
        "Send the request again. If it happens often, look for a slow network or a proxy that holds bodies back.";
    IdempotencyMismatch, idempotency_mismatch: CONFLICT "idempotency-mismatch",
        "This webhook-id was already used for another body",
        "A callback with this `webhook-id` was accepted before, with other bytes. Nothing was changed.",
        "Repeat a callback byte for byte, and give each new callback a new id.";
    OtherSource, other_source: CONFLICT "other-source",
        "This verification belongs to another source of callbacks",
        "The first callback of this verification came from another source, or it was started for another source.",
        "Post callbacks of one verification from one source. Sources that have to share verifications get the same `group` in the configuration.";
    ProductMismatch, product_mismatch: CONFLICT "product-mismatch",
        "This verification is of another product, or has another certify_id",
        "The first callback or start of a verification fixes its product. Its `certify_id` belongs to it alone.",
        "Send the `product`, `biz_type` and `certify_id` with which the verification was started, or use another `biz_id`.";
    OrderNumberUsed, order_number_used: CONFLICT "order-number-used",
        "This order number was already used: start again with a new one",
        "A verification with this order number (`biz_id`) exists: it was started with other parameters, its `certify_id` has expired, or Verdict did not start it. Nothing was sent to the provider.",
        "Use a new order number for each attempt of a user. To repeat a request, send the same parameters; only `meta_info` may differ.";
    StartRunning, start_running: CONFLICT "start-running",
        "Another request is starting this verification: repeat this one in a moment",
        "The provider is being called for the same order number. A start is billed, so it is not called twice.",
        "Send the same request again after the time in `Retry-After`. It gets the answer of the other request.";
    StartUnknown, start_unknown: CONFLICT "start-unknown",
        "It is unknown whether the provider has started this verification: use a new order number",
        "The provider was called and its answer was lost: a timeout, a broken connection, or a process that ended. A start is billed, so it is not repeated for the same order number.",
        "Start again with a new `biz_id`. A verification that nobody completes costs nothing.";
    BacktestRunning, backtest_running: CONFLICT "backtest-running",
        "Another backtest is running; start this one when it is done",
        "One backtest at a time runs in an installation. `backtest` names the running one, if the key may see it.",
        "Poll `GET /v1/backtests/{id}` until its state is `done`, then start this one.";
    BacktestEnded, backtest_ended: CONFLICT "backtest-ended",
        "The backtest has ended: there is nothing to cancel",
        "The backtest is done or has failed. Nothing was changed.",
        "Read its report with `GET /v1/backtests/{id}`. Start another one if it is needed.";
    NothingToChange, nothing_to_change: CONFLICT "nothing-to-change",
        "There is no policy to go back to, to promote or to remove",
        "The scene has no earlier policy to roll back to, no shadow to promote, or no separate policy to remove.",
        "`GET /v1/policies` shows which policy is in use where. Check `biz_type`.";
    OnHold, on_hold: CONFLICT "on-hold",
        "This verification is under a legal hold: it cannot be erased until the hold is lifted",
        "The verification is under a legal hold, whose purpose is on record. Nothing was changed.",
        "`verdict hold list` shows who placed it and why. Ask them whether it can be lifted, then repeat the request.";
    ProposalClosed, proposal_closed: CONFLICT "proposal-closed",
        "The proposal was carried out or withdrawn meanwhile: check, then repeat if necessary",
        "Another request completed or overtook the proposal while this one was being processed. This one changed nothing.",
        "Read the current state. Repeat the call only if the change is still wanted.";
    TooManyEndpoints, too_many_endpoints: CONFLICT "too-many-endpoints",
        "There are as many webhook endpoints as may be added",
        "The installation has as many endpoints as `webhooks.max_endpoints` allows. Nothing was added.",
        "Remove an endpoint that nobody needs, or ask the operator for a higher limit.";
    NothingToReview, nothing_to_review: CONFLICT "nothing-to-review",
        "There is no decision about this verification yet",
        "A review judges a decision, and this verification has none.",
        "Wait until the verification's state is `decided`. If the verification is no longer wanted, erase the person.";
    Erased, erased: GONE "erased",
        "The person's data was erased; nothing more is accepted or shown",
        "The person of this verification was erased. Its key is destroyed, and this cannot be undone.",
        "Do not repeat the request. If the person returns, start a new verification with a new `biz_id`.";
    EventsExpired, events_expired: GONE "events-expired",
        "Events of that age are deleted: continue from oldest",
        "The request begins before the oldest event that is kept. Retention (`[retention] events_days`) has deleted the ones between.",
        "Set `after` to one less than `oldest`, which is the sequence of the oldest event that is kept. The verifications still have what the deleted events reported: read those that changed meanwhile.";
    DecisionChanged, decision_changed: PRECONDITION_FAILED "decision-changed",
        "The decision has changed: read the verification again",
        "The request was about a decision that is no longer the current one.",
        "Read the verification again, look at the new decision, and repeat the request with its `ETag` if it is still wanted.";
    BodyTooLarge, body_too_large: PAYLOAD_TOO_LARGE "body-too-large",
        "The body is too large",
        "The body is longer than the limit: 16 KiB for a callback, 2 MiB for a start, 64 KiB for any other request. Or it holds more than 20,000 values.",
        "Send less. A callback needs only `biz_type` and `biz_id`.";
    UnsupportedMediaType, unsupported_media_type: UNSUPPORTED_MEDIA_TYPE "unsupported-media-type",
        "Send application/json without a content encoding",
        "The header `Content-Type` is not `application/json`, or the body is compressed.",
        "Send `Content-Type: application/json` and no `Content-Encoding`.";
    RangeNotSatisfiable, range_not_satisfiable: RANGE_NOT_SATISFIABLE "range-not-satisfiable",
        "The range lies outside the image",
        "The header `Range` asks for bytes beyond the end of the image.",
        "The header `Content-Range` of this answer gives the image's length. Ask for a part of it, or leave `Range` out.";
    InvalidField, invalid_field: UNPROCESSABLE_ENTITY "invalid-field",
        "Some fields are invalid",
        "The request was understood, but members, parameters or headers have values that are not allowed. Nothing was changed.",
        "`errors` names every one of them, by JSON pointer or by name, and says what it must be. Correct all of them and send the request again.";
    PolicyRefused, policy_refused: UNPROCESSABLE_ENTITY "policy-refused",
        "The policy has errors",
        "The policy was not stored because it has errors.",
        "`errors` lists them with their lines. `POST /v1/policies/check` and `verdict policy check` show them without storing anything.";
    ProviderRefused, provider_refused: UNPROCESSABLE_ENTITY "provider-refused",
        "The provider refused to start this verification",
        "The provider answered that this verification cannot be started. `detail` gives its code.",
        "Look the code up in the provider's documentation. A `biz_id` that has passed cannot be started again: use a new one.";
    TooManyWaits, too_many_waits: TOO_MANY_REQUESTS "too-many-waits",
        "Too many requests are waiting for changes: ask without wait, or try again later",
        "This key, or all keys together, hold the highest number of requests with `wait` and of event streams that a process keeps open.",
        "Try again after `Retry-After` seconds, ask without `wait`, or wait for fewer verifications at once.";
    RateLimited, rate_limited: TOO_MANY_REQUESTS "rate-limited",
        "Too many requests: wait as Retry-After says",
        "The source or the API key has used up its requests per second.",
        "Wait as many seconds as `Retry-After` says, then repeat the request. Spread requests out over time.";
    Internal, internal: INTERNAL_SERVER_ERROR "internal",
        "Internal error",
        "Verdict failed in a way that the request did not cause.",
        "Repeat the request once. If it fails again, give `instance` to the operator of Verdict: the log has a line with that `request_id`.";
    ProviderUnavailable, provider_unavailable: SERVICE_UNAVAILABLE "provider-unavailable",
        "The provider is unavailable; try again shortly",
        "The provider does not answer, limits the calls, or refuses Verdict's credentials. `detail` gives its code, if it sent one.",
        "Repeat the request after `Retry-After` seconds. If it persists, run `verdict doctor`.";
    Unavailable, unavailable: SERVICE_UNAVAILABLE "unavailable",
        "Temporarily unavailable; try again shortly",
        "Verdict could not carry the request out now: the database does not answer, a limit of this process is reached, or this process lacks what the operation needs. `detail` says which, where it is known.",
        "Repeat the request after `Retry-After` seconds, with the same `webhook-id` if it is a callback. If it persists, `GET /readyz` of the operations listener names the cause.";
    } };
}
pub(super) use for_each_code;

for_each_code!(declare_codes);

impl Code {
    /// As it stands in a problem.
    pub const fn as_str(self) -> &'static str {
        self.entry().code
    }

    /// The code of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// The page that explains it: a relative reference, so it leads to the service that answered.
    pub(super) fn page(self) -> String {
        format!("/problems/{}", self.as_str())
    }

    /// The HTTP status of every problem with this code.
    pub const fn status(self) -> StatusCode {
        self.entry().status
    }

    /// One sentence, the same in every problem with this code.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// Backticks mark code.
    pub const fn happened(self) -> &'static str {
        self.entry().happened
    }

    /// Backticks mark code.
    pub const fn remedy(self) -> &'static str {
        self.entry().remedy
    }
}
