//! `verdict webhooks`: endpoints that events are delivered to.

use std::process::ExitCode;

use clap::ArgGroup;
use policy::visible;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verdict::config::Keys;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::domain::event::EventId;
use verdict::domain::ids::{EndpointId, Ids};
use verdict::domain::scenes::Scenes;
use verdict::domain::webhook_endpoint::{
    self, DEFAULT_KEEP_SECONDS, DEFAULT_MAX_IN_FLIGHT, DeliveryOrder, KEEP_SECONDS, MAX_IN_FLIGHT,
    Signing, Start,
};
use verdict::http::webhook_endpoints::EndpointView;
use verdict::http::webhook_operations::DeliveryView;
use verdict::store::Store;
use verdict::store::webhook_endpoints::{WebhookAttempt, WebhookEndpoint};
use verdict::vault::Vault;
use verdict::vault::endpoint_secret::public_key_text;
use verdict::webhooks;
use verdict::webhooks::endpoints::{
    EndpointError, EndpointOperations, RedeliverySelection, Requested,
};
use verdict::webhooks::targets::Targets;

use crate::context::{Context, Usage, migrated_store};
use crate::error_text;
use crate::output::{say, say_done, written};
use crate::terminal::{Table, relative, relative_or, say_table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add an endpoint. Its secret is shown once.
    #[command(
        after_help = "Example: verdict webhooks add --url https://example.com/events --types verification.decided,verification.failed"
    )]
    Add(NewEndpoint),
    /// List all endpoints.
    #[command(after_help = "Example: verdict webhooks list --json")]
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Show an endpoint.
    #[command(after_help = "Example: verdict webhooks show 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Show {
        #[command(flatten)]
        which: Which,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Send one endpoint.test event, which is not in the event log.
    #[command(after_help = "Example: verdict webhooks test 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Test(Which),
    /// Pause deliveries. Events that are logged meanwhile are delivered after a resume.
    #[command(after_help = "Example: verdict webhooks pause 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Pause(Which),
    /// Resume deliveries at once from the same event.
    #[command(after_help = "Example: verdict webhooks resume 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Resume(Which),
    /// Make a new secret, which is shown once. The previous one signs as well for a while.
    #[command(
        after_help = "Example: verdict webhooks rotate 01a20a63-7ca9-718d-ac24-e6d7c9a1c998 --keep-seconds 3600"
    )]
    Rotate {
        #[command(flatten)]
        which: Which,
        /// Seconds in which deliveries carry both signatures, up to 30 days.
        #[arg(long, value_name = "N", default_value_t = DEFAULT_KEEP_SECONDS,
            value_parser = clap::value_parser!(i64).range(KEEP_SECONDS))]
        keep_seconds: i64,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Redeliver events.
    #[command(
        after_help = "Example: verdict webhooks redeliver 01a20a63-7ca9-718d-ac24-e6d7c9a1c998 --from 1000 --to 1042"
    )]
    Redeliver(Redeliver),
    /// List the requests to an endpoint, newest first.
    #[command(
        after_help = "Example: verdict webhooks deliveries 01a20a63-7ca9-718d-ac24-e6d7c9a1c998 --limit 20"
    )]
    Deliveries {
        #[command(flatten)]
        which: Which,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 50,
            value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Print a JSON array, with what the endpoint answered.
        #[arg(long)]
        json: bool,
    },
    /// Remove an endpoint. Its recorded answers can no longer be read.
    #[command(after_help = "Example: verdict webhooks remove 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Remove(Which),
}

#[derive(Debug, clap::Args)]
pub struct Which {
    /// Its id, as `webhooks list` shows it.
    id: String,
}

impl Which {
    fn id(&self) -> Result<EndpointId, Usage> {
        self.id.parse().map_err(|_| Usage("this is not an endpoint's id".to_owned()))
    }
}

#[derive(Debug, clap::Args)]
pub struct NewEndpoint {
    /// Where events are posted to: https; http only to hosts in `webhooks.allow_private`.
    #[arg(long)]
    url: String,
    /// The types of events it gets, separated by commas; default: every type.
    #[arg(long, value_delimiter = ',')]
    types: Option<Vec<String>>,
    /// The scenes (`biz_type`) it gets events of, separated by commas; default: every scene, and
    /// events that belong to none.
    #[arg(long, value_delimiter = ',')]
    biz_types: Option<Vec<String>>,
    /// A note of up to 200 visible characters.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = webhook_endpoint::description)]
    description: String,
    /// A failed event holds back later events of its verification (per-verification) or all later
    /// ones (strict).
    #[arg(long, default_value = "per-verification", value_parser = DeliveryOrder::parse)]
    ordering: DeliveryOrder,
    /// v1 (HMAC-SHA256) or v1a (ed25519).
    #[arg(long, default_value = "v1", value_parser = Signing::parse)]
    signing: Signing,
    /// now, beginning, or the sequence of the first event to deliver.
    #[arg(long, default_value = "now", value_parser = start)]
    start: Start,
    /// The most requests at the same time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_IN_FLIGHT,
        value_parser = clap::value_parser!(i32).range(MAX_IN_FLIGHT))]
    max_in_flight: i32,
    /// The most requests begun per second, from 0.1 to 1000; default: no limit.
    #[arg(long, value_name = "N", value_parser = rate)]
    requests_per_second: Option<f64>,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["event", "from", "since", "failed"]))]
pub struct Redeliver {
    #[command(flatten)]
    which: Which,
    /// One event, by its id: evt_…
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    /// The first sequence of a range.
    #[arg(long, value_name = "N", requires = "to",
        value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// The last sequence of the range.
    #[arg(long, value_name = "N", requires = "from",
        value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Events that happened then or later, like 2026-11-26T12:00:00Z.
    #[arg(long, value_name = "TIME", requires = "until", value_parser = time)]
    since: Option<OffsetDateTime>,
    /// And before then.
    #[arg(long, value_name = "TIME", requires = "since", value_parser = time)]
    until: Option<OffsetDateTime>,
    /// All events that failed to the end of their schedule.
    #[arg(long)]
    failed: bool,
}

/// The values of an option that takes a list, or `None` if it was not given.
fn list<T>(
    option: &str,
    given: Option<Vec<String>>,
    parse: impl Fn(&[&str]) -> Result<Vec<T>, &'static str>,
) -> Result<Option<Vec<T>>, Usage> {
    let Some(given) = given else { return Ok(None) };
    let items: Vec<&str> = given.iter().map(String::as_str).collect();
    parse(&items).map(Some).map_err(|must_be| Usage(format!("{option} {must_be}")))
}

fn start(text: &str) -> Result<Start, &'static str> {
    match text.parse() {
        Ok(sequence) if sequence >= 1 => Ok(Start::Sequence(sequence)),
        _ => Start::parse(text),
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok();
    rate.filter(|rate| webhook_endpoint::REQUESTS_PER_SECOND.contains(rate))
        .ok_or("must be a number from 0.1 to 1000")
}

fn time(text: &str) -> Result<OffsetDateTime, &'static str> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "must be a time, like 2026-11-26T12:00:00Z")
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Add(new) => add(context, new).await?,
        Command::List { json } => {
            let endpoints =
                Webhooks::open(context).await?.operations().list(&Scenes::EVERY).await?;
            if json {
                say(serde_json::Value::Array(
                    endpoints.into_iter().map(view).collect::<Result<_, _>>()?,
                ));
            } else {
                say_table(table_of(endpoints), "there is no webhook endpoint");
            }
        }
        Command::Show { which, json } => {
            let id = which.id()?;
            let endpoint =
                Webhooks::open(context).await?.operations().find(id, &Scenes::EVERY).await?;
            show(endpoint, json)?;
        }
        Command::Test(which) => {
            let id = which.id()?;
            let opened = Webhooks::open(context).await?;
            let doing = Context::doing(None);
            let event = opened.operations().test(id, &Scenes::EVERY, &doing).await?;
            say_done(format_args!(
                "{event} will be delivered: see verdict webhooks deliveries {id}"
            ));
        }
        Command::Pause(which) => {
            let id = which.id()?;
            let opened = Webhooks::open(context).await?;
            opened.operations().pause(id, &Scenes::EVERY, &Context::doing(None)).await?;
            say_done("paused");
        }
        Command::Resume(which) => {
            let id = which.id()?;
            let opened = Webhooks::open(context).await?;
            opened.operations().resume(id, &Scenes::EVERY, &Context::doing(None)).await?;
            say_done("resumed");
        }
        Command::Rotate { which, keep_seconds, json } => {
            rotate(context, which.id()?, keep_seconds, json).await?;
        }
        Command::Redeliver(arguments) => redeliver(context, &arguments).await?,
        Command::Deliveries { which, limit, json } => {
            deliveries(context, which.id()?, limit, json).await?;
        }
        Command::Remove(which) => {
            let id = which.id()?;
            let opened = Webhooks::open(context).await?;
            opened.operations().remove(id, &Scenes::EVERY, &Context::doing(None)).await?;
            say_done("removed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The parts that the operations need.
struct Webhooks {
    store: Store,
    targets: Targets,
    max_endpoints: u32,
    vault: Option<Vault>,
    ids: Ids,
}

impl Webhooks {
    async fn open(context: &Context) -> anyhow::Result<Self> {
        let mut settings = context.settings(Keys::Optional)?;
        let vault = settings.keys.take().map(Vault::new);
        let store = migrated_store(&settings).await?;
        let webhooks::Settings { targets, max_endpoints, .. } = settings.common.webhooks;
        Ok(Self { store, targets, max_endpoints, vault, ids: Ids::random() })
    }

    fn operations(&self) -> EndpointOperations<'_> {
        let Self { store, targets, vault, ids, .. } = self;
        let max_endpoints = self.max_endpoints;
        EndpointOperations { store, targets, max_endpoints, vault: vault.as_ref(), ids }
    }
}

/// A wrong value is the caller's mistake, whoever found it.
fn as_usage(error: EndpointError) -> anyhow::Error {
    match error {
        EndpointError::Invalid(field) => {
            let name = field.pointer.trim_start_matches('/').replace('_', "-");
            let option = if name == "event-id" { "event".to_owned() } else { name };
            let subject = if option.is_empty() { "it".to_owned() } else { format!("--{option}") };
            Usage(format!("{subject} {}", field.detail)).into()
        }
        error => error.into(),
    }
}

async fn add(context: &Context, new: NewEndpoint) -> anyhow::Result<()> {
    let types = list("--types", new.types, |names| {
        let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
        webhook_endpoint::types(&names)
    })?;
    let biz_types = list("--biz-types", new.biz_types, webhook_endpoint::biz_types)?;
    let opened = Webhooks::open(context).await?;
    let doing = Context::doing(None);
    let requested = Requested {
        url: new.url,
        description: new.description,
        types,
        biz_types,
        ordering: new.ordering,
        signing: new.signing,
        start: new.start,
        max_in_flight: new.max_in_flight,
        requests_per_second: new.requests_per_second,
    };
    let added = opened.operations().add(&requested, &Scenes::EVERY, &doing).await;
    let added = added.map_err(as_usage)?;
    let id = added.endpoint.id;
    let secret = added.secret.as_ref().map(|secret| secret.as_str());
    let public_key = added.endpoint.public_key.as_deref().map(public_key_text);
    let shown = if new.json {
        serde_json::json!({ "id": id, "secret": secret, "public_key": public_key }).to_string()
    } else {
        format!("{}\n\nendpoint {id}; {}", to_verify(secret, public_key.as_deref()), once(secret))
    };
    if let Err(error) = written(&shown) {
        // Nobody has seen the secret, or only a part of it.
        let why = error_text::io(&error);
        let doing = Context::doing(Some("its secret could not be shown"));
        match opened.operations().remove(EndpointId(id), &Scenes::EVERY, &doing).await {
            Ok(()) => {
                anyhow::bail!("the secret could not be written ({why}): {id} was removed again")
            }
            Err(_) => anyhow::bail!(
                "the secret could not be written ({why}), nor the endpoint removed: run verdict webhooks remove {id}"
            ),
        }
    }
    Ok(())
}

/// The text that receivers verify deliveries with.
fn to_verify<'a>(secret: Option<&'a str>, public_key: Option<&'a str>) -> &'a str {
    secret.or(public_key).unwrap_or_default()
}

fn once(secret: Option<&str>) -> &'static str {
    match secret {
        Some(_) => "the secret is not shown again",
        None => "receivers verify with this public key",
    }
}

async fn rotate(context: &Context, id: EndpointId, keep: i64, json: bool) -> anyhow::Result<()> {
    let opened = Webhooks::open(context).await?;
    let doing = Context::doing(None);
    let rotated = opened.operations().rotate_secret(id, keep, &Scenes::EVERY, &doing).await?;
    let secret = rotated.secret.as_ref().map(|secret| secret.as_str());
    let public_key = rotated.public_key.map(|key| public_key_text(&key));
    let until = rotated.previous_until.map(|at| at.format(&Rfc3339)).transpose()?;
    let shown = if json {
        serde_json::json!({ "secret": secret, "public_key": public_key,
            "previous_secret_until": until })
        .to_string()
    } else {
        let previous = until.map_or_else(
            || "the previous one no longer signs".to_owned(),
            |until| format!("the previous one signs as well until {until}"),
        );
        let key = to_verify(secret, public_key.as_deref());
        format!("{key}\n\n{}; {previous}", once(secret))
    };
    if let Err(error) = written(&shown) {
        // A second rotation ends the secret that receivers know.
        anyhow::bail!(
            "the secret was rotated and could not be written ({}): run verdict webhooks pause {id}, rotate again, give the new secret to the receivers, and resume",
            error_text::io(&error)
        );
    }
    Ok(())
}

async fn redeliver(context: &Context, arguments: &Redeliver) -> anyhow::Result<()> {
    let id = arguments.which.id()?;
    let selection = match arguments {
        Redeliver { event: Some(id), .. } => RedeliverySelection::Event(*id),
        Redeliver { from: Some(from), to: Some(to), .. } if from > to => {
            return Err(Usage("--to must not be less than --from".to_owned()).into());
        }
        Redeliver { from: Some(from), to: Some(to), .. } => {
            RedeliverySelection::Sequences { from: *from, to: *to }
        }
        Redeliver { since: Some(since), until: Some(until), .. } if since >= until => {
            return Err(Usage("--until must be later than --since".to_owned()).into());
        }
        Redeliver { since: Some(since), until: Some(until), .. } => {
            RedeliverySelection::Time { since: *since, until: *until }
        }
        _ => RedeliverySelection::Failed,
    };
    let opened = Webhooks::open(context).await?;
    let doing = Context::doing(None);
    let count = opened.operations().redeliver(id, selection, &Scenes::EVERY, &doing).await;
    let count = counted(count.map_err(as_usage)?, "event", "events");
    say_done(format_args!("{count} will be delivered once more"));
    Ok(())
}

async fn deliveries(
    context: &Context,
    id: EndpointId,
    limit: i64,
    json: bool,
) -> anyhow::Result<()> {
    let opened = Webhooks::open(context).await?;
    if json {
        let found = opened.operations().deliveries(id, None, limit, &Scenes::EVERY).await?;
        let views =
            found.into_iter().map(|delivery| serde_json::to_value(DeliveryView::from(delivery)));
        say(serde_json::Value::Array(views.collect::<Result<_, _>>()?));
        return Ok(());
    }
    // Without the answers, so that no key is needed.
    let attempts = opened.operations().attempts(id, None, limit, &Scenes::EVERY).await?;
    let table = table_of_attempts(attempts, Clock::system().now());
    say_table(table, "there was no request to this endpoint yet");
    Ok(())
}

fn view(endpoint: WebhookEndpoint) -> anyhow::Result<serde_json::Value> {
    let view = EndpointView::try_from(endpoint)
        .map_err(|_| anyhow::anyhow!("a newer version wrote this endpoint: use its binary"))?;
    Ok(serde_json::to_value(view)?)
}

fn show(endpoint: WebhookEndpoint, json: bool) -> anyhow::Result<()> {
    let view = view(endpoint)?;
    if json {
        say(view);
        return Ok(());
    }
    for (name, value) in view.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        say(visible::shown(&format!("{name:22} {value}")));
    }
    Ok(())
}

fn table_of(endpoints: Vec<WebhookEndpoint>) -> Table {
    let list = |names: Option<Vec<String>>| {
        names.map_or_else(|| "all".to_owned(), |names| names.join(","))
    };
    let mut table = Table::new([
        "ID",
        "STATUS",
        "URL",
        "BEHIND",
        "DEAD LETTERS",
        "TYPES",
        "SCENES",
        "DESCRIPTION",
    ]);
    for of in endpoints {
        table.add([
            of.id.to_string(),
            of.status,
            of.url,
            of.behind.to_string(),
            of.dead_letters.to_string(),
            list(of.types),
            list(of.biz_types),
            of.description,
        ]);
    }
    table
}

fn table_of_attempts(attempts: Vec<WebhookAttempt>, now: OffsetDateTime) -> Table {
    let mut table =
        Table::new(["WHEN", "SEQUENCE", "EVENT", "ATTEMPT", "STATUS", "MS", "NEXT TRY", "ERROR"]);
    for of in attempts {
        table.add([
            relative(of.at, now),
            of.sequence.map_or_else(|| "test".to_owned(), |sequence| sequence.to_string()),
            of.event_id,
            of.attempt.to_string(),
            of.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            of.latency_ms.to_string(),
            relative_or(of.next_at, now, "-"),
            of.error.unwrap_or_default(),
        ]);
    }
    table
}
