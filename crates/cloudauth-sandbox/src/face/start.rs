//! The parameters of `InitFaceVerify`, checked as far as the vendor's pages say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::macros::format_description;
use time::{Date, OffsetDateTime};
use url::Url;

use super::answer::Subject;
use super::callback::acceptable;
use super::product::Product;
use crate::question::Question;

/// Longest base64 of a picture.
const MAX_PICTURE_CHARS: usize = 1_548_576;
/// Largest picture.
const MAX_PICTURE: usize = 1024 * 1024;
/// Younger people cannot be verified.
const MIN_AGE: i32 = 14;

/// A body code other than 200.
pub type Code = u32;
pub const MISSING: Code = 400;
pub const ILLEGAL: Code = 401;
const TOO_YOUNG: Code = 405;
const PICTURE_UNUSABLE: Code = 419;
const MORE_THAN_ONE_PICTURE: Code = 420;
const PICTURE_TOO_LARGE: Code = 421;

/// The values that a parameter may have.
const CHOICES: [(&str, &[&str]); 18] = [
    ("CertType", &["IDENTITY_CARD", "PASSPORT"]),
    (
        "Model",
        &[
            "LIVENESS",
            "PHOTINUS_LIVENESS",
            "MULTI_ACTION",
            "MOVE_ACTION",
            "MOVE_PHOTINUS",
            "MULTI_PHOTINUS",
            "MULTI_FAPTCHA",
        ],
    ),
    ("CertifyUrlType", &["WEB", "H5"]),
    ("CertifyUrlStyle", &["S", "L"]),
    ("ProcedurePriority", &["keep", "url", "video"]),
    ("H5DegradeConfirmBtn", &["Y", "N"]),
    ("CameraSelection", &["Y", "N"]),
    ("Crop", &["T", "F"]),
    ("EncryptType", &["SM2"]),
    ("VideoEvidence", &["true", "false"]),
    ("FaceGuardOutput", &["DeviceRisk"]),
    ("AppQualityCheck", &["Y", "N"]),
    ("NeedMultiFaceCheck", &["Y", "N"]),
    ("SuitableType", &["0", "1", "2"]),
    ("RarelyCharacters", &["Y", "N"]),
    ("EnableBeauty", &["Y", "N"]),
    ("Mode", &["1", "3"]),
    ("ReadImg", &["Y", "N"]),
];

/// A start whose parameters are right.
pub struct Start {
    /// `SceneId`.
    pub scene: String,
    /// `OuterOrderNo`.
    pub order_number: String,
    /// The person, and the purpose of the start.
    pub subject: Subject,
    /// A page is wanted, and can be opened on that device.
    pub page: bool,
    /// Its link shall be short.
    pub short_link: bool,
    /// Where the page leads.
    pub return_url: Option<Url>,
    /// `CallbackUrl` with its `CallbackToken`.
    pub callback: Option<(Url, Option<String>)>,
    /// The comparison picture is to be fetched there.
    pub picture_url: Option<Url>,
    /// The comparison picture is that of an earlier verification.
    pub earlier: Option<String>,
}

/// Reads the parameters of a start. `plain_http`: a callback need not be https.
pub fn read(question: &Question, now: OffsetDateTime, plain_http: bool) -> Result<Start, Code> {
    let required = |name| question.param(name).ok_or(MISSING);
    let scene = required("SceneId")?;
    let order_number = required("OuterOrderNo")?;
    let product = required("ProductCode")?;
    scene.parse::<i64>().map_err(|_| ILLEGAL)?;
    let alphanumeric = order_number.bytes().all(|byte| byte.is_ascii_alphanumeric());
    legal(alphanumeric && order_number.len() <= 32)?;
    let product = Product::parse(product).ok_or(ILLEGAL)?;
    for name in product.required() {
        required(name)?;
    }
    for (name, choices) in CHOICES {
        legal(question.param(name).is_none_or(|value| choices.contains(&value)))?;
    }
    legal(question.param("AuthId").is_none_or(|id| id.chars().count() <= 64))?;
    legal(question.param("VoluntaryCustomizedContent").is_none_or(is_list_of_texts))?;
    let return_url =
        address(question, "ReturnUrl", |url| matches!(url.scheme(), "http" | "https"))?;
    if question.param("CertifyUrlType").is_some() && return_url.is_none() {
        return Err(MISSING);
    }
    let callback = address(question, "CallbackUrl", |url| acceptable(url, plain_http))?;
    let token = question.param("CallbackToken").map(str::to_owned);
    let (name, number) = identity(question, product, now)?;
    let (picture_url, earlier) = picture(question, product)?;
    Ok(Start {
        scene: scene.to_owned(),
        order_number: order_number.to_owned(),
        subject: Subject {
            product,
            name,
            number,
            device_risk: question.param("FaceGuardOutput").is_some(),
            user_info: question.param("RarelyCharacters") == Some("Y"),
            video: question.param("VideoEvidence") == Some("true"),
            seed: order_number.to_owned(),
        },
        page: question.param("CertifyUrlType").is_some() && has_usable_meta_info(question),
        short_link: question.param("CertifyUrlStyle") != Some("L"),
        return_url,
        callback: callback.map(|url| (url, token)),
        picture_url,
        earlier,
    })
}

fn legal(is: bool) -> Result<(), Code> {
    if is { Ok(()) } else { Err(ILLEGAL) }
}

/// A made-up `MetaInfo` is accepted, but there is no page for it.
fn has_usable_meta_info(question: &Question) -> bool {
    let read = question.param("MetaInfo").map(serde_json::from_str::<Value>);
    matches!(read, Some(Ok(Value::Object(members))) if !members.is_empty())
}

fn is_list_of_texts(text: &str) -> bool {
    matches!(serde_json::from_str::<Vec<String>>(text), Ok(list) if (1..=3).contains(&list.len()))
}

fn address(
    question: &Question,
    name: &str,
    acceptable: impl Fn(&Url) -> bool,
) -> Result<Option<Url>, Code> {
    let Some(text) = question.param(name) else { return Ok(None) };
    let url = Url::parse(text).ok().filter(acceptable).ok_or(ILLEGAL)?;
    Ok(Some(url))
}

/// Name and number, as far as they are checked and readable.
fn identity(
    question: &Question,
    product: Product,
    now: OffsetDateTime,
) -> Result<(Option<String>, Option<String>), Code> {
    let (name, number) = (question.param("CertName"), question.param("CertNo"));
    if question.param("EncryptType").is_some() {
        for cipher in [name, number].into_iter().flatten() {
            legal(is_sm2(cipher))?;
        }
        return Ok((None, None));
    }
    // Accepted but not checked.
    if matches!(product, Product::PvFv | Product::LrFr) {
        return Ok((None, None));
    }
    if question.param("CertType") == Some("PASSPORT") {
        let by_us = question.param("Mode") == Some("3");
        let complete =
            ["Birthday", "ValidityDate"].iter().all(|name| question.param(name).is_some());
        if by_us && !complete {
            return Err(MISSING);
        }
    } else if let Some(number) = number {
        let born = birthday(number).ok_or(ILLEGAL)?;
        if age(born, now.date()) < MIN_AGE {
            return Err(TOO_YOUNG);
        }
    }
    Ok((name.map(str::to_owned), number.map(str::to_owned)))
}

/// Base64 of an uncompressed point, a hash of 32 bytes, and at least one byte of text.
fn is_sm2(cipher: &str) -> bool {
    STANDARD.decode(cipher).is_ok_and(|bytes| bytes.first() == Some(&4) && bytes.len() > 65 + 32)
}

/// The date of birth in an 18-digit number. Its check digit is not looked at: invented numbers
/// need none.
fn birthday(number: &str) -> Option<Date> {
    let (digits, last) = number.split_at_checked(17)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(last.as_bytes(), [byte] if byte.is_ascii_digit() || matches!(byte, b'X' | b'x'));
    let date = format_description!("[year][month][day]");
    Date::parse(digits.get(6..14).filter(|_| plain)?, date).ok()
}

fn age(born: Date, today: Date) -> i32 {
    let had_birthday = (today.month() as u8, today.day()) >= (born.month() as u8, born.day());
    today.year() - born.year() - i32::from(!had_birthday)
}

/// The comparison picture of `PV_FV`, as far as it can be checked without asking anyone.
fn picture(question: &Question, product: Product) -> Result<(Option<Url>, Option<String>), Code> {
    let in_body = question.param("FaceContrastPicture");
    let by_url = question.param("FaceContrastPictureUrl");
    let in_bucket = question.param("OssObjectName");
    let earlier = question.param("CertifyId");
    let ways = [in_body, by_url, in_bucket, earlier].into_iter().flatten().count();
    if ways > 1 {
        return Err(MORE_THAN_ONE_PICTURE);
    }
    if product != Product::PvFv {
        return Ok((None, None));
    }
    if ways == 0 || (in_bucket.is_some() && question.param("OssBucketName").is_none()) {
        return Err(MISSING);
    }
    if let Some(text) = in_body {
        if text.len() > MAX_PICTURE_CHARS {
            return Err(PICTURE_TOO_LARGE);
        }
        usable(&STANDARD.decode(text).map_err(|_| PICTURE_UNUSABLE)?)?;
    }
    let url = address(question, "FaceContrastPictureUrl", |url| {
        matches!(url.scheme(), "http" | "https")
    })?;
    Ok((url, earlier.map(str::to_owned)))
}

/// A picture, and small enough. Its sides are not measured.
pub fn usable(picture: &[u8]) -> Result<(), Code> {
    if picture.len() > MAX_PICTURE {
        return Err(PICTURE_TOO_LARGE);
    }
    let known = picture.starts_with(b"\xff\xd8\xff") || picture.starts_with(b"\x89PNG\r\n\x1a\n");
    if known { Ok(()) } else { Err(PICTURE_UNUSABLE) }
}
