//! `GET /cases`: the cases that wait for a person, oldest first; `POST /cases/next` claims one.
//! Nothing here says what a policy saw in them: that comes after the faces were judged.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use time::OffsetDateTime;
use url::form_urlencoded::Serializer;

use super::reasons;
use crate::console::form::{Form, NoFields};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::callback::BizType;
use crate::domain::case::{Mix, Settings, Standing};
use crate::domain::scope::Scope;
use crate::domain::user::Language;
use crate::store::cases::{Cursor, Filter, QueuedCase, SceneCount};
use crate::store::claim_cases::{Next, Reviewing};

/// Cases on a page.
const PAGE: usize = 50;

/// The query: filters, the row after which the page begins, and the action just done.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    scene: Option<String>,
    age: Option<String>,
    held: Option<String>,
    after: Option<String>,
    said: Option<String>,
    skipped: Option<i64>,
}

impl Asked {
    /// Without what this version does not know.
    fn known(self) -> Self {
        Self {
            scene: self.scene.filter(|scene| BizType::parse(scene).is_ok()),
            age: self.age.filter(|age| Standing::parse(age).is_some()),
            held: self.held.filter(|held| HELD.contains(&held.as_str())),
            ..self
        }
    }

    /// The address of the queue with these filters, from the first page on.
    fn href(&self) -> String {
        self.href_after(None)
    }

    fn href_after(&self, after: Option<Cursor>) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("scene", &self.scene), ("age", &self.age), ("held", &self.held)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        match query.finish() {
            query if query.is_empty() => "/cases".to_owned(),
            query => format!("/cases?{query}"),
        }
    }

    fn is_filtered(&self) -> bool {
        self.scene.is_some() || self.age.is_some() || self.held.is_some()
    }

    fn filter(&self, scenes: Option<Vec<BizType>>) -> Filter {
        let is_held = |held: &str| self.held.as_deref() == Some(held);
        Filter {
            scene: self.scene.as_deref().and_then(|scene| BizType::parse(scene).ok()),
            scenes,
            standing: self.age.as_deref().and_then(Standing::parse),
            escalated: is_held("escalated"),
            second: is_held("second"),
            free: is_held("free"),
        }
    }
}

/// Values of `held`.
const HELD: [&str; 3] = ["free", "escalated", "second"];

/// One link of a group of filters.
struct Choice {
    text: String,
    href: String,
    is_chosen: bool,
    count: Option<i64>,
}

struct Group {
    name: Phrase,
    choices: Vec<Choice>,
}

struct HolderRow {
    name: String,
    since: String,
}

struct CaseRow {
    age: String,
    standing: &'static str,
    standing_text: Phrase,
    target: String,
    scene: String,
    opened: String,
    opened_machine: String,
    holder: Option<HolderRow>,
    needs_second: bool,
    escalation: Option<String>,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    total: i64,
    oldest: Option<String>,
    late: i64,
    has_open: bool,
    groups: Vec<Group>,
    cases: Vec<CaseRow>,
    is_filtered: bool,
    is_later_page: bool,
    first_page: String,
    next_page: Option<String>,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::ReviewsWrite)?;
    let asked = asked.known();
    let settings = &console.api.reviews;
    let moments = frame::moments(&console, &who);
    let scenes = who.scenes.limit();
    let cases = console.api.store.cases();
    let after = asked.after.as_deref().and_then(|after| after.parse().ok());
    let counts = cases.counts(scenes.as_deref(), &settings.targets, moments.now).await?;
    // One more than is shown says whether there is a next page.
    let filter = asked.filter(scenes);
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut queued =
        cases.queue(&filter, &settings.targets, moments.now, who.user, after, limit).await?;
    let has_more = queued.len() > PAGE;
    queued.truncate(PAGE);
    let last = queued.last().filter(|_| has_more);
    let next_page = last.map(|last| {
        asked.href_after(Some(Cursor { opened_at: last.opened_at, decision: last.decision }))
    });
    let mut layout = frame::of_reviewer(&console, &who, Section::Queue).await?;
    if let Some((tone, text)) = said(layout.t, &asked) {
        layout.say(tone, text);
    }
    let shown = Shown { moments: &moments, settings, language: who.language };
    page(&QueuePage {
        t: layout.t,
        form_token: who.form_token.clone(),
        total: counts.iter().map(|scene| scene.open).sum(),
        oldest: counts.iter().map(|scene| scene.oldest).min().map(|at| moments.ago(at)),
        late: counts.iter().map(|scene| scene.late).sum(),
        has_open: console.api.store.assignments().open(who.user).await?.is_some(),
        groups: groups(layout.t, &asked, &counts),
        cases: queued.into_iter().map(|case| shown.row(case)).collect(),
        is_filtered: asked.is_filtered(),
        is_later_page: after.is_some(),
        first_page: asked.href(),
        next_page,
        layout,
    })
}

/// The action just done, in words.
fn said(t: &'static Texts, asked: &Asked) -> Option<(Tone, String)> {
    let (case, frame) = (&t.case, &t.frame);
    let (tone, text) = match asked.said.as_deref()? {
        "skipped" => (Tone::Done, case.done_skipped),
        "released" => (Tone::Done, case.done_released),
        "escalated" => (Tone::Done, case.done_escalated),
        "given" => (Tone::Done, case.done_given),
        "undo-late" => (Tone::Failed, frame.undo_late),
        "lost" => (Tone::Failed, case.too_slow),
        "none" => {
            return Some((
                Tone::Failed,
                match asked.skipped {
                    Some(skipped) if skipped > 0 => {
                        t.queue.empty_skipped.with("n", skipped).to_string()
                    }
                    _ => t.queue.nothing_for_you.to_string(),
                },
            ));
        }
        _ => return None,
    };
    Some((tone, text.to_string()))
}

fn groups(t: &'static Texts, asked: &Asked, counts: &[SceneCount]) -> Vec<Group> {
    let in_scene =
        |count: &&SceneCount| asked.scene.as_ref().is_none_or(|scene| *scene == count.biz_type);
    let sum = |of: fn(&SceneCount) -> i64| counts.iter().filter(in_scene).map(of).sum::<i64>();
    let choice = |text: String, is_chosen: bool, count: Option<i64>, to: Asked| Choice {
        text,
        href: to.href(),
        is_chosen,
        count,
    };
    let all = |is_chosen: bool, count: Option<i64>, to: Asked| {
        choice(t.frame.all.to_string(), is_chosen, count, to)
    };
    let total = counts.iter().map(|scene| scene.open).sum();
    let to_scene = |scene: Option<&String>| Asked { scene: scene.cloned(), ..asked.clone() };
    let to_age = |age: Option<&str>| Asked { age: age.map(str::to_owned), ..asked.clone() };
    let to_held = |held: Option<&str>| Asked { held: held.map(str::to_owned), ..asked.clone() };
    let mut scenes = vec![all(asked.scene.is_none(), Some(total), to_scene(None))];
    scenes.extend(counts.iter().map(|count| {
        let scene = &count.biz_type;
        let is_chosen = asked.scene.as_ref() == Some(scene);
        choice(scene.clone(), is_chosen, Some(count.open), to_scene(Some(scene)))
    }));
    let mut ages = vec![all(asked.age.is_none(), Some(sum(|count| count.open)), to_age(None))];
    ages.extend(Standing::ALL.into_iter().map(|standing| {
        let count = match standing {
            Standing::OnTime => sum(|count| count.open - count.soon - count.late),
            Standing::Soon => sum(|count| count.soon),
            Standing::Late => sum(|count| count.late),
        };
        let is_chosen = asked.age.as_deref() == Some(standing.as_str());
        let text = words_of(t, standing).to_string();
        choice(text, is_chosen, Some(count.max(0)), to_age(Some(standing.as_str())))
    }));
    let mut held = vec![all(asked.held.is_none(), None, to_held(None))];
    let names = [t.queue.free, t.queue.escalated, t.queue.second];
    held.extend(HELD.into_iter().zip(names).map(|(of, name)| {
        choice(name.to_string(), asked.held.as_deref() == Some(of), None, to_held(Some(of)))
    }));
    vec![
        Group { name: t.queue.scene, choices: scenes },
        Group { name: t.queue.age, choices: ages },
        Group { name: t.queue.holder, choices: held },
    ]
}

const fn words_of(t: &'static Texts, standing: Standing) -> Phrase {
    match standing {
        Standing::OnTime => t.queue.on_time,
        Standing::Soon => t.queue.soon,
        Standing::Late => t.queue.late,
    }
}

/// How rows are shown to one person.
struct Shown<'a> {
    moments: &'a Moments,
    settings: &'a Settings,
    language: Language,
}

impl Shown<'_> {
    fn row(&self, case: QueuedCase) -> CaseRow {
        let (moments, targets, t) = (self.moments, &self.settings.targets, self.moments.t);
        let standing = targets.standing(&case.biz_type, case.opened_at, moments.now);
        CaseRow {
            age: moments.ago(case.opened_at),
            standing: standing.as_str(),
            standing_text: words_of(t, standing),
            target: self.target(&case.biz_type, case.opened_at),
            opened: moments.short(case.opened_at),
            opened_machine: Moments::machine(case.opened_at),
            holder: case.holder.map(|holder| HolderRow {
                name: holder.name,
                since: t.queue.since.with("time", moments.short(holder.since)).to_string(),
            }),
            needs_second: case.reviews > 0,
            escalation: case.escalation.map(|code| {
                let reason = reasons::name(&self.settings.reasons, &code, self.language);
                t.queue.escalated_for.with("reason", reason).to_string()
            }),
            scene: case.biz_type,
        }
    }

    /// The time left, or the time by which the case is late.
    fn target(&self, scene: &str, opened_at: OffsetDateTime) -> String {
        let left = self.settings.targets.left(scene, opened_at, self.moments.now);
        let (queue, span) = (&self.moments.t.queue, self.moments.span(left.unsigned_abs()));
        if left.is_negative() {
            queue.late_by.with("by", span).to_string()
        } else {
            queue.within.with("left", span).to_string()
        }
    }
}

/// Claims the oldest case that this person may have, and opens it.
pub(super) async fn next(
    State(console): State<Console>,
    who: SignedIn,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    who.must_have(Scope::ReviewsWrite)?;
    claim_next(&console, &who, "/cases?said=none").await
}

/// Claims the next case and opens it; `otherwise`: the page if there is none.
pub(super) async fn claim_next(
    console: &Console,
    who: &SignedIn,
    otherwise: &str,
) -> Result<Response, Refused> {
    let api = &console.api;
    let reviewing = Reviewing { user: who.user, person: &who.name, scenes: who.scenes.limit() };
    let mix = Mix::draw(&api.reviews, &api.ids);
    let now = api.clock.now();
    let id = api.ids.next(now);
    let next = api.store.assignments().next(&reviewing, mix, api.reviews.claim, id, now).await?;
    Ok(match next {
        Next::Claimed(id) | Next::Open(id) => see(&format!("/assignments/{id}")),
        Next::Empty { skipped: 0 } => see(otherwise),
        Next::Empty { skipped } => see(&format!("{otherwise}&skipped={skipped}")),
    })
}
