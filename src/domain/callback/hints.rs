//! Hints in a callback: claims of the phone. They may be forged, and none of them decides. So a
//! hint that cannot be read with certainty is dropped, and never invalidates the callback.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::members::last;
use crate::domain::lenient_json::{Json, Text};

/// Plausible years for the end of a verification. Near the year 10,000 a time cannot even be
/// converted to UTC.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2100;
/// Seconds since 1970 within [`YEARS`].
const EPOCH_SECONDS: std::ops::Range<f64> = 946_684_800.0..4_133_980_800.0;
static AUDITS: [&str; 5] =
    ["AUDIT_PASS", "AUDIT_FAIL", "AUDIT_NOT", "AUDIT_IN_AUDIT", "AUDIT_EXCEPTION"];
static PLATFORMS: [&str; 4] = ["android", "ios", "h5", "mini-program"];

/// The SDK's report, reduced to closed alphabets. Its `message` is free text that could name a
/// person, so it is not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// `AUDIT_PASS`, `AUDIT_FAIL`, `AUDIT_NOT`, `AUDIT_IN_AUDIT`, `AUDIT_EXCEPTION`.
    pub audit: Option<&'static str>,
    /// The SDK's numeric code.
    pub code: Option<i32>,
    /// `android`, `ios`, `h5`, `mini-program`.
    pub platform: Option<&'static str>,
}

impl Hint {
    pub(super) fn read(client: Option<&Json>, dropped: &mut Vec<&'static str>) -> Self {
        let Some(client) = client else { return Self::default() };
        let Json::Object(client) = client else {
            dropped.push("client");
            return Self::default();
        };
        // Generations of the SDK spell words differently, and send codes as text or as numbers.
        let word = |known: &'static [&'static str]| {
            move |text: &str| known.iter().copied().find(|word| word.eq_ignore_ascii_case(text))
        };
        Self {
            audit: hint(client, "audit", "client.audit", word(&AUDITS), dropped),
            code: hint(client, "code", "client.code", |text| text.parse().ok(), dropped),
            platform: hint(client, "platform", "client.platform", word(&PLATFORMS), dropped),
        }
    }
}

fn hint<T>(
    client: &[(Text, Json)],
    name: &str,
    path: &'static str,
    read: impl Fn(&str) -> Option<T>,
    dropped: &mut Vec<&'static str>,
) -> Option<T> {
    let value = last(client, name)?;
    let read = plain_text(value).and_then(read);
    if read.is_none() {
        dropped.push(path);
    }
    read
}

/// The trimmed text of a string or a number.
fn plain_text(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) => Some(text.value.trim()),
        Json::Bare(word) => Some(word),
        _ => None,
    }
}

/// When the phone finished. A time without an offset is ambiguous; an implausible one only shows
/// that the phone's clock was reset.
pub(super) fn occurred_at(
    value: Option<&Json>,
    dropped: &mut Vec<&'static str>,
) -> Option<OffsetDateTime> {
    let text = plain_text(value?);
    if text == Some("") {
        return None;
    }
    let at = text
        .and_then(|text| epoch(text).or_else(|| calendar(text)))
        .and_then(|at| at.checked_to_offset(UtcOffset::UTC))
        .filter(|at| YEARS.contains(&at.year()));
    if at.is_none() {
        dropped.push("occurred_at");
    }
    at
}

/// Seconds, milli-, micro- or nanoseconds since 1970: within [`YEARS`] the four cannot be confused.
fn epoch(text: &str) -> Option<OffsetDateTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = (9..=19).contains(&whole.len()) && digits(whole) && digits(fraction);
    let number: f64 = text.parse().ok().filter(|_| plain)?;
    let units = [1_i128, 1_000, 1_000_000, 1_000_000_000];
    #[expect(clippy::cast_precision_loss, reason = "units are powers of ten below 2^53")]
    let unit = units.into_iter().find(|unit| EPOCH_SECONDS.contains(&(number / *unit as f64)))?;
    let nanos = whole.parse::<i128>().ok()? * (1_000_000_000 / unit);
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "below one second in nanoseconds"
    )]
    let below = (fraction * (1_000_000_000 / unit) as f64) as i128;
    OffsetDateTime::from_unix_timestamp_nanos(nanos + below).ok()
}

/// RFC 3339, also with a blank before the time and with offsets as `+0800` and `+08`.
fn calendar(text: &str) -> Option<OffsetDateTime> {
    let mut text = text.to_owned();
    if text.as_bytes().get(10).is_some_and(|byte| b" t".contains(byte)) {
        text.replace_range(10..11, "T");
    }
    let tail = text.get(19..)?.rfind(['+', '-']).map(|at| 19 + at);
    if let Some(sign) = tail {
        match text.len() - sign {
            3 => text.push_str(":00"),
            5 if !text[sign..].contains(':') => text.insert(sign + 3, ':'),
            _ => {}
        }
    }
    OffsetDateTime::parse(&text.replace('z', "Z"), &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use policy::product::Product;

    use super::super::Callback;
    use super::*;

    fn read(members: &str) -> Callback {
        let body = format!(r#"{{"biz_type":"a","biz_id":"b",{members}}}"#);
        Callback::parse(body.as_bytes(), Product::VerifyResult).expect("a callback")
    }

    #[test]
    fn unambiguous_time_is_read_in_any_notation() {
        let expected = Some(datetime!(2026-11-26 04:00:01 UTC));
        for at in [
            "\"2026-11-26T12:00:01+08:00\"",
            "\"2026-11-26T12:00:01+0800\"",
            "\"2026-11-26 12:00:01+08\"",
            "\"2026-11-26t04:00:01z\"",
            "\" 2026-11-26T04:00:01Z \"",
            "1795665601",
            "1795665601000",
            "1795665601000000",
            "1795665601000000000",
            "\"1795665601\"",
            "1795665601.0",
        ] {
            let callback = read(&format!(r#""occurred_at":{at}"#));
            assert_eq!(callback.occurred_at, expected, "{at}");
            assert!(callback.dropped_hints.is_empty(), "{at}");
        }
        let fraction = read(r#""occurred_at":1795665601.25"#).occurred_at;
        assert_eq!(fraction, Some(datetime!(2026-11-26 04:00:01.25 UTC)));
    }

    #[test]
    fn ambiguous_time_is_dropped_and_loses_nothing() {
        for at in [
            "\"2026-11-26T12:00:00\"",
            "\"2026-11-26 12:00:00\"",
            "\"2026-11-26T12:00:00 08:00\"",
            "\"yesterday\"",
            "\"9999-12-31T23:59:59-01:00\"",
            "\"0000-01-01T00:00:00+01:00\"",
            "\"1999-12-31T23:59:59Z\"",
            "\"日期日期日期日期+08\"",
            "1",
            "1e9",
            "-1795665601",
            "99999999999999999999999",
            "true",
            "{}",
            "[1]",
            "\"\\ud83d\"",
        ] {
            let callback = read(&format!(r#""occurred_at":{at}"#));
            assert_eq!(callback.occurred_at, None, "{at}");
            assert_eq!(callback.dropped_hints, ["occurred_at"], "{at}");
        }
        for absent in ["null", "\"\"", "\" \""] {
            let callback = read(&format!(r#""occurred_at":{absent}"#));
            assert!(callback.occurred_at.is_none() && callback.dropped_hints.is_empty());
        }
    }

    #[test]
    fn a_hint_of_any_type_loses_nothing() {
        for client in ["\"text\"", "3", "[]", "true"] {
            let callback = read(&format!(r#""client":{client}"#));
            assert_eq!((callback.hint, callback.dropped_hints), (Hint::default(), vec!["client"]));
        }
        let callback = read(r#""client":{"audit":7,"code":"x","platform":{},"message":{"a":1}}"#);
        assert_eq!(callback.hint, Hint::default());
        assert_eq!(callback.dropped_hints, ["client.audit", "client.code", "client.platform"]);
        let callback = read(r#""client":{"audit":"audit_fail","code":" -5 ","platform":"IOS"}"#);
        let hint = Hint { audit: Some("AUDIT_FAIL"), code: Some(-5), platform: Some("ios") };
        assert_eq!((callback.hint, callback.dropped_hints), (hint, Vec::new()));
        assert_eq!(read(r#""client":null"#).hint, Hint::default());
    }
}
