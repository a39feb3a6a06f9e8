//! Comparisons of policies: backtests over the past, and a policy in shadow beside the active one.
//!
//! | File | Contents |
//! |---|---|
//! | `backtests` | the backtests of a policy, and starting one |
//! | `backtest` | one backtest: progress, comparison, flips; cancelling it |
//! | `shadow` | what a policy in shadow decided beside the active one |
//! | `flips` | decisions with another outcome, as far as the person may see them |
//! | `shown` | a comparison as its template shows it |
//! | [`sentence`] | what a comparison comes to |
//! | `chart`, [`numbers`], `words` | bars with their axes; counts and shares; periods and scenes |
//! | [`report`] | the same as a self-contained page, for the command line |

mod backtest;
mod backtests;
mod chart;
mod flips;
pub mod numbers;
pub mod report;
pub mod sentence;
mod shadow;
mod shown;
mod words;

use axum::Router;
use axum::routing::{get, post};

use super::state::Console;

/// The pages of this folder.
pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/policies/{digest}/backtests", get(backtests::list).post(backtests::start))
        .route("/policies/{digest}/shadow", get(shadow::page_of))
        .route("/backtests/{id}", get(backtest::page_of))
        .route("/backtests/{id}/cancel", post(backtest::cancel))
}
