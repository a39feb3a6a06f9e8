//! How long the provider asks callers to wait.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Longest wait that is believed: a typing error must not stop a caller for a day.
const LONGEST: Duration = Duration::from_hours(1);

/// `x-acs-retry-after` in milliseconds (the vendor's SDKs), or `Retry-After` in seconds or as a
/// date (RFC 9110).
pub(super) fn read(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let own = headers.get("x-acs-retry-after").and_then(|value| value.to_str().ok());
    let millis = own.and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
    let wait = millis.or_else(|| {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        text.parse().ok().map(Duration::from_secs).or_else(|| until(text, now))
    })?;
    Some(wait.min(LONGEST))
}

/// Until that date; not at all if it has passed.
fn until(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Duration::try_from(date - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use time::macros::datetime;

    use super::*;

    fn wait(name: &'static str, value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        read(&headers, datetime!(2026-11-23 12:00 UTC))
    }

    #[test]
    fn all_three_forms_are_understood_and_capped() {
        assert_eq!(wait("x-acs-retry-after", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("retry-after", " 7 "), Some(Duration::from_secs(7)));
        let date = wait("retry-after", "Mon, 23 Nov 2026 12:00:30 GMT");
        assert_eq!(date, Some(Duration::from_secs(30)));
        let past = wait("retry-after", "Mon, 23 Nov 2026 11:00:30 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(wait("retry-after", "86400"), Some(LONGEST));
        assert_eq!(wait("x-acs-retry-after", "18446744073709551615"), Some(LONGEST));
        assert_eq!(wait("retry-after", "soon"), None);
        assert_eq!(wait("retry-after", "-1"), None);
    }
}
