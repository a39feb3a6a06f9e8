//! `verdict callback verify`: whether a signature verifies, and if not, why.
//!
//! The signature itself says only yes or no. So this tries what senders get wrong: what they sign, how
//! they read the secret, and how they write the result. The first variation that fits is the cause.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use time::OffsetDateTime;
use verdict::causes;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::vault::callback_signature::{SECRET_PREFIX, Secret};

use crate::context::{Context, Usage};
use crate::output::say;

/// As the service has it.
const TOLERANCE: time::Duration = time::Duration::minutes(5);

#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help, as text")]
#[command(
    after_help = "Example: verdict callback verify --id msg_1 --timestamp 1795680000 --signature v1,K5oZ body.json"
)]
pub struct Verify {
    /// The source's secret (whsec_…). Default: the variable VERDICT_SECRET.
    #[arg(long)]
    secret: Option<String>,
    /// The header webhook-id.
    #[arg(long)]
    id: String,
    /// The header webhook-timestamp.
    #[arg(long, allow_hyphen_values = true)]
    timestamp: String,
    /// The header webhook-signature.
    #[arg(long)]
    signature: String,
    /// A file with the body, byte for byte as it was sent; - for standard input.
    #[arg(value_name = "BODY")]
    body: PathBuf,
    /// Print { "verifies", "findings": [{ "code", "text" }] }.
    #[arg(long)]
    json: bool,
}

/// A message as it came.
struct Message<'a> {
    id: &'a str,
    timestamp: &'a str,
    signature: &'a str,
    body: &'a [u8],
}

/// One mistake. The message verifies if there is none.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    code: &'static str,
    text: String,
}

fn finding(code: &'static str, text: impl Into<String>) -> Finding {
    Finding { code, text: text.into() }
}

/// Exit code 1 if the message would be refused.
pub fn run(context: &Context, arguments: &Verify) -> anyhow::Result<ExitCode> {
    let secret = arguments.secret.as_ref().or_else(|| context.environment.get("VERDICT_SECRET"));
    let secret = secret.ok_or_else(|| {
        Usage("give --secret whsec_…, or set VERDICT_SECRET: the source's secret".to_owned())
    })?;
    Secret::parse(secret).map_err(|error| Usage(format!("--secret: {error}")))?;
    let mut body = Vec::new();
    let file = &arguments.body;
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body).map(|_| ())
    } else {
        std::fs::read(file).map(|read| body = read)
    };
    read.map_err(|error| Usage(format!("{}: {}", file.display(), causes::of_io(&error))))?;
    let message = Message {
        id: &arguments.id,
        timestamp: &arguments.timestamp,
        signature: &arguments.signature,
        body: &body,
    };
    let findings = examine(&message, secret, Clock::system().now());
    let verifies = findings.is_empty();
    if arguments.json {
        let findings: Vec<_> = findings
            .iter()
            .map(|found| json!({ "code": found.code, "text": found.text }))
            .collect();
        say(json!({ "verifies": verifies, "findings": findings }));
    } else if verifies {
        say("the signature verifies");
    } else {
        for found in &findings {
            say(format_args!("{}: {}", found.code, found.text));
        }
    }
    Ok(if verifies { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mac(key: &[u8], content: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for part in content {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Every reason for which the service would refuse it.
fn examine(message: &Message<'_>, secret: &str, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(about_time(message.timestamp, now));
    let text = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    let key = STANDARD.decode(text).unwrap_or_default();
    let (signatures, spelling) = match read_signatures(message.signature) {
        Ok(read) => read,
        Err(wrong) => {
            findings.push(wrong);
            return findings;
        }
    };
    let fits = |key: &[u8], content: &[&[u8]]| signatures.contains(&mac(key, content));
    let parts = [message.id.as_bytes(), b".", message.timestamp.as_bytes(), b".", message.body];
    findings.extend(spelling);
    if !fits(&key, &parts) {
        findings.push(cause(message, secret, &key, fits));
    }
    findings
}

/// The timestamp must be whole seconds, and recent.
fn about_time(text: &str, now: OffsetDateTime) -> Option<Finding> {
    let Some(sent) = text.parse::<i64>().ok().filter(|sent| sent.to_string() == text) else {
        return Some(finding(
            "wrong-timestamp",
            "the timestamp is not a whole number of seconds since 1970 in decimal digits",
        ));
    };
    let age = now.unix_timestamp().saturating_sub(sent);
    if age.unsigned_abs() <= TOLERANCE.whole_seconds().unsigned_abs() {
        return None;
    }
    let minutes = TOLERANCE.whole_minutes();
    let unit =
        [(1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")]
            .into_iter()
            .find(|(factor, _)| (now.unix_timestamp() - sent / factor).abs() <= 86_400);
    Some(match unit {
        Some((_, unit)) => finding(
            "wrong-timestamp",
            format!("the timestamp is in {unit}: send whole seconds, and sign that text"),
        ),
        None if age > 0 => finding(
            "old-timestamp",
            format!(
                "the timestamp is {} old, and {minutes} minutes are accepted: sign each attempt \
                 anew, and compare the sender's clock with this machine's",
                counted(age, "second", "seconds")
            ),
        ),
        None => finding(
            "future-timestamp",
            format!(
                "the timestamp lies {} in the future, and {minutes} minutes are accepted: compare \
                 the sender's clock with this machine's",
                counted(-age, "second", "seconds")
            ),
        ),
    })
}

/// The bytes of the signatures, and what is wrong with how they are written.
type Signatures = (Vec<Vec<u8>>, Option<Finding>);

fn read_signatures(header: &str) -> Result<Signatures, Finding> {
    let entries: Vec<&str> = header.split_whitespace().collect();
    let versioned: Vec<&str> = entries.iter().filter_map(|it| it.strip_prefix("v1,")).collect();
    let standard = |text: &&str| STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 32);
    let right: Vec<Vec<u8>> = versioned.iter().filter_map(standard).collect();
    if !right.is_empty() {
        return Ok((right, None));
    }
    let wrong = |text: String| finding("wrong-encoding", text);
    let (candidates, prefix): (Vec<&str>, &str) = if versioned.is_empty() {
        let bare = entries.iter().map(|it| it.rsplit([',', '=']).find(|it| !it.is_empty()));
        let whole = entries.iter().copied();
        (whole.chain(bare.flatten()).collect(), "has no entry that begins with `v1,`, and ")
    } else {
        (versioned, "")
    };
    for text in candidates {
        let decoded = [
            (STANDARD.decode(text).ok(), "base64"),
            (hex::decode(text).ok(), "hex"),
            (STANDARD_NO_PAD.decode(text).ok(), "base64 without its padding"),
            (URL_SAFE.decode(text).ok(), "the base64 of URLs"),
            (URL_SAFE_NO_PAD.decode(text).ok(), "the base64 of URLs without its padding"),
        ];
        for (bytes, name) in decoded {
            if let Some(bytes) = bytes.filter(|bytes| bytes.len() == 32) {
                let says = format!(
                    "the signature {prefix}is written in {name}: write `v1,` and standard base64"
                );
                return Ok((vec![bytes], Some(wrong(says))));
            }
        }
    }
    Err(wrong(
        "the signature is not `v1,` and the base64 of 32 bytes; several are separated by blanks"
            .to_owned(),
    ))
}

/// Why a signature that can be read does not fit: the first variation that does.
fn cause(
    message: &Message<'_>,
    secret: &str,
    key: &[u8],
    fits: impl Fn(&[u8], &[&[u8]]) -> bool,
) -> Finding {
    let Message { id, timestamp, body, .. } = *message;
    let signed = |id: &str, timestamp: &str, body: &[u8]| {
        fits(key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
    };
    // The key.
    let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let text = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    for (other, says) in [
        (secret, "the whole text of the secret was the key"),
        (text, "the text after `whsec_` was the key, without decoding its base64"),
    ] {
        if fits(other.as_bytes(), &content) {
            let remedy = "the key is what the base64 after `whsec_` decodes to";
            return finding("wrong-encoding", format!("{says}: {remedy}"));
        }
    }
    // The content of the signature.
    for (parts, says) in [
        (vec![body], "only the body was signed"),
        (vec![timestamp.as_bytes(), b".", body], "the id was left out"),
        (vec![id.as_bytes(), timestamp.as_bytes(), body], "the dots were left out"),
        (vec![timestamp.as_bytes(), b".", id.as_bytes(), b".", body], "the order is wrong"),
    ] {
        if fits(key, &parts) {
            return finding("wrong-content", format!("{says}: sign `id.timestamp.body`"));
        }
    }
    if let Some((_, how)) =
        other_bodies(body).into_iter().find(|(other, _)| signed(id, timestamp, other))
    {
        let says = "the body was changed after it was signed";
        return finding("changed-body", format!("{says}: {how}; send the bytes that you sign"));
    }
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let in_body = ["id", "message_id", "webhook_id"].map(|name| json[name].as_str());
    let bare = id.trim_start_matches("msg_");
    let prefixed = format!("msg_{id}");
    let ids = [id.trim(), id.trim_matches('"'), bare, &prefixed, ""];
    let lower = id.to_lowercase();
    let mut ids = ids.into_iter().chain(in_body.into_iter().flatten()).chain([lower.as_str()]);
    if ids.any(|other| other != id && signed(other, timestamp, body)) {
        let says = "another id was signed than the header webhook-id has";
        return finding("wrong-id", format!("{says}: sign the id that you send"));
    }
    let seconds = timestamp.get(..10).unwrap_or_default();
    let times = [format!("{timestamp}000"), seconds.to_owned(), timestamp.trim().to_owned()];
    if times.iter().any(|other| other != timestamp && signed(id, other, body)) {
        let says = "another timestamp was signed than the header webhook-timestamp has";
        return finding("wrong-timestamp", format!("{says}: sign the text that you send"));
    }
    finding(
        "wrong-secret",
        format!(
            "no variation of id, timestamp and body fits, so another secret signed it, or body or \
             id are not the signed ones. Compare with the sender: the id has {}, the body {} and \
             the SHA-256 {}",
            counted(id.len(), "byte", "bytes"),
            counted(body.len(), "byte", "bytes"),
            digest(body)
        ),
    )
}

fn digest(body: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(Sha256::digest(body))
}

/// Bodies that a tool on the way, or the sender itself, may have made this one from.
fn other_bodies(body: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut bodies = vec![([body, b"\n"].concat(), "a line feed at its end was lost")];
    if let Some(cut) = body.strip_suffix(b"\r\n").or_else(|| body.strip_suffix(b"\n")) {
        bodies.push((cut.to_vec(), "a line feed was added at its end"));
    }
    if let Some(cut) = body.strip_prefix(b"\xef\xbb\xbf") {
        bodies.push((cut.to_vec(), "a byte order mark was added"));
    }
    let Ok(text) = std::str::from_utf8(body) else { return bodies };
    bodies.push((text.replace("\r\n", "\n").into(), "its line ends were changed"));
    bodies.push((text.replace('\n', "\r\n").into(), "its line ends were changed"));
    bodies.push((text.trim().into(), "blanks were added around it"));
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        const HOW: &str = "its JSON was written anew, with other blanks or another order";
        bodies.push((json.to_string().into(), HOW));
        bodies.push((serde_json::to_vec_pretty(&json).unwrap_or_default(), HOW));
        bodies.push((with_blanks(&json).into(), HOW));
    }
    bodies
}

/// As Python's `json.dumps` writes an object: with a blank after each colon and comma.
fn with_blanks(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                format!("{}: {}", serde_json::Value::from(name.as_str()), with_blanks(value))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(with_blanks).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);
    const SECRET: &str = "whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0";
    const BODY: &[u8] = br#"{"biz_id":"a","biz_type":"demo"}"#;

    fn key() -> Vec<u8> {
        STANDARD.decode(&SECRET[SECRET_PREFIX.len()..]).unwrap()
    }

    fn at(seconds: i64) -> String {
        (NOW.unix_timestamp() + seconds).to_string()
    }

    fn signed(key: &[u8], parts: &[&[u8]]) -> String {
        format!("v1,{}", STANDARD.encode(mac(key, parts)))
    }

    fn codes(signature: &str, timestamp: &str, body: &[u8]) -> Vec<&'static str> {
        let message = Message { id: "msg_1", timestamp, signature, body };
        examine(&message, SECRET, NOW).into_iter().map(|found| found.code).collect()
    }

    #[test]
    fn every_way_to_sign_wrongly_is_named() {
        let (now, key) = (at(0), key());
        let good = |timestamp: &str, body: &[u8]| {
            signed(&key, &[b"msg_1", b".", timestamp.as_bytes(), b".", body])
        };
        let none: [&str; 0] = [];
        assert_eq!(codes(&good(&now, BODY), &now, BODY), none);
        let several = format!("v1a,AAAA v1,AAAA {}", good(&now, BODY));
        assert_eq!(codes(&several, &now, BODY), none);
        // Time.
        assert_eq!(codes(&good(&at(-301), BODY), &at(-301), BODY), ["old-timestamp"]);
        assert_eq!(codes(&good(&at(301), BODY), &at(301), BODY), ["future-timestamp"]);
        let milliseconds = format!("{now}000");
        let signature = good(&milliseconds, BODY);
        assert_eq!(codes(&signature, &milliseconds, BODY), ["wrong-timestamp"]);
        assert_eq!(codes(&good(&milliseconds, BODY), &now, BODY), ["wrong-timestamp"]);
        // Body.
        let with_end = [BODY, b"\n"].concat();
        assert_eq!(codes(&good(&now, BODY), &now, &with_end), ["changed-body"]);
        let blanks = br#"{ "biz_id" : "a", "biz_type": "demo" }"#;
        assert_eq!(codes(&good(&now, BODY), &now, blanks), ["changed-body"]);
        let python = br#"{"biz_id": "a", "biz_type": "demo"}"#;
        assert_eq!(codes(&good(&now, python), &now, BODY), ["changed-body"]);
        // Id.
        let other_id = signed(&key, &[b"1", b".", now.as_bytes(), b".", BODY]);
        assert_eq!(codes(&other_id, &now, BODY), ["wrong-id"]);
        // Content.
        for parts in [vec![BODY], vec![now.as_bytes(), b".", BODY]] {
            assert_eq!(codes(&signed(&key, &parts), &now, BODY), ["wrong-content"]);
        }
        // Encoding, of the secret and of the signature.
        let parts: [&[u8]; 5] = [b"msg_1", b".", now.as_bytes(), b".", BODY];
        for key in [SECRET, &SECRET[SECRET_PREFIX.len()..]] {
            assert_eq!(codes(&signed(key.as_bytes(), &parts), &now, BODY), ["wrong-encoding"]);
        }
        let bytes = mac(&key, &parts);
        for text in [
            format!("v1,{}", hex::encode(&bytes)),
            format!("v1={}", hex::encode(&bytes)),
            format!("v1,{}", URL_SAFE_NO_PAD.encode(&bytes)),
            STANDARD.encode(&bytes),
            "v1,nonsense".to_owned(),
            String::new(),
        ] {
            assert_eq!(codes(&text, &now, BODY), ["wrong-encoding"], "{text}");
        }
        // Secret.
        let other = signed(&[7; 32], &parts);
        assert_eq!(codes(&other, &now, BODY), ["wrong-secret"]);
        assert_eq!(codes(&other, &at(-900), BODY), ["old-timestamp", "wrong-secret"]);
    }
}
