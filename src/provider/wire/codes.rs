//! What the provider's error codes mean for us.
//!
//! The code decides, then the HTTP status: the same code comes with different statuses
//! (`Error.InternalError` with 500, 400 and 401, `Throttling` mostly with 400).

use crate::domain::answer::ErrorClass;

/// A rule on codes.
enum Codes {
    /// This very code.
    Is(&'static str),
    /// Every code that starts so.
    Starts(&'static str),
}

use Codes::{Is, Starts};

/// The first that matches stands.
const CLASSES: &[(ErrorClass, &[Codes])] = &[
    (ErrorClass::Throttled, &[Starts("Throttling")]),
    (
        ErrorClass::Transient,
        &[
            Starts("ServiceUnavailable"),
            Starts("InternalError"),
            Is("UnknownError"),
            Is("Error.InternalError"),
            Is("Error.GetMaterialsError"),
        ],
    ),
    (
        ErrorClass::Clock,
        &[Is("SignatureNonceUsed"), Starts("InvalidTimeStamp"), Is("IllegalTimestamp")],
    ),
    // Faults of ours that hit every question alike: they stop the calling for the account, and
    // must never dead-letter people one by one.
    (
        ErrorClass::Credentials,
        &[
            Is("SignatureDoesNotMatch"),
            Is("IncompleteSignature"),
            Starts("InvalidSignature"),
            Starts("InvalidAccessKeyId"),
            Starts("InvalidAccessKeySecret"),
            Is("MissingSecurityToken"),
            Starts("InvalidSecurityToken"),
            Is("NoPermission"),
            Is("Error.NoPermissionAccess"),
            Starts("Forbidden"),
            Is("UnsupportedHTTPMethod"),
            Is("UnsupportedOperation"),
            Is("NoSuchVersion"),
            Is("InvalidVersion"),
            Is("InvalidApi.NotFound"),
            Is("InvalidProduct.NotFound"),
            Is("InvalidProtocol.NeedSsl"),
            Starts("InvalidAction"),
            Starts("InvalidRegionId"),
            Is("MissingAccessKeyId"),
            Is("MissingAction"),
            Is("MissingVersion"),
            Is("MissingTimestamp"),
            Starts("MissingSignature"),
        ],
    ),
    (ErrorClass::Gone, &[Is("DataExpired")]),
    (
        ErrorClass::BadRequest,
        &[
            // With `InvalidParameter`.
            Starts("InvalidParam"),
            Is("InvalidBiz"),
            Starts("Missing"),
            Is("3101"),
            Is("3102"),
            Is("3103"),
        ],
    ),
];

/// The predecessors and the envelope of 2020-11-12 carry a code when all is well, too.
const SUCCESS: [&str; 3] = ["200", "1", "OK"];

/// The code says that all is well.
pub(super) fn is_success(code: &str) -> bool {
    SUCCESS.iter().any(|success| success.eq_ignore_ascii_case(code))
}

/// What an answer without a `VerifyStatus` means.
pub fn classify(code: Option<&str>, http_status: u16) -> ErrorClass {
    match code {
        Some(code) if !is_success(code) => by_code(code).unwrap_or_else(|| by_status(http_status)),
        _ => without_code(http_status),
    }
}

/// The refusal is about this question alone and will not change: a code of the vendor's tables
/// that says so. Not among them: a code nobody has told us of, which may hit every question alike,
/// and "no such record", because a callback may come before the provider has written its own.
pub fn is_conclusive(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code != "InvalidParam.RecordNotFound" && by_code(code) == Some(ErrorClass::BadRequest)
    })
}

fn by_code(code: &str) -> Option<ErrorClass> {
    let matches = |rule: &Codes| match rule {
        Is(name) => code == *name,
        Starts(prefix) => code.starts_with(prefix),
    };
    CLASSES.iter().find(|(_, rules)| rules.iter().any(matches)).map(|(class, _)| *class)
}

/// A code nobody has told us of: the provider speaks, so its status counts.
fn by_status(http_status: u16) -> ErrorClass {
    match http_status {
        429 => ErrorClass::Throttled,
        401 | 403 => ErrorClass::Credentials,
        410 => ErrorClass::Gone,
        200..=299 => ErrorClass::Unreadable,
        400..=499 if http_status != 408 => ErrorClass::BadRequest,
        _ => ErrorClass::Transient,
    }
}

/// No code: a gateway speaks, not the provider, and what it refuses is not the question.
fn without_code(http_status: u16) -> ErrorClass {
    match http_status {
        429 => ErrorClass::Throttled,
        200..=299 => ErrorClass::Unreadable,
        _ => ErrorClass::Transient,
    }
}
