//! `/policies…`: which policy decides where, what it says, what it would change, and changing it.
//!
//! | File | Contents |
//! |---|---|
//! | `list` | what is in use, proposals, all policies, the history |
//! | `one` | one policy: its text with findings, facts, where it was used |
//! | `change`, `sentences` | what a change would change, in words, and making it |
//! | `new` | typing, checking and storing a text |
//! | `diff`, `hunks` | what differs between two, in rules and in lines |
//! | `dry_run` | one verification, decided by another policy |
//! | `parts` | what several of the pages show |
//! | `source` | a text with line numbers and findings at their line |

mod change;
mod diff;
mod dry_run;
mod hunks;
mod list;
mod new;
mod one;
mod parts;
mod sentences;
mod source;

use axum::Router;
use axum::routing::{get, post};

use super::state::Console;

/// The pages of this folder.
pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/policies", get(list::page_of))
        .route("/policies/new", get(new::page_of).post(new::check))
        .route("/policies/change", get(change::page_of).post(change::carry))
        .route("/policies/proposals/{id}/withdraw", post(change::withdraw))
        .route("/policies/{digest}", get(one::page_of))
        .route("/policies/{digest}/diff", get(diff::page_of))
        .route("/policies/{digest}/dry-run", get(dry_run::page_of).post(dry_run::run))
}
