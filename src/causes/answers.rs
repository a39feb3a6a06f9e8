//! Causes that the other side names by a code: Postgres by a SQLSTATE, object stores by a word.

use super::cause::Cause;

/// Maps a SQLSTATE. Some codes have several meanings: `routine`, the function of the server that
/// raised the error, tells them apart. `None` is a mistake of ours: a statement or a value that the database refuses.
pub fn of_sqlstate(code: &str, routine: Option<&str>) -> Option<Cause> {
    Some(match code {
        "28P01" => Cause::WrongPassword,
        "28000" if routine == Some("InitializeSessionUserId") => Cause::UnknownRole,
        "28000" if routine == Some("ClientAuthentication") => Cause::NotAdmitted,
        "28000" => Cause::NotAdmitted,
        "3D000" | "57P04" => Cause::UnknownDatabase,
        "42501" => Cause::MissingRight,
        "25006" => Cause::ReadOnly,
        "53100" => Cause::Full,
        "53300" => Cause::TooManyConnections,
        "40001" | "40P01" => Cause::Conflict,
        "55P03" | "55006" => Cause::Locked,
        "57014" => Cause::Cancelled,
        // The plan of a statement that was prepared before a migration. Raised elsewhere the code
        // means that the server does not know what a statement asks for.
        "0A000" if routine == Some("RevalidateCachedQuery") => Cause::StaleSession,
        "26000" => Cause::StaleSession,
        code => return of_class(code),
    })
}

fn of_class(code: &str) -> Option<Cause> {
    Some(match code.get(..2)? {
        "08" => Cause::Closed,
        "25" => Cause::StaleSession,
        "53" => Cause::OutOfResources,
        "57" if code.starts_with("57P") => Cause::Starting,
        "58" => Cause::ServerError,
        _ => return None,
    })
}

/// Maps the HTTP status and the code of an S3 error.
pub fn of_s3_answer(status: u16, code: &str) -> Option<Cause> {
    of_s3_code(code).or(match status {
        301 | 307 => Some(Cause::WrongRegion),
        401 => Some(Cause::UnknownKey),
        403 => Some(Cause::AccessDenied),
        404 => Some(Cause::NotFound),
        413 | 507 => Some(Cause::Full),
        429 => Some(Cause::Throttled),
        500..=599 => Some(Cause::ServerError),
        _ => None,
    })
}

/// AWS, Alibaba OSS, `MinIO` and Ceph share these words.
fn of_s3_code(code: &str) -> Option<Cause> {
    Some(match code {
        "AccessDenied" | "AccountProblem" | "AllAccessDisabled" | "UserDisable"
        | "AccessForbidden" => Cause::AccessDenied,
        "InvalidAccessKeyId" | "InvalidAccessKeyIdSecurity" => Cause::UnknownKey,
        "SignatureDoesNotMatch" | "XAmzContentSHA256Mismatch" => Cause::WrongSignature,
        "ExpiredToken"
        | "InvalidToken"
        | "SecurityTokenExpired"
        | "TokenRefreshRequired"
        | "InvalidSecurityToken" => Cause::ExpiredCredentials,
        "RequestTimeTooSkewed" | "RequestExpired" | "AuthorizationTimeTooSkewed" => {
            Cause::WrongClock
        }
        "NoSuchBucket" | "InvalidBucketName" => Cause::UnknownBucket,
        "PermanentRedirect"
        | "Redirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IncorrectEndpoint"
        | "IllegalLocationConstraintException"
        | "InvalidRegionName" => Cause::WrongRegion,
        "QuotaExceeded"
        | "InsufficientStorage"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "EntityTooLarge"
        | "UserStorageQuotaExceeded" => Cause::Full,
        "SlowDown"
        | "SlowDownWrite"
        | "SlowDownRead"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "QpsLimitExceeded" => Cause::Throttled,
        "MethodNotAllowedReadOnly" | "XMinioServerNotInitialized" => Cause::Starting,
        "NoSuchKey" => Cause::NotFound,
        "RequestTimeout" => Cause::Timeout,
        "InternalError" | "ServiceUnavailable" => Cause::ServerError,
        _ => return None,
    })
}
