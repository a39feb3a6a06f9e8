//! The sections of the page of operators, read side by side. `None`: it could not be read.

use std::time::Duration;

use time::OffsetDateTime;

use crate::checks::{self, State as CheckState};
use crate::console::frame::moments::Moments;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::console::verifications::waiting::cause_of;
use crate::domain::callback::BizType;
use crate::domain::scenes::Scenes;
use crate::store::metrics_queries::SourceBacklog;
use crate::store::webhook_endpoints::WebhookEndpoint;

/// A number with what it is.
pub(super) type Fact = (Phrase, String);

fn span(moments: &Moments, seconds: f64) -> String {
    moments.span(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
}

pub(super) struct Backlog {
    pub(super) facts: Vec<Fact>,
    pub(super) sources: Vec<SourceBacklog>,
}

pub(super) async fn backlog(console: &Console, moments: &Moments) -> Option<Backlog> {
    let queries = console.api.store.metrics_queries();
    let backlog = queries.backlog().await.ok()?;
    let mut sources = queries.source_backlogs().await.ok()?;
    sources.sort_by_key(|source| std::cmp::Reverse(source.due));
    let t = &moments.t.operations;
    let oldest = span(moments, backlog.oldest_seconds);
    Some(Backlog {
        facts: vec![
            (t.due, backlog.waiting.to_string()),
            (t.leased, backlog.leased.to_string()),
            (t.oldest, oldest),
            (t.pending, backlog.pending.to_string()),
            (t.unfinished, backlog.unfinished.to_string()),
        ],
        sources,
    })
}

pub(super) struct Provider {
    pub(super) facts: Vec<Fact>,
    pub(super) is_open: bool,
}

pub(super) async fn provider(console: &Console, moments: &Moments) -> Option<Provider> {
    let found = console.api.store.open_work().account(&console.api.account).await.ok()?;
    let t = &moments.t.operations;
    let Some(account) = found else {
        return Some(Provider {
            facts: vec![(t.breaker, t.no_account.to_string())],
            is_open: false,
        });
    };
    let is_open = account.breaker != "closed";
    let breaker = if is_open {
        let since = account.opened_at.map(|at| moments.full(at)).unwrap_or_default();
        let cause = cause_of(moments.t, &account.breaker);
        t.breaker_open.with("time", since).with("cause", cause).to_string()
    } else {
        t.breaker_closed.to_string()
    };
    let budget = if account.ahead_seconds > 1.0 {
        t.budget_spent.with("span", span(moments, account.ahead_seconds)).to_string()
    } else {
        t.budget_room.to_string()
    };
    let mut facts = vec![(t.breaker, breaker)];
    if let Some(at) = account.probe_at.filter(|_| is_open) {
        facts.push((t.probe, moments.full(at)));
    }
    facts.extend([(t.faults, account.failures.to_string()), (t.budget, budget)]);
    Some(Provider { facts, is_open })
}

/// Dead letters of one code.
pub(super) struct Letters {
    pub(super) code: String,
    pub(super) count: i64,
    pub(super) oldest: String,
    pub(super) href: String,
}

pub(super) async fn letters(
    console: &Console,
    scenes: Option<&[BizType]>,
    moments: &Moments,
) -> Option<Vec<Letters>> {
    let scenes = scenes.map(names);
    let found =
        console.api.store.operations().dead_letters_by_code(scenes.as_deref()).await.ok()?;
    let letters = found.into_iter().map(|of| Letters {
        href: match &of.code {
            Some(code) => {
                let code: String = url::form_urlencoded::byte_serialize(code.as_bytes()).collect();
                format!("/operations/dead-letters?code={code}")
            }
            None => "/operations/dead-letters".to_owned(),
        },
        code: of.code.unwrap_or_else(|| moments.t.operations.no_code.to_string()),
        count: of.count,
        oldest: moments.full(of.oldest),
    });
    Some(letters.collect())
}

pub(super) fn names(scenes: &[BizType]) -> Vec<String> {
    scenes.iter().map(|scene| scene.as_str().to_owned()).collect()
}

pub(super) struct Deliveries {
    pub(super) endpoint: WebhookEndpoint,
    pub(super) status: Phrase,
    pub(super) tone: &'static str,
    pub(super) last: String,
    pub(super) next: String,
}

pub(super) async fn deliveries(
    console: &Console,
    scenes: &Scenes,
    moments: &Moments,
) -> Option<Vec<Deliveries>> {
    let endpoints = console.api.endpoints().list(scenes).await.ok()?;
    let shown = endpoints.into_iter().map(|endpoint| {
        let (status, tone) = status(moments.t, &endpoint.status);
        Deliveries {
            status,
            tone,
            last: endpoint.last_status.map(|status| format!("HTTP {status}")).unwrap_or_default(),
            next: endpoint.next_try_at.map(|at| moments.full(at)).unwrap_or_default(),
            endpoint,
        }
    });
    Some(shown.collect())
}

pub(super) fn status(t: &'static Texts, status: &str) -> (Phrase, &'static str) {
    let t = &t.operations;
    match status {
        "active" => (t.active, "good"),
        "failing" => (t.failing, "bad"),
        "paused" => (t.paused, "warn"),
        _ => (t.disabled, "bad"),
    }
}

pub(super) struct Images {
    pub(super) facts: Vec<Fact>,
    pub(super) lost: Vec<(String, i64)>,
}

pub(super) async fn images(console: &Console, moments: &Moments) -> Option<Images> {
    let store = &console.api.store;
    let tasks = store.metrics_queries().task_backlog().await.ok()?;
    let lost = store.operations().lost_images().await.ok()?;
    let persons = store.images().persons_with_faces().await.ok()?;
    let t = &moments.t.operations;
    let mut facts =
        vec![(t.to_archive, tasks.archive.to_string()), (t.to_delete, tasks.delete.to_string())];
    facts.extend(tasks.nearest_deadline.map(|seconds| {
        let phrase = if seconds < 0.0 { t.past } else { t.ahead };
        (t.nearest, phrase.with("span", span(moments, seconds.abs())).to_string())
    }));
    facts.push((t.faces, persons.to_string()));
    Some(Images { facts, lost: lost.into_iter().map(|of| (of.reason, of.count)).collect() })
}

pub(super) struct Keys {
    /// `None`: this process has none.
    pub(super) vault: Option<Vec<(String, Phrase, &'static str)>>,
    pub(super) api: Vec<ApiKeyShown>,
}

pub(super) struct ApiKeyShown {
    pub(super) name: String,
    pub(super) person: String,
    pub(super) scopes: String,
    pub(super) last_used: String,
    pub(super) expires: String,
}

pub(super) async fn keys(console: &Console, moments: &Moments) -> Option<Keys> {
    let (store, t) = (&console.api.store, &moments.t.operations);
    let needed = store.vault_keys().vault_keys_in_use().await.ok()?;
    let vault = console.api.vault.as_ref().map(|vault| {
        let primary = vault.primary_id();
        let ours = vault.ring().ids().map(|id| {
            let (phrase, tone) = if id == primary {
                (t.key_wraps, "good")
            } else if needed.iter().any(|needed| needed == id) {
                (t.key_needed, "warn")
            } else {
                (t.key_unused, "")
            };
            (id.to_owned(), phrase, tone)
        });
        let missing = needed.iter().filter(|id| !vault.ring().has(id));
        ours.chain(missing.map(|id| (id.clone(), t.key_missing, "bad"))).collect()
    });
    let api = store.api_keys().list_api_keys().await.ok()?;
    let api = api.into_iter().filter(|key| key.revoked_at.is_none() && !key.expired);
    let api = api.map(|key| ApiKeyShown {
        name: key.name,
        person: key.person.unwrap_or_default(),
        scopes: key.scopes.join(", "),
        last_used: key.last_used_at.map_or_else(|| t.never.to_string(), |at| moments.short(at)),
        expires: key.expires_at.map_or_else(|| t.no_expiry.to_string(), |at| moments.short(at)),
    });
    Some(Keys { vault, api: api.collect() })
}

pub(super) struct Erasing {
    pub(super) facts: Vec<Fact>,
    pub(super) passes: Vec<(String, String)>,
}

pub(super) async fn erasing(console: &Console, moments: &Moments) -> Option<Erasing> {
    let (operations, t) = (console.api.store.operations(), &moments.t.operations);
    let open = operations.open_erasures().await.ok()?;
    let passes = operations.retention_passes().await.ok()?;
    let configured = &console.settings.retention;
    let passes = passes.into_iter().map(|pass| {
        let (clock, is_configured) = match pass.clock.as_str() {
            "persons" => (t.pass_persons.to_string(), configured.persons),
            "images" => (t.pass_images.to_string(), configured.images),
            "callbacks" => (t.pass_callbacks.to_string(), configured.callbacks),
            other => (other.to_owned(), true),
        };
        let state = match (pass.is_running, pass.rests_until) {
            (true, _) => t.pass_runs.to_string(),
            (false, Some(at)) => t.pass_next.with("time", moments.full(at)).to_string(),
            (false, None) if is_configured => t.pass_ready.to_string(),
            (false, None) => t.pass_off.to_string(),
        };
        (clock, state)
    });
    Some(Erasing {
        facts: vec![
            (t.erasures_open, open.erasures.to_string()),
            (t.copies_open, open.copies.to_string()),
        ],
        passes: passes.collect(),
    })
}

pub(super) struct HeldNow {
    pub(super) id: uuid::Uuid,
    pub(super) biz_id: String,
    pub(super) scene: String,
    pub(super) placed: String,
    pub(super) by: String,
    pub(super) purpose: String,
}

/// Holds that are shown.
const MOST_HOLDS: i64 = 50;

pub(super) async fn held(
    console: &Console,
    scenes: &Scenes,
    moments: &Moments,
) -> Option<Vec<HeldNow>> {
    let holds = console.api.store.legal_holds().list(None, false, MOST_HOLDS).await.ok()?;
    let holds = holds.into_iter().filter(|hold| scenes.include_name(&hold.biz_type));
    let shown = holds.map(|hold| HeldNow {
        id: hold.verification_id,
        biz_id: hold.biz_id,
        scene: hold.biz_type,
        placed: moments.full(hold.placed_at),
        by: hold.placed_by,
        purpose: hold.purpose,
    });
    Some(shown.collect())
}

pub(super) struct Processes {
    pub(super) role: String,
    pub(super) version: String,
    pub(super) host: String,
    pub(super) started: String,
    pub(super) seen: String,
    pub(super) is_here: bool,
}

pub(super) async fn processes(console: &Console, moments: &Moments) -> Option<Vec<Processes>> {
    let seen = console.api.store.processes().list().await.ok()?;
    let short = |at: OffsetDateTime| moments.short(at);
    let shown = seen.into_iter().map(|process| Processes {
        version: format!("{} ({})", process.version, process.revision),
        role: process.role,
        host: process.host,
        started: short(process.started_at),
        seen: moments.ago(process.seen_at),
        is_here: process.is_here,
    });
    Some(shown.collect())
}

pub(super) struct Checked {
    pub(super) check: &'static str,
    pub(super) state: Phrase,
    pub(super) tone: &'static str,
    pub(super) says: String,
    pub(super) hint: Option<String>,
}

pub(super) async fn checks(console: &Console, t: &'static Texts) -> Vec<Checked> {
    let found = checks::of_database(
        &console.api.store,
        &console.api.account,
        console.api.vault.as_deref(),
        console.api.clock.now(),
    )
    .await;
    let shown = found.into_iter().map(|(check, finding)| {
        let (state, tone) = match finding.state {
            CheckState::Ok => (t.operations.ok, "good"),
            CheckState::Warning => (t.operations.warning, "warn"),
            CheckState::Failed => (t.operations.failed, "bad"),
            CheckState::Skipped => (t.operations.skipped, ""),
        };
        Checked { check, state, tone, says: finding.says, hint: finding.hint }
    });
    shown.collect()
}
