//! The meaning of the provider's error codes.
//!
//! The code decides, then the HTTP status: the same code comes with different statuses
//! (`Error.InternalError` with 500, 400 and 401, `Throttling` mostly with 400).

use super::error::ErrorClass;

/// A rule on codes.
enum Codes {
    /// This very code.
    Is(&'static str),
    /// Every code that starts so.
    Starts(&'static str),
}

use Codes::{Is, Starts};

/// The first match counts.
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
    // Faults of the account, which every call meets alike: a caller should stop calling instead of
    // giving up one verification after the other.
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

/// Whether the code reports success.
pub(super) fn is_success(code: &str) -> bool {
    SUCCESS.iter().any(|success| success.eq_ignore_ascii_case(code))
}

/// The error class of an answer without a `VerifyStatus`.
pub fn classify(code: Option<&str>, http_status: u16) -> ErrorClass {
    match code {
        Some(code) if !is_success(code) => by_code(code).unwrap_or_else(|| by_status(http_status)),
        _ => without_code(http_status),
    }
}

/// Whether the refusal is about this call alone and will not change, by the vendor's tables. An
/// unknown code is not conclusive, because it may hit every call alike. Nor is "no such record",
/// because a callback may arrive before the provider has written its own record.
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

/// An unknown code comes from the provider itself, so the HTTP status counts.
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

/// Without a code a gateway answered, not the provider: it does not refuse this call in particular.
fn without_code(http_status: u16) -> ErrorClass {
    match http_status {
        429 => ErrorClass::Throttled,
        200..=299 => ErrorClass::Unreadable,
        _ => ErrorClass::Transient,
    }
}
