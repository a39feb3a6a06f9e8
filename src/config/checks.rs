//! Checks of single values: each complaint names its key, never the value.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Result, wrong};
use crate::domain::byte_order_mark;
use crate::provider::client;

pub(super) fn endpoint(text: &str) -> Result<url::Url> {
    const KEY: &str = "provider.endpoint";
    let Ok(url) = url::Url::parse(text) else { return wrong(KEY, "is not a URL") };
    client::check_endpoint(&url).or_else(|problem| wrong(KEY, problem))?;
    Ok(url)
}

/// Plain http anywhere: spans hold nothing that has to be hidden.
pub(super) fn collector(text: &str) -> Result<url::Url> {
    const KEY: &str = "traces.endpoint";
    let Ok(url) = url::Url::parse(text) else { return wrong(KEY, "is not a URL") };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong(KEY, "must be an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(KEY, "must not contain a user or a password");
    }
    Ok(url)
}

/// The path, unless it is empty: how the environment takes a file back.
pub(super) fn given(file: Option<&Path>) -> Option<&Path> {
    file.filter(|path| !path.as_os_str().is_empty())
}

/// The value, or the content of the file beside it; not both.
pub(super) fn secret(key: &str, value: &str, file: Option<&Path>) -> Result<String> {
    match (value, given(file)) {
        (value, None) => Ok(value.to_owned()),
        ("", Some(file)) => Ok(read_secret(&format!("{key}_file"), file)?.trim_end().to_owned()),
        (_, Some(_)) => wrong(key, format!("is given twice: here and as {key}_file")),
    }
}

pub(super) fn read_secret(key: &str, file: &Path) -> Result<String> {
    std::fs::read_to_string(file)
        .map(byte_order_mark::removed)
        .or_else(|error| wrong(key, format!("{} cannot be read: {}", file.display(), error.kind())))
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

/// Zero is for ever.
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
