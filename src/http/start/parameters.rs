//! The parameters of a start of face-verify: those of `InitFaceVerify` in snake case, checked as far
//! as the provider documents them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::Date;
use time::macros::format_description;
use zeroize::Zeroizing;

use super::members::{PassedThrough, passed_through, source_name};
use crate::domain::callback::{BizId, BizType, parse_product, parse_reference};
use crate::domain::field_error::FieldError;
use crate::domain::starting::Starting;
use crate::http::request_body::request_body;
use policy::product::Product;

/// Longest `meta_info`, in characters; those of the SDKs have a few hundred.
const MAX_META_INFO_CHARS: usize = 16 * 1024;
/// Longest base64 of a picture, by the provider's description of its API.
const MAX_PICTURE_CHARS: usize = 1_548_576;

/// A point of the curve (uncompressed: 04 and two coordinates), a digest, and at least one byte of
/// ciphertext.
const MIN_SM2_BYTES: usize = 1 + 64 + 32 + 1;

/// The provider's name of `certify_url_type`.
pub(super) const PAGE: &str = "CertifyUrlType";
/// The provider's name of `return_url`.
pub(super) const RETURN_URL: &str = "ReturnUrl";

/// One of these values.
macro_rules! choice {
    ($($value:literal),+) => {
        |text: &str| match text {
            $($value)|+ => Ok(Zeroizing::new(text.to_owned())),
            _ => Err(concat!("must be one of:", $(" ", $value),+)),
        }
    };
}

request_body! {
    /// A verification of face-verify to be started. The members after `source` are passed to the
    /// provider, as parameters of `InitFaceVerify` with the same meaning; personal data among them is
    /// stored nowhere. A keyed digest of `cert_no` is, by which an erasure finds the person.
    pub(in crate::http) struct FaceVerifyStartRequest {
        /// The product; without one `provider.product` of the configuration.
        #[schema(value_type = Option<String>, pattern = "^face-verify$")]
        product: Option<Product> = optional(this_product),
        /// The scene (`SceneId`).
        #[schema(value_type = String, pattern = "^[0-9]{1,18}$")]
        biz_type: BizType = required(scene),
        /// Your order number (`OuterOrderNo`): a new one for each attempt of a user.
        #[schema(value_type = String, pattern = "^[A-Za-z0-9]{1,32}$")]
        biz_id: BizId = required(order_number),
        /// Your own; no name or number of a person.
        #[schema(max_length = 128, pattern = r"^[^\x00]*$")]
        reference: Option<String> = optional(parse_reference),
        /// The source whose callbacks this is for. Name it where several are configured: without one
        /// the verification belongs to the first source that posts a callback about it.
        #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
        source: Option<String> = optional(source_name),
        /// `ID_PRO`, `ID_PLUS`, `PV_FV`, `LR_FR`, `MFVC` or another scheme.
        #[schema(value_type = String, pattern = "^[A-Z][A-Z0-9_]{0,31}$")]
        product_code: PassedThrough = required(scheme),
        /// What the provider's client SDK says of the device, fresh each time: a JSON object as text, or
        /// the object itself. At most 16,384 characters.
        #[schema(value_type = serde_json::Value, example = "{\"deviceType\":\"h5\"}")]
        meta_info: PassedThrough = required_value(meta_info),
        #[schema(value_type = Option<String>, pattern = "^(IDENTITY_CARD|PASSPORT)$")]
        cert_type: Option<PassedThrough> = optional(choice!("IDENTITY_CARD", "PASSPORT")),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"
        )]
        cert_name: Option<PassedThrough> = optional(passed_through::<512>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 512, pattern = r"^[^\x00]*$"
        )]
        cert_no: Option<PassedThrough> = optional(passed_through::<512>),
        /// `cert_name` and `cert_no` are encrypted with the provider's key: base64 of an SM2 ciphertext
        /// that begins with the byte 04. `verdict erase --person` does not find such a number.
        #[schema(value_type = Option<String>, pattern = "^SM2$")]
        encrypt_type: Option<PassedThrough> = optional(choice!("SM2")),
        /// Your own id of the person.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 128, pattern = r"^[^\x00]*$"
        )]
        user_id: Option<PassedThrough> = optional(passed_through::<128>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64, pattern = r"^[^\x00]*$"
        )]
        ip: Option<PassedThrough> = optional(passed_through::<64>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 32, pattern = r"^[^\x00]*$"
        )]
        mobile: Option<PassedThrough> = optional(passed_through::<32>),
        /// The id of the user's consent.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64, pattern = r"^[^\x00]*$"
        )]
        auth_id: Option<PassedThrough> = optional(passed_through::<64>),
        /// How liveness is checked.
        #[schema(
            value_type = Option<String>,
            pattern = "^(LIVENESS|PHOTINUS_LIVENESS|MULTI_ACTION|MOVE_ACTION|MOVE_PHOTINUS|MULTI_PHOTINUS|MULTI_FAPTCHA|SILENT_LIVENESS)$"
        )]
        model: Option<PassedThrough> = optional(choice!(
            "LIVENESS", "PHOTINUS_LIVENESS", "MULTI_ACTION", "MOVE_ACTION", "MOVE_PHOTINUS",
            "MULTI_PHOTINUS", "MULTI_FAPTCHA", "SILENT_LIVENESS"
        )),
        /// The kind of page. Without it there is no `certify_url`.
        #[schema(value_type = Option<String>, pattern = "^(WEB|H5)$")]
        certify_url_type: Option<PassedThrough> = optional(choice!("WEB", "H5")),
        /// Where the page leads afterwards: `/v1/returns/{source}` below `http.public_url`, perhaps with
        /// `?to=`, or one of the `return_urls` of the source.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        return_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(value_type = Option<String>, pattern = "^(S|L)$")]
        certify_url_style: Option<PassedThrough> = optional(choice!("S", "L")),
        #[schema(value_type = Option<String>, pattern = "^(keep|url|video)$")]
        procedure_priority: Option<PassedThrough> = optional(choice!("keep", "url", "video")),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        h5_degrade_confirm_btn: Option<PassedThrough> = optional(choice!("Y", "N")),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        ui_custom_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        camera_selection: Option<PassedThrough> = optional(choice!("Y", "N")),
        /// The picture to compare with, in base64. Give at most one of this, `face_contrast_picture_url`,
        /// `oss_bucket_name` with `oss_object_name`, and `certify_id`.
        #[schema(
            value_type = Option<String>, max_length = 1_548_576, pattern = "^[A-Za-z0-9+/]+={0,2}$"
        )]
        face_contrast_picture: Option<PassedThrough> = optional(picture),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        face_contrast_picture_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 128, pattern = r"^[^\x00]*$"
        )]
        oss_bucket_name: Option<PassedThrough> = optional(passed_through::<128>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 1024, pattern = r"^[^\x00]*$"
        )]
        oss_object_name: Option<PassedThrough> = optional(passed_through::<1024>),
        /// An earlier verification that passed.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64, pattern = r"^[^\x00]*$"
        )]
        certify_id: Option<PassedThrough> = optional(passed_through::<64>),
        #[schema(value_type = Option<String>, pattern = "^(T|F)$")]
        crop: Option<PassedThrough> = optional(choice!("T", "F")),
        #[schema(value_type = Option<String>, pattern = "^(true|false)$")]
        video_evidence: Option<PassedThrough> = optional(choice!("true", "false")),
        #[schema(value_type = Option<String>, pattern = "^DeviceRisk$")]
        face_guard_output: Option<PassedThrough> = optional(choice!("DeviceRisk")),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        app_quality_check: Option<PassedThrough> = optional(choice!("Y", "N")),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        need_multi_face_check: Option<PassedThrough> = optional(choice!("Y", "N")),
        #[schema(value_type = Option<String>, pattern = "^(0|1|2)$")]
        suitable_type: Option<PassedThrough> = optional(choice!("0", "1", "2")),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        rarely_characters: Option<PassedThrough> = optional(choice!("Y", "N")),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        enable_beauty: Option<PassedThrough> = optional(choice!("Y", "N")),
        #[schema(value_type = Option<String>, pattern = "^(1|3)$")]
        mode: Option<PassedThrough> = optional(choice!("1", "3")),
        #[schema(value_type = Option<String>, pattern = "^(Y|N)$")]
        read_img: Option<PassedThrough> = optional(choice!("Y", "N")),
        #[schema(value_type = Option<String>, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
        birthday: Option<PassedThrough> = optional(day),
        #[schema(value_type = Option<String>, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
        validity_date: Option<PassedThrough> = optional(day),
        /// JSON list of the texts or questions of the consent, as text.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        voluntary_customized_content: Option<PassedThrough> = optional(passed_through::<2048>),
    }
}

fn this_product(text: &str) -> Result<Product, &'static str> {
    parse_product(text)
        .ok()
        .filter(|product| *product == Product::FaceVerify)
        .ok_or("must be verify-result or face-verify")
}

fn scene(text: &str) -> Result<BizType, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = digits && (1..=18).contains(&text.len());
    BizType::parse(text).ok().filter(|_| fits).ok_or("must be a SceneId: 1 to 18 digits")
}

fn order_number(text: &str) -> Result<BizId, &'static str> {
    let fits = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    BizId::parse(text).ok().filter(|_| fits).ok_or("must be 1 to 32 letters and digits")
}

fn scheme(text: &str) -> Result<PassedThrough, &'static str> {
    let inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.len() <= 32
        && text.bytes().all(inner);
    fits.then(|| Zeroizing::new(text.to_owned())).ok_or("must be a product code such as ID_PRO")
}

/// With anything else the provider starts the verification, but makes no page for it.
fn meta_info(value: &Value) -> Result<PassedThrough, &'static str> {
    const TOO_LONG: &str = "must be 1 to 16384 characters, none of them NUL";
    let fits = |text: &str| {
        (1..=MAX_META_INFO_CHARS).contains(&text.chars().count()) && !text.contains('\0')
    };
    let is_object = |text: &str| matches!(serde_json::from_str(text), Ok(Value::Object(_)));
    let text = match value {
        // Before it is parsed: the values of the body were counted without those in a text.
        Value::String(text) if !fits(text) => return Err(TOO_LONG),
        Value::String(text) if is_object(text) => Zeroizing::new(text.clone()),
        // The SDK for iOS makes an object.
        Value::Object(_) => Zeroizing::new(value.to_string()),
        _ => return Err("must be a JSON object, or one as text"),
    };
    fits(&text).then_some(text).ok_or(TOO_LONG)
}

fn picture(text: &str) -> Result<PassedThrough, &'static str> {
    let data = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let fits = text.len() <= MAX_PICTURE_CHARS
        && !data.is_empty()
        && data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    fits.then(|| Zeroizing::new(text.to_owned()))
        .ok_or("must be a picture below 1 MB in base64, without a prefix or line breaks")
}

fn day(text: &str) -> Result<PassedThrough, &'static str> {
    let written = format_description!("[year]-[month]-[day]");
    let fits = text.len() == 10 && Date::parse(text, written).is_ok();
    fits.then(|| Zeroizing::new(text.to_owned())).ok_or("must be a date: yyyy-MM-dd")
}

/// The start, if the parameters go together.
pub(super) fn starting(of: FaceVerifyStartRequest) -> Result<Starting, Vec<FieldError>> {
    let errors = contradictions(&of);
    if !errors.is_empty() {
        return Err(errors);
    }
    let parameters = [
        ("ProductCode", Some(of.product_code)),
        ("MetaInfo", Some(of.meta_info)),
        ("CertType", of.cert_type),
        ("CertName", of.cert_name),
        ("CertNo", of.cert_no),
        ("EncryptType", of.encrypt_type),
        ("UserId", of.user_id),
        ("Ip", of.ip),
        ("Mobile", of.mobile),
        ("AuthId", of.auth_id),
        ("Model", of.model),
        (PAGE, of.certify_url_type),
        (RETURN_URL, of.return_url),
        ("CertifyUrlStyle", of.certify_url_style),
        ("ProcedurePriority", of.procedure_priority),
        ("H5DegradeConfirmBtn", of.h5_degrade_confirm_btn),
        ("UiCustomUrl", of.ui_custom_url),
        ("CameraSelection", of.camera_selection),
        ("FaceContrastPicture", of.face_contrast_picture),
        ("FaceContrastPictureUrl", of.face_contrast_picture_url),
        ("OssBucketName", of.oss_bucket_name),
        ("OssObjectName", of.oss_object_name),
        ("CertifyId", of.certify_id),
        ("Crop", of.crop),
        ("VideoEvidence", of.video_evidence),
        ("FaceGuardOutput", of.face_guard_output),
        ("AppQualityCheck", of.app_quality_check),
        ("NeedMultiFaceCheck", of.need_multi_face_check),
        ("SuitableType", of.suitable_type),
        ("RarelyCharacters", of.rarely_characters),
        ("EnableBeauty", of.enable_beauty),
        ("Mode", of.mode),
        ("ReadImg", of.read_img),
        ("Birthday", of.birthday),
        ("ValidityDate", of.validity_date),
        ("VoluntaryCustomizedContent", of.voluntary_customized_content),
    ];
    Ok(Starting {
        product: of.product.unwrap_or(Product::FaceVerify),
        biz_type: of.biz_type,
        biz_id: of.biz_id,
        reference: of.reference,
        source: of.source,
        handed_through: parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
    })
}

/// Whether it may be a ciphertext of SM2, whichever order its parts have. Only the provider can
/// decrypt it.
fn is_sm2(text: &str) -> bool {
    STANDARD
        .decode(text)
        .is_ok_and(|bytes| bytes.first() == Some(&4) && bytes.len() >= MIN_SM2_BYTES)
}

/// What the provider's pages require together.
fn contradictions(of: &FaceVerifyStartRequest) -> Vec<FieldError> {
    let scheme = of.product_code.as_str();
    let is = |value: &Option<PassedThrough>, text: &str| {
        value.as_ref().is_some_and(|value| value.as_str() == text)
    };
    let from_bucket = of.oss_bucket_name.is_some() || of.oss_object_name.is_some();
    let pictures = [
        of.face_contrast_picture.is_some(),
        of.face_contrast_picture_url.is_some(),
        from_bucket,
        of.certify_id.is_some(),
    ];
    let pictures = pictures.into_iter().filter(|given| *given).count();
    let passport = is(&of.cert_type, "PASSPORT") && is(&of.mode, "3");
    let required = "is required with this product_code";
    let encrypted = is(&of.encrypt_type, "SM2");
    let in_clear = |value: &Option<PassedThrough>| {
        encrypted && value.as_ref().is_some_and(|value| !is_sm2(value))
    };
    let must_be_sm2 = "must be the base64 of an SM2 ciphertext with this encrypt_type";
    [
        (in_clear(&of.cert_name), "/cert_name", must_be_sm2),
        (in_clear(&of.cert_no), "/cert_no", must_be_sm2),
        (scheme == "ID_PRO" && of.cert_type.is_none(), "/cert_type", required),
        (scheme == "ID_PRO" && of.cert_name.is_none(), "/cert_name", required),
        (scheme == "ID_PRO" && of.cert_no.is_none(), "/cert_no", required),
        (matches!(scheme, "PV_FV" | "LR_FR") && of.user_id.is_none(), "/user_id", required),
        (scheme == "PV_FV" && pictures == 0, "/face_contrast_picture", required),
        (
            of.certify_url_type.is_some() && of.return_url.is_none(),
            "/return_url",
            "is required with certify_url_type",
        ),
        (pictures > 1, "/face_contrast_picture", "is not the only picture to compare with"),
        (
            from_bucket && of.oss_bucket_name.is_none(),
            "/oss_bucket_name",
            "is required with oss_object_name",
        ),
        (
            from_bucket && of.oss_object_name.is_none(),
            "/oss_object_name",
            "is required with oss_bucket_name",
        ),
        (
            passport && of.birthday.is_none(),
            "/birthday",
            "is required with this cert_type and mode",
        ),
        (
            passport && of.validity_date.is_none(),
            "/validity_date",
            "is required with this cert_type and mode",
        ),
    ]
    .into_iter()
    .filter(|(wrong, ..)| *wrong)
    .map(|(_, pointer, detail)| FieldError { pointer, detail })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_info_as_a_long_text_is_refused_unparsed() {
        let of = |text: String| meta_info(&Value::String(text)).map(|text| text.len());
        let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
        assert_eq!(of(padded(MAX_META_INFO_CHARS)), Ok(MAX_META_INFO_CHARS));
        // Parsed, it would be no JSON: a tree of it takes a hundred times its memory.
        let unfinished = r#"{"":{"":"#.repeat(200_000);
        assert!(of(unfinished).is_err_and(|detail| detail.contains("16384 characters")));
        assert!(of("[]".to_owned()).is_err_and(|detail| detail.contains("a JSON object")));
    }
}
