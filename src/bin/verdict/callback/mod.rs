//! `verdict callback`: signs callbacks and posts them, as the app's backend would, and finds out why
//! one is refused.

mod verify;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::vault::callback_signature::{Secret, sign};

use crate::access::{Access, AccessArguments, DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE};
use crate::context::{Context, Usage};
use crate::output::{say, say_done};
use crate::shell::quoted;
use crate::watch;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sign one callback and post it.
    #[command(
        after_help = "Example: verdict callback send --biz-type demo --biz-id order-1 --curl"
    )]
    Send(Send),
    /// Check a signature as the service does, and say why it does not verify.
    #[command(
        after_help = "Example: verdict callback verify --id msg_1 --timestamp 1795680000 --signature v1,K5oZ body.json"
    )]
    Verify(verify::Verify),
}

#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help, as text")]
pub struct Send {
    /// The public address of the service. Default: the variable VERDICT_URL, then
    /// http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The source's name, as in [sources.NAME].
    #[arg(long, default_value = "app")]
    source: String,
    /// The source's secret (whsec_…); default: the variable VERDICT_SECRET, then the configuration.
    #[arg(long)]
    secret: Option<String>,
    /// The provider's scene (biz_type).
    #[arg(long)]
    biz_type: String,
    /// The id of the verification at the provider (biz_id); for face-verify the order number.
    #[arg(long)]
    biz_id: String,
    /// verify-result or face-verify; default: the one that provider.product names.
    #[arg(long)]
    product: Option<String>,
    /// Your own reference.
    #[arg(long)]
    reference: Option<String>,
    /// The message id; default: a new one. The same id with the same body is accepted once.
    #[arg(long)]
    id: Option<String>,
    /// Print the equivalent curl command instead of posting.
    #[arg(long, conflicts_with = "wait")]
    curl: bool,
    /// Wait until the verification is decided, and print each state. With VERDICT_API_KEY the
    /// service is asked (scope decisions:read), else the database of the configuration. Exit code 0 if
    /// it is decided.
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// With --wait: print each state as JSON on one line.
    #[arg(long, requires = "wait")]
    json: bool,
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Send(arguments) => Box::pin(send(context, &arguments)).await,
        Command::Verify(arguments) => verify::run(context, &arguments),
    }
}

async fn send(context: &Context, send: &Send) -> anyhow::Result<ExitCode> {
    let variable = context.environment.get(URL_VARIABLE).filter(|url| !url.is_empty());
    let to = send.to.as_ref().or(variable).map_or(DEFAULT_URL, String::as_str);
    let secret = if let Some(text) =
        send.secret.as_ref().or_else(|| context.environment.get("VERDICT_SECRET"))
    {
        Secret::parse(text).map_err(|error| Usage(format!("--secret: {error}")))?
    } else {
        let sources = context
            .config()?
            .sources()
            .map_err(|_| Usage("give --secret whsec_…, or --config with this source".to_owned()))?;
        let source = sources.get(&send.source);
        source
            .and_then(|source| source.secrets.first().cloned())
            .ok_or_else(|| Usage("--source: it is not configured".to_owned()))?
    };
    let now = Clock::system().now();
    let is_visible = |text: &str| text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    for (option, text) in
        [("--to", Some(to)), ("--source", Some(send.source.as_str())), ("--id", send.id.as_deref())]
    {
        if text.is_some_and(|text| text.is_empty() || !is_visible(text)) {
            let problem = format!("{option}: must be visible ASCII characters without blanks");
            return Err(Usage(problem).into());
        }
    }
    let id = send.id.clone().unwrap_or_else(|| format!("msg_{}", Ids::random().nonce()));
    let mut body = serde_json::json!({ "biz_type": send.biz_type, "biz_id": send.biz_id });
    if let Some(product) = &send.product {
        body["product"] = product.as_str().into();
    }
    if let Some(reference) = &send.reference {
        body["reference"] = reference.as_str().into();
    }
    let body = body.to_string();
    let timestamp = now.unix_timestamp();
    let signature = sign(&secret, &id, timestamp, body.as_bytes());
    let url = format!("{}/v1/callbacks/{}", to.trim_end_matches('/'), send.source);
    if send.curl {
        let header = |name: &str, value: &str| quoted(&format!("{name}: {value}"));
        say(format_args!(
            "curl -sS --globoff --url {} -H {} -H {} -H {} -H {} --data-raw {}",
            quoted(&url),
            header("content-type", "application/json"),
            header("webhook-id", &id),
            header("webhook-timestamp", &timestamp.to_string()),
            header("webhook-signature", &signature),
            quoted(&body)
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let response = client
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        .context("no answer")?;
    let accepted = response.status().is_success();
    let answer = response.text().await.unwrap_or_default();
    if !(accepted && send.wait) {
        say_done(answer);
        return Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let answer: serde_json::Value =
        serde_json::from_str(&answer).context("no answer of Verdict")?;
    let id = answer["id"].as_str().context("the answer has no id")?;
    Box::pin(wait(context, send, to, id)).await
}

/// Waits for the decision, and prints each state.
async fn wait(context: &Context, send: &Send, to: &str, id: &str) -> anyhow::Result<ExitCode> {
    // With a key the service that took the callback is asked, whatever else is configured.
    let url = context.environment.contains_key(KEY_VARIABLE).then(|| to.to_owned());
    let access = Access::open(context, &AccessArguments { url }).await?;
    let limit = Duration::from_secs(send.timeout);
    let settled = watch::follow(&access, id, limit, send.json).await?;
    let is_decided = settled.is_some_and(|verification| verification["state"] == "decided");
    Ok(if is_decided { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
