//! `verdict listen`: reads the feed and posts each event to a receiver on this machine, signed as a
//! delivery is. It needs no endpoint and no tunnel.

pub(crate) mod feed;
pub(crate) mod receiver;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use sha2::{Digest, Sha256};
use verdict::vault::callback_signature::SECRET_PREFIX;

use crate::access::web_address;
use crate::context::{Context, Usage, told_to_stop};
use crate::output::written;
use feed::{Feed, FeedEvent, Part};
use receiver::{Answer, Sender};

const SERVER: &str = "http://127.0.0.1:8080";

#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help, as text")]
#[command(
    after_help = "Example: verdict listen --forward-to http://localhost:3000/hook --types verification.decided"
)]
pub struct Arguments {
    /// Where to post: a URL on this machine. (For another host add an endpoint: verdict webhooks add.)
    #[arg(long, value_name = "URL", required_unless_present = "print_secret")]
    forward_to: Option<String>,
    /// Only events of these types, separated by commas.
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Begin after this sequence: 0 is the beginning. Default: only what happens from now on.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Print the secret that signs (whsec_…), for the receiver. It is made from the API key, so it
    /// stays the same. Without --forward-to the command ends then.
    #[arg(long)]
    print_secret: bool,
    /// The service's address. Default: the variable VERDICT_URL, then http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Between two tries while the receiver does not answer.
const RECEIVER_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Between two tries while the service is unavailable, at first and at most.
const SERVICE_RETRY_DELAY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let key = context.environment.get("VERDICT_API_KEY").filter(|key| !key.trim().is_empty());
    let key = key.ok_or_else(|| {
        let how = "set VERDICT_API_KEY to a key with the scope events:read; verdict keys create \
            makes one";
        Usage(how.to_owned())
    })?;
    let secret = secret(key.trim());
    if arguments.print_secret {
        written(&secret)?;
    }
    let Some(forward_to) = &arguments.forward_to else { return Ok(ExitCode::SUCCESS) };
    let receiver = Sender::new(address_of_this_machine(forward_to)?, &secret)?;
    let server = arguments.server.as_ref().or_else(|| context.environment.get("VERDICT_URL"));
    let server = web_address("--server", server.map_or(SERVER, String::as_str))?;
    let feed = Feed::new(server, key.trim(), arguments.types.as_deref())?;
    tokio::select! {
        ended = forward(&feed, &receiver, arguments.after) => ended,
        _ = told_to_stop() => Ok(ExitCode::SUCCESS),
    }
}

/// The same for the same key, so that the receiver is set up once. The key cannot be found from it.
pub(crate) fn secret(key: &str) -> String {
    let digest = Sha256::digest(format!("verdict listen\n{key}"));
    format!("{SECRET_PREFIX}{}", STANDARD.encode(digest))
}

/// Events carry references of the caller's: they leave this machine only to endpoints.
fn address_of_this_machine(text: &str) -> anyhow::Result<Url> {
    let url = web_address("--forward-to", text)?;
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_here {
        return Ok(url);
    }
    let only = "--forward-to must be on this machine: localhost, 127.0.0.1 or [::1]; for another \
        host add an endpoint";
    Err(Usage(only.to_owned()).into())
}

/// Goes on until the command is stopped, the service refuses, or nobody reads the output.
async fn forward(feed: &Feed, receiver: &Sender, after: Option<i64>) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::default();
    let mut part = match after {
        Some(after) => Part { next_after: after, ..Part::default() },
        None => retry_until_available(|| feed.end()).await?,
    };
    progress.begin(&part);
    note(format_args!("forwarding events after {} to {}", part.next_after, receiver.url()));
    loop {
        part = retry_until_available(|| feed.after(part.next_after)).await?;
        if progress.is_of_another_epoch(&part) {
            note(format_args!("the sequence has begun again: reading from 0"));
            part.next_after = 0;
            part.items.clear();
            progress.begin(&part);
        }
        for item in &part.items {
            let event = FeedEvent::read(item)?;
            if !post(receiver, &event, &mut progress).await {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// How far the receiver has everything.
#[derive(Debug, Default)]
struct Progress {
    epoch: String,
    acknowledged: i64,
    /// An event was refused: what comes later does not move the mark.
    broken: bool,
}

impl Progress {
    fn begin(&mut self, part: &Part) {
        *self = Self { epoch: part.epoch.clone(), acknowledged: part.next_after, broken: false };
    }

    fn is_of_another_epoch(&mut self, part: &Part) -> bool {
        if self.epoch.is_empty() {
            self.epoch.clone_from(&part.epoch);
        }
        self.epoch != part.epoch
    }

    fn answered(&mut self, sequence: i64, accepted: bool) {
        self.broken |= !accepted;
        if !self.broken {
            self.acknowledged = sequence;
        }
    }
}

/// Posts an event and shows the answer; waits for a receiver that does not answer. `false`: nobody
/// reads the output.
async fn post(receiver: &Sender, event: &FeedEvent<'_>, progress: &mut Progress) -> bool {
    let mut waits = false;
    loop {
        let answer = receiver.post(event, &progress.epoch, progress.acknowledged).await;
        let (sequence, kind) = (event.sequence, &event.kind);
        let line = match &answer {
            Answer::Status(status, took) => {
                format!("{sequence:>8}  {kind:24} {status}  {:>5} ms", took.as_millis())
            }
            Answer::Unreachable(why) if !waits => {
                format!("{sequence:>8}  {kind:24} -    {why}; trying again")
            }
            Answer::Unreachable(_) => String::new(),
        };
        if !line.is_empty() && written(line).is_err() {
            return false;
        }
        if let Answer::Status(status, _) = answer {
            progress.answered(event.sequence, (200..300).contains(&status));
            return true;
        }
        waits = true;
        tokio::time::sleep(RECEIVER_RETRY_DELAY).await;
    }
}

/// Repeats a request to the service until it answers.
async fn retry_until_available<F>(mut ask: impl FnMut() -> F) -> anyhow::Result<Part>
where
    F: Future<Output = anyhow::Result<feed::Outcome>>,
{
    let [mut wait, longest] = SERVICE_RETRY_DELAY;
    let mut unavailable = false;
    loop {
        match ask().await? {
            feed::Outcome::Part(part) => {
                if unavailable {
                    note(format_args!("the service is available again"));
                }
                return Ok(part);
            }
            feed::Outcome::Unavailable { why, retry_after } => {
                if !std::mem::replace(&mut unavailable, true) {
                    note(format_args!("the service is unavailable ({why}); trying again"));
                }
                tokio::time::sleep(retry_after.unwrap_or(wait)).await;
                wait = (wait * 2).min(longest);
            }
        }
    }
}

/// For people: standard output has one line for each delivery and nothing else.
fn note(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_one_of_standard_webhooks_and_the_same_for_the_same_key() {
        let [one, other] = ["vk_one", "vk_other"].map(secret);
        assert!(verdict::vault::callback_signature::Secret::parse(&one).is_ok());
        assert_eq!(one, secret("vk_one"));
        assert_ne!(one, other);
    }

    #[test]
    fn events_leave_this_machine_only_to_endpoints() {
        for here in ["http://localhost:3000/hook", "http://127.0.0.1:1", "https://[::1]:8443/a?b=c"]
        {
            assert!(address_of_this_machine(here).is_ok(), "{here}");
        }
        for elsewhere in [
            "http://example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "ftp://localhost",
            "x",
        ] {
            let refused = address_of_this_machine(elsewhere).unwrap_err();
            assert!(refused.is::<Usage>(), "{elsewhere}");
        }
    }

    #[test]
    fn mark_stays_before_the_first_event_that_was_refused() {
        let mut progress = Progress::default();
        progress.begin(&Part { next_after: 4, ..Part::default() });
        for (sequence, accepted, mark) in [(5, true, 5), (6, false, 5), (7, true, 5)] {
            progress.answered(sequence, accepted);
            assert_eq!(progress.acknowledged, mark);
        }
    }
}
