//! `verdict callback send`: signs one callback and posts it, as the app's backend would.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::vault::callback_signature::{Secret, sign};

use crate::context::{Context, Usage};
use crate::output::{say, say_done};
use crate::shell::quoted;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sign one callback and post it.
    #[command(
        after_help = "Example: verdict callback send --biz-type demo --biz-id order-1 --curl"
    )]
    Send(Send),
}

#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help, as text")]
pub struct Send {
    /// The public address of the service.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    to: String,
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
    #[arg(long)]
    curl: bool,
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Send(send) = command;
    crate::context::quiet_log();
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
        [("--to", Some(&send.to)), ("--source", Some(&send.source)), ("--id", send.id.as_ref())]
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
    let url = format!("{}/v1/callbacks/{}", send.to.trim_end_matches('/'), send.source);
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
    say_done(response.text().await.unwrap_or_default());
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
