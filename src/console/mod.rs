//! The console: the pages on which people decide reviews and operators look after the installation.
//!
//! The server renders every page; none needs JavaScript. The console is above `http`: a page calls the
//! same functions as the handler of the API.
//!
//! | Path | Contents |
//! |---|---|
//! | [`state`] | what all pages share |
//! | [`signed_in`] | the person who is signed in, and what the person may do |
//! | [`form`], `purposes` | posted forms: from the same origin, with the session's token |
//! | [`refused`] | refusals, which become pages |
//! | [`frame`] | the parts around every page: middleware, headers, navigation, messages, times |
//! | `figures` | numbers as people read them |
//! | [`texts`] | all texts, in English and Chinese |
//! | `templates/`, `assets` | the pages' markup; stylesheet, script and icon |
//! | [`signing_in`] | passwords, codes, invitations, OpenID Connect |
//! | `people` | users and their rights; a person's own sessions and settings |
//! | `desk` | the queue, the claimed case in its three steps, how well people judge |
//! | [`verifications`] | finding verifications and persons, and everything about one verification |
//! | `policies` | what decides where, and changing it |
//! | [`comparisons`] | what a policy would change: backtests, shadows, the report of the command line |
//! | `operations` | the state of the installation, dead letters, endpoints |
//! | `audit` | the audit: list, verify, export |

mod assets;
mod audit;
pub mod comparisons;
mod desk;
mod figures;
pub mod form;
pub mod frame;
mod operations;
mod people;
mod policies;
mod purposes;
pub mod refused;
mod router;
pub mod signed_in;
pub mod signing_in;
pub mod state;
pub mod texts;
pub mod verifications;

pub use router::router;
pub use state::{Console, RetentionClocks, Settings};
