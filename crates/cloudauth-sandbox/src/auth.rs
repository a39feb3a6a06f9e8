//! Who asks? Checks the vendor's signatures the way the vendor's gateway does.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::question::{Question, Version};
use crate::refusal::Refusal;
use cloudauth::signing::{v2, v3};

/// The farthest a request's time may be from ours, both ways (the vendor's table of common
/// errors; another page says 31 minutes).
const MAX_SKEW: time::Duration = time::Duration::minutes(15);

/// `2026-11-23T09:30:00Z`, the only form.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The headers that an ACS3 signature must cover, else they could be changed on the way.
const COVERED: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
];

/// The account that may ask.
pub struct Account<'a> {
    /// `AccessKeyId`.
    pub id: &'a str,
    /// `AccessKeySecret`.
    pub secret: &'a str,
    /// The STS token that goes with them, if they are temporary.
    pub security_token: Option<&'a str>,
}

/// Checks everything but whether the nonce is new; that one is returned.
pub fn check<'q>(
    question: &'q Question,
    account: &Account<'_>,
    now: OffsetDateTime,
) -> Result<&'q str, Refusal> {
    match question.version {
        Version::V2 => check_v2(question, account, now),
        Version::V3 => check_v3(question, account, now),
    }
}

fn check_v2<'q>(
    question: &'q Question,
    account: &Account<'_>,
    now: OffsetDateTime,
) -> Result<&'q str, Refusal> {
    let required = |name| question.param(name).ok_or_else(|| Refusal::missing(name));
    let id = required("AccessKeyId")?;
    let signature = required("Signature")?;
    let method = required("SignatureMethod")?;
    let version = required("SignatureVersion")?;
    let nonce = required("SignatureNonce")?;
    fresh(required("Timestamp")?, now)?;
    if method != "HMAC-SHA1" || version != "1.0" {
        return Err(Refusal::new(
            "InvalidSignatureMethod",
            400,
            "Only SignatureMethod HMAC-SHA1 with SignatureVersion 1.0 is supported.",
        ));
    }
    known(id, account)?;
    let params: Vec<_> = question.query.iter().chain(&question.form).cloned().collect();
    let string_to_sign = v2::string_to_sign(question.method.as_str(), &params);
    if v2::signature(account.secret, &string_to_sign) != signature {
        return Err(Refusal::signature(&string_to_sign));
    }
    token(question.param("SecurityToken"), account)?;
    Ok(nonce)
}

fn check_v3<'q>(
    question: &'q Question,
    account: &Account<'_>,
    now: OffsetDateTime,
) -> Result<&'q str, Refusal> {
    let authorization =
        question.header("authorization").ok_or_else(|| Refusal::missing("Authorization"))?;
    let Authorization { credential, names, signature } =
        Authorization::parse(authorization).ok_or_else(incomplete)?;
    if COVERED.iter().any(|name| !names.contains(name) || question.header(name).is_none()) {
        return Err(incomplete());
    }
    fresh(question.header("x-acs-date").unwrap_or_default(), now)?;
    known(credential, account)?;
    let hash = v3::hash(&question.body);
    if question.header("x-acs-content-sha256") != Some(hash.as_str()) {
        return Err(Refusal::new(
            "SignatureDoesNotMatch",
            400,
            "The header x-acs-content-sha256 does not match the body.",
        ));
    }
    let headers: Vec<(String, String)> =
        names.iter().map(|name| ((*name).to_owned(), joined(question, name))).collect();
    let canonical = v3::canonical_request(
        question.method.as_str(),
        &question.path,
        &question.query,
        &headers,
        &hash,
    );
    let string_to_sign = v3::string_to_sign(&canonical);
    if v3::signature(account.secret, &string_to_sign) != signature {
        return Err(Refusal::signature(&string_to_sign));
    }
    token(question.header("x-acs-security-token"), account)?;
    Ok(question.header("x-acs-signature-nonce").unwrap_or_default())
}

/// `ACS3-HMAC-SHA256 Credential=<id>,SignedHeaders=<a;b>,Signature=<hex>`.
struct Authorization<'a> {
    credential: &'a str,
    names: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix(v3::ALGORITHM)?;
        let field = |name: &str| {
            fields.split(',').find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            credential: field("Credential")?,
            names: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }
}

/// All values of a header, joined as HTTP would join them.
fn joined(question: &Question, name: &str) -> String {
    let values = question.headers.get_all(name).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .collect::<Vec<_>>()
        .join(",")
}

fn fresh(text: &str, now: OffsetDateTime) -> Result<(), Refusal> {
    let Ok(at) = PrimitiveDateTime::parse(text, TIME) else {
        return Err(Refusal::new(
            "InvalidTimeStamp.Format",
            400,
            "Specified time stamp or date value is not well formatted.",
        ));
    };
    if (at.assume_utc() - now).abs() > MAX_SKEW {
        return Err(Refusal::new(
            "InvalidTimeStamp.Expired",
            400,
            "Specified time stamp or date value is expired.",
        ));
    }
    Ok(())
}

fn known(id: &str, account: &Account<'_>) -> Result<(), Refusal> {
    if id == account.id {
        return Ok(());
    }
    Err(Refusal::new("InvalidAccessKeyId.NotFound", 404, "Specified access key is not found."))
}

fn token(given: Option<&str>, account: &Account<'_>) -> Result<(), Refusal> {
    match (account.security_token, given) {
        (Some(_), None) => Err(Refusal::new(
            "MissingSecurityToken",
            400,
            "SecurityToken is mandatory for this action.",
        )),
        (expected, given) if expected == given => Ok(()),
        _ => Err(Refusal::new(
            "InvalidSecurityToken.Malformed",
            400,
            "Specified SecurityToken is not valid.",
        )),
    }
}

fn incomplete() -> Refusal {
    Refusal::new("IncompleteSignature", 400, "The request signature does not conform to standards.")
}
