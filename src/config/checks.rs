//! Checks of single values: each complaint names its key, never the value.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::did_you_mean::closest;
use super::error::{Result, wrong};
use crate::domain::byte_order_mark;
use cloudauth::client;

pub(super) fn endpoint(key: &str, text: &str) -> Result<url::Url> {
    let Ok(url) = url::Url::parse(text) else { return wrong(key, "is not a URL") };
    client::check_endpoint(&url).or_else(|problem| wrong(key, problem))?;
    Ok(url)
}

/// An address that a browser or the provider is sent to.
pub(super) fn web_address(key: &str, text: &str) -> Result<url::Url> {
    let Ok(url) = url::Url::parse(text) else { return wrong(key, "is not a URL") };
    let on_this_machine = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if on_this_machine => {}
        _ => return wrong(key, "must be an https URL; http only on this machine"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(key, "must not contain a user or a password");
    }
    Ok(url)
}

/// Plain http anywhere: spans hold nothing that has to be hidden.
pub(super) fn collector(text: &str) -> Result<url::Url> {
    http_url("traces.endpoint", text)
}

/// The prefix of requests that hold nothing that has to be hidden, and whose answers are signed.
pub(super) fn plain_url(key: &str, text: &str) -> Result<url::Url> {
    let url = http_url(key, text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return wrong(key, "must end with its path: a path of the request follows");
    }
    Ok(url)
}

fn http_url(key: &str, text: &str) -> Result<url::Url> {
    let Ok(url) = url::Url::parse(text) else { return wrong(key, "is not a URL") };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong(key, "must be an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(key, "must not contain a user or a password");
    }
    Ok(url)
}

/// The path, unless it is empty: how the environment takes a file back.
pub(super) fn given(file: Option<&Path>) -> Option<&Path> {
    file.filter(|path| !path.as_os_str().is_empty())
}

/// The value, or the content of the file beside it; not both.
pub(super) fn secret(key: &str, value: &str, file: Option<&Path>) -> Result<Zeroizing<String>> {
    match (value, given(file)) {
        (value, None) => Ok(value.to_owned().into()),
        ("", Some(file)) => {
            let mut text = read_secret(&format!("{key}_file"), file)?;
            let length = text.trim_end().len();
            text.truncate(length);
            Ok(text)
        }
        (_, Some(_)) => wrong(key, format!("is given twice: here and as {key}_file")),
    }
}

/// The content of a file with a secret. Of a secret in a file no copy is left in memory; one that is
/// written in the configuration leaves several.
pub(super) fn read_secret(key: &str, file: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    text.map(byte_order_mark::removed_from_secret).or_else(|error| {
        wrong(key, format!("{} cannot be read: {}", file.display(), crate::causes::of_io(&error)))
    })
}

pub(super) fn address(key: &str, text: &str) -> Result<SocketAddr> {
    text.parse().or_else(|_| wrong(key, "must be an address and a port, like 127.0.0.1:8080"))
}

pub(super) fn at_least<T: PartialOrd + fmt::Display + Copy>(
    key: &str,
    value: T,
    least: T,
) -> Result<T> {
    if value >= least { Ok(value) } else { wrong(key, format!("must be at least {least}")) }
}

pub(super) fn seconds(key: &str, value: f64) -> Result<Duration> {
    // Ten years: anything longer is a mistake, and would not fit a timer.
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if value > 0.0 && value < 315_360_000.0 => Ok(duration),
        _ => wrong(key, "must be a positive number"),
    }
}

/// Zero: kept indefinitely.
pub(super) fn days(key: &str, value: u32) -> Result<Option<Duration>> {
    match value {
        0 => Ok(None),
        days @ 1..=36_500 => Ok(Some(Duration::from_hours(24 * u64::from(days)))),
        _ => wrong(key, "must be from 0 to 36500"),
    }
}

pub(super) fn millis(key: &str, value: u64) -> Result<Duration> {
    match value {
        1..=86_400_000 => Ok(Duration::from_millis(value)),
        _ => wrong(key, "must be from 1 to 86400000"),
    }
}

pub(super) fn one_of<T: Copy>(key: &str, text: &str, known: &[(&str, T)]) -> Result<T> {
    if let Some((_, value)) = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Ok(*value)
    } else {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        wrong(key, format!("must be one of {}", names.join(", ")))
    }
}

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
const OURS: &str = "verdict";

/// A word without a level is a target to the library, so that a misspelt level would switch the log
/// off without a word.
pub(super) fn log_filter(text: &str) -> std::result::Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("must name a level: {}", LEVELS.join(", ")));
    }
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).try_for_each(directive)
}

fn directive(text: &str) -> std::result::Result<(), String> {
    let (target, level) = match text.rsplit_once('=') {
        // An equals sign within the fields of a span is none.
        Some((target, level)) if !level.contains([']', '}']) => (Some(target), Some(level)),
        _ if text.contains('[') => (Some(text), None),
        _ => (None, Some(text)),
    };
    if let Some(level) = level
        && !is_level(level)
    {
        let begun = |known: &&str| {
            level.len() >= 3 && (level.starts_with(*known) || known.starts_with(level))
        };
        let meant = closest(level, &LEVELS).or_else(|| LEVELS.into_iter().find(begun));
        return Err(match meant {
            Some(meant) => format!("has a level that does not exist; did you mean {meant}?"),
            None => format!(
                "must be levels ({}), or targets with one, like info,verdict=debug",
                LEVELS.join(", ")
            ),
        });
    }
    let name = target.and_then(|target| target.split(['[', ':']).next()).unwrap_or_default();
    if !name.is_empty() && name != OURS && closest(name, &[OURS]).is_some() {
        return Err(format!("has a target that does not exist; did you mean {OURS}?"));
    }
    Ok(())
}

fn is_level(text: &str) -> bool {
    let number = text.parse::<u8>().is_ok_and(|level| level <= 5);
    number || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filter_needs_levels_that_exist() {
        for good in [
            "info",
            "INFO",
            "off",
            "3",
            "info,verdict=debug",
            " warn , verdict::http=trace ",
            "error,hyper=info,verdict[span{field=1}]=debug",
            "[fetch]",
        ] {
            assert_eq!(log_filter(good), Ok(()), "{good}");
        }
        for (wrong, said) in [
            ("inof", "did you mean info?"),
            ("warning", "did you mean warn?"),
            ("verdict", "must be levels"),
            ("info,verdict=debgu", "did you mean debug?"),
            ("info,verdcit=debug", "did you mean verdict?"),
            ("verdict:debug", "must be levels"),
            ("verbose", "must be levels"),
            ("6", "must be levels"),
            ("", "must name a level"),
            (" ", "must name a level"),
        ] {
            let told = log_filter(wrong).expect_err(wrong);
            assert!(told.contains(said), "{wrong}: {told}");
        }
    }
}
