//! The person who works in the demo's console: signed in by a link.

use verdict::config::Environment;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::domain::scenes::Scenes;
use verdict::domain::scope::Scope;
use verdict::domain::user::{Language, Method, Theme, User};
use verdict::domain::zone::Zone;
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::store::sign_ins::NewSession;
use verdict::vault::token;

/// Adds somebody with every right, signed in until the demo ends; the token of the link.
pub(super) async fn sign_in(
    store: &Store,
    environment: &Environment,
    clock: &Clock,
    ids: &Ids,
) -> anyhow::Result<String> {
    let now = clock.now();
    let read = |name: &str| environment.get(name).map(String::as_str).unwrap_or_default();
    let language = if read("LANG").starts_with("zh") { Language::Zh } else { Language::En };
    let user = User {
        id: ids.next(now),
        name: "demo".to_owned(),
        language,
        theme: Theme::Auto,
        zone: Zone::parse(read("TZ").trim_start_matches(':')).unwrap_or(Zone::UTC),
        scopes: Scope::ALL.to_vec(),
        scenes: Scenes::EVERY,
    };
    let context = AuditContext { actor: "cli:demo".to_owned(), purpose: None, at: now };
    store.users().add(&user, &context).await?;
    let token = token::generate()?;
    let new = NewSession {
        digest: &token::digest(&token),
        id: ids.next(now),
        user: user.id,
        method: Method::Demo,
        browser: "–",
    };
    store.sign_ins().begin(&new, &context).await?;
    Ok(token.to_string())
}
