//! `/operations/dead-letters`: verifications that were given up, and asking about them again: one,
//! the chosen ones, or all of a code, each after a page that says how many it will be.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::parts::names;
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::purposes::optional;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::console::verifications::list::visible;
use crate::domain::ids::VerificationId;
use crate::domain::scope::Scope;
use crate::domain::verification::State as Standing;

/// Rows of a page.
const PAGE: usize = 50;
/// Dead letters that one confirmation asks about again.
const MOST: i64 = 5_000;

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    after: Option<VerificationId>,
    refetched: Option<i64>,
    #[serde(default)]
    more: bool,
}

impl Asked {
    fn state(&self) -> Standing {
        if self.state == "expired" { Standing::Expired } else { Standing::Failed }
    }

    fn code(&self) -> Option<&str> {
        Some(self.code.trim()).filter(|code| !code.is_empty())
    }
}

fn href(state: Standing, code: Option<&str>, more: &[(&str, String)]) -> String {
    let mut query = Serializer::new(String::new());
    if state != Standing::Failed {
        query.append_pair("state", state.as_str());
    }
    if let Some(code) = code {
        query.append_pair("code", code);
    }
    for (name, value) in more {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => "/operations/dead-letters".to_owned(),
        query => format!("/operations/dead-letters?{query}"),
    }
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    state: &'static str,
    code: String,
    states: Vec<(Phrase, String, bool)>,
    codes: Vec<CodeFilter>,
    rows: Vec<Row>,
    next_page: Option<String>,
    may_refetch: bool,
}

/// A code to filter by, as long as it has dead letters.
struct CodeFilter {
    code: String,
    count: i64,
    href: String,
    is_chosen: bool,
}

struct Row {
    id: VerificationId,
    scene: String,
    biz_id: String,
    code: String,
    at: String,
    machine: String,
}

pub async fn list(
    State(console): State<Console>,
    who: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::OperationsRead)?;
    let mut layout = frame::of(&console, &who, Section::Operations);
    let moments = frame::moments(&console, &who);
    let t = layout.t;
    if let Some(count) = asked.refetched {
        let said = if asked.more { t.operations.refetched_more } else { t.operations.refetched };
        let tone = if count == 0 { Tone::Failed } else { Tone::Done };
        layout.say(tone, said.with("n", count).to_string());
    }
    let (state, code) = (asked.state(), asked.code());
    let scenes = who.scenes.limit().map(|scenes| names(&scenes));
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut letters = console
        .api
        .store
        .operations()
        .dead_letters(state, code, scenes.as_deref(), asked.after, limit)
        .await?;
    let more = letters.len() > PAGE;
    letters.truncate(PAGE);
    let next_page = letters
        .last()
        .filter(|_| more)
        .map(|last| href(state, code, &[("after", last.id.to_string())]));
    let ids: Vec<VerificationId> = letters.iter().map(|of| VerificationId(of.id)).collect();
    let found = visible(&console, &who, &ids).await?;
    let rows = letters.into_iter().filter_map(|letter| {
        let of = found.iter().find(|found| found.id.0 == letter.id)?;
        Some(Row {
            id: of.id,
            scene: of.biz_type.as_str().to_owned(),
            biz_id: of.biz_id.as_str().to_owned(),
            code: letter.code.unwrap_or_else(|| t.operations.no_code.to_string()),
            at: moments.full(letter.updated_at),
            machine: Moments::machine(letter.updated_at),
        })
    });
    let states = [Standing::Failed, Standing::Expired]
        .map(|of| (t.words.state(of), href(of, None, &[]), of == state));
    page(&DeadLettersPage {
        form_token: who.form_token.clone(),
        state: state.as_str(),
        code: code.unwrap_or_default().to_owned(),
        states: states.to_vec(),
        codes: codes(&console, &who, state, code).await?,
        rows: rows.collect(),
        next_page,
        may_refetch: who.has(Scope::VerificationsWrite),
        t,
        layout,
    })
}

/// The codes of failed verifications. Expired ones have no code.
async fn codes(
    console: &Console,
    who: &SignedIn,
    state: Standing,
    chosen: Option<&str>,
) -> Result<Vec<CodeFilter>, Refused> {
    if state != Standing::Failed {
        return Ok(Vec::new());
    }
    let scenes = who.scenes.limit().map(|scenes| names(&scenes));
    let found = console.api.store.operations().dead_letters_by_code(scenes.as_deref()).await?;
    let filters = found.into_iter().filter_map(|of| {
        let code = of.code?;
        Some(CodeFilter {
            href: href(state, Some(&code), &[]),
            is_chosen: chosen == Some(code.as_str()),
            count: of.count,
            code,
        })
    });
    Ok(filters.collect())
}

#[derive(Debug, Deserialize)]
pub struct Refetch {
    /// The chosen ones.
    #[serde(default, rename = "id")]
    ids: Vec<VerificationId>,
    /// One row's own button.
    one: Option<VerificationId>,
    /// All of the state and the code.
    #[serde(default)]
    all: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    purpose: String,
    /// The page that asks once more was seen.
    #[serde(default)]
    sure: String,
}

#[derive(Template)]
#[template(path = "refetch_confirm.html")]
struct ConfirmPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    state: &'static str,
    code: String,
    all: bool,
    ids: Vec<VerificationId>,
    count: usize,
    back: String,
}

/// `POST /operations/dead-letters`: asks once more, then asks the provider again.
pub async fn confirm(
    State(console): State<Console>,
    who: SignedIn,
    Form(form): Form<Refetch>,
) -> Result<Response, Refused> {
    who.must_have(Scope::OperationsRead)?;
    who.must_have(Scope::VerificationsWrite)?;
    let purpose = optional(&form.purpose)?;
    let asked = Asked { code: form.code.clone(), state: form.state.clone(), ..Asked::default() };
    let (state, code) = (asked.state(), asked.code());
    let all = form.all == "yes";
    let ids = match form.one {
        Some(one) => vec![one],
        None if all => of_code(&console, &who, state, code).await?,
        None => form.ids.clone(),
    };
    // Only those that the person may know of.
    let ids: Vec<VerificationId> =
        visible(&console, &who, &ids).await?.into_iter().map(|found| found.id).collect();
    let back = href(state, code, &[]);
    if ids.is_empty() || form.sure != "yes" {
        let mut layout = frame::of(&console, &who, Section::Operations);
        if ids.is_empty() {
            let nothing = layout.t.operations.nothing_chosen;
            layout.say(Tone::Failed, nothing.to_string());
        }
        return page(&ConfirmPage {
            form_token: who.form_token.clone(),
            state: state.as_str(),
            code: code.unwrap_or_default().to_owned(),
            all,
            count: ids.len(),
            ids: if all { Vec::new() } else { ids },
            back,
            t: layout.t,
            layout,
        });
    }
    let context = who.audit_context(purpose, console.api.clock.now());
    let (listing, window) = (console.api.store.listing(), console.api.window);
    let refetched = listing.refetch_chosen(&ids, window, &context).await?;
    console.api.signals.work_is_due();
    tracing::info!(refetched, user = %who.user, "refetch of many in the console");
    let mut said = vec![("refetched", refetched.to_string())];
    if all && i64::try_from(ids.len()).is_ok_and(|count| count >= MOST) {
        said.push(("more", "true".to_owned()));
    }
    Ok(see(&href(state, code, &said)))
}

/// Up to [`MOST`], the oldest first.
async fn of_code(
    console: &Console,
    who: &SignedIn,
    state: Standing,
    code: Option<&str>,
) -> Result<Vec<VerificationId>, Refused> {
    let scenes = who.scenes.limit().map(|scenes| names(&scenes));
    let letters = console
        .api
        .store
        .operations()
        .dead_letters(state, code, scenes.as_deref(), None, MOST)
        .await?;
    Ok(letters.into_iter().map(|letter| VerificationId(letter.id)).collect())
}
