//! Credentials in files: a secret's own, the CLI's profile, and the SDKs' ini file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;

use super::access_key::{Credentials, Fixed, Miss, Secret};
use super::environment::Environment;
use crate::text::byte_order_mark;

/// The key of the settings. It is meant, so no other source is asked.
pub(super) async fn fixed(fixed: Option<&Fixed>) -> Result<Credentials, Miss> {
    let fixed = fixed.ok_or_else(|| Miss::Next("no access key is set".to_owned()))?;
    let access_key_secret = match &fixed.access_key_secret {
        Secret::Value(secret) => secret.clone(),
        Secret::File(path) => secret_in(path).await?,
    };
    Ok(Credentials {
        access_key_id: fixed.access_key_id.clone(),
        access_key_secret,
        security_token: fixed.security_token.clone(),
        expires_at: None,
    })
}

async fn secret_in(path: &Path) -> Result<SecretString, Miss> {
    let stop = |what: &str| Miss::Stop(format!("the file of the access key secret {what}"));
    let text = read(path).await.map_err(|reason| stop(&format!("cannot be read ({reason})")))?;
    match text.trim() {
        "" => Err(stop("is empty")),
        secret => Ok(SecretString::from(secret)),
    }
}

/// The content of a file, or why it cannot be read.
pub(super) async fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| reason(error.kind()))?;
    Ok(byte_order_mark::removed_from_secret(text.into()))
}

fn reason(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::PermissionDenied => "this user may not do it".to_owned(),
        ErrorKind::IsADirectory => "it is a folder, not a file".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
struct CliConfig {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<CliProfile>,
}

#[derive(Deserialize)]
struct CliProfile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    access_key_secret: String,
    #[serde(default)]
    sts_token: String,
}

/// `~/.aliyun/config.json`: profiles of mode `AK` and `StsToken`.
pub(super) async fn cli_profile(environment: &Environment) -> Result<Credentials, Miss> {
    let next = |lacks: &str| Miss::Next(lacks.to_owned());
    if environment.is_on("ALIBABA_CLOUD_CLI_PROFILE_DISABLED") {
        return Err(next("switched off"));
    }
    let path = environment.in_home(".aliyun/config.json").ok_or_else(|| next("no HOME"))?;
    let text = read(&path)
        .await
        .map_err(|reason| Miss::Next(format!("~/.aliyun/config.json cannot be read ({reason})")))?;
    let config: CliConfig = serde_json::from_str(&text)
        .map_err(|_| next("~/.aliyun/config.json is not the CLI's configuration"))?;
    let wanted = environment.get("ALIBABA_CLOUD_PROFILE").unwrap_or(&config.current);
    let profile = config
        .profiles
        .iter()
        .find(|profile| profile.name == wanted)
        .ok_or_else(|| next("~/.aliyun/config.json lacks the profile in use"))?;
    let token = match profile.mode.as_str() {
        "AK" => "",
        "StsToken" => &profile.sts_token,
        _ => return Err(next("the profile's mode is neither AK nor StsToken")),
    };
    key(&profile.access_key_id, &profile.access_key_secret, token, profile.mode == "StsToken")
        .ok_or_else(|| next("the profile's key is incomplete"))
}

/// `~/.alibabacloud/credentials.ini`: sections of type `access_key` and `sts`.
pub(super) async fn credentials_file(environment: &Environment) -> Result<Credentials, Miss> {
    let named = environment.get("ALIBABA_CLOUD_CREDENTIALS_FILE");
    // A file that was named is meant; the usual place may well be empty.
    let next = |lacks: &str| match named {
        Some(_) => Miss::Stop(lacks.to_owned()),
        None => Miss::Next(lacks.to_owned()),
    };
    let path = named
        .map(Into::into)
        .or_else(|| environment.in_home(".alibabacloud/credentials.ini"))
        .ok_or_else(|| next("no HOME"))?;
    let text =
        read(&path).await.map_err(|reason| next(&format!("it cannot be read ({reason})")))?;
    let wanted = environment.get("ALIBABA_CLOUD_PROFILE").unwrap_or("default");
    let section = section(&text, wanted).ok_or_else(|| next("it lacks the profile in use"))?;
    let get = |name: &str| section.get(name).copied().unwrap_or_default();
    let temporary = match get("type") {
        "access_key" => false,
        "sts" => true,
        _ => return Err(next("its type is neither access_key nor sts")),
    };
    let token = if temporary { get("security_token") } else { "" };
    key(get("access_key_id"), get("access_key_secret"), token, temporary)
        .ok_or_else(|| next("its key is incomplete"))
}

/// The entries of one section of an ini file.
fn section<'a>(text: &'a str, wanted: &str) -> Option<BTreeMap<&'a str, &'a str>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == wanted;
            if inside {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if let (true, false, Some((name, value))) =
            (inside, line.starts_with(['#', ';']), line.split_once('='))
        {
            found.get_or_insert_with(BTreeMap::new).insert(name.trim(), value.trim());
        }
    }
    found
}

fn key(id: &str, secret: &str, token: &str, temporary: bool) -> Option<Credentials> {
    let complete = !id.is_empty() && !secret.is_empty() && (!temporary || !token.is_empty());
    complete.then(|| Credentials {
        access_key_id: id.to_owned(),
        access_key_secret: secret.into(),
        security_token: temporary.then(|| token.into()),
        expires_at: None,
    })
}
