//! The console: the pages on which people decide reviews and operators look after the installation.
//!
//! Rendered here, without need of JavaScript. Above `http`: what a call of the API does beyond HTTP is
//! done by the same functions for a page.
//!
//! | File | Contents |
//! |---|---|
//! | [`state`] | what all pages share |
//! | `around` | around every request: who is signed in, headers, refusals as pages |
//! | [`signed_in`] | proof that somebody is signed in, and what the person may do |
//! | [`form`] | what a page posts: from the same origin, with the session's token |
//! | [`refused`] | everything that a page may answer in place of what was wanted |
//! | [`layout`], [`frame`] | what every page has around its content, and how a page gets it |
//! | [`texts`] | all texts, in English and Chinese |
//! | [`moments`] | times as a person reads them |
//! | `queue`, `case`, `case_actions` | the cases that wait, the one in hand, and what is done with it |
//! | `faces`, `case_images` | the two pictures |
//! | `facts`, `verdict_form` | what is shown once the faces were judged; the form of the verdict |
//! | `desk` | what a verdict and a golden pair are beyond their pages |
//! | `reviewers` | how much, how fast and how well people judge |
//! | `reasons` | the configured reasons in the person's language |
//! | [`timeline`], [`person`] | what happened to a verification; the person's data by name |
//! | `assets` | stylesheet, script and icon |
//! | `verifications`, `verification` | finding a verification, everything about one, and what can be done |
//! | `persons` | finding a person, and exporting what is held |
//! | `operations` | the state of the installation, dead letters, endpoints |
//! | `audit` | the audit: list, verify, export |
//! | [`oidc`] | signing in by OpenID Connect |

mod around;
mod audit;
mod assets;
mod browser;
mod confirm;
mod case;
mod case_actions;
mod case_images;
mod cookie;
mod desk;
mod faces;
mod facts;
pub mod form;
pub mod frame;
mod headers;
mod invitations;
pub mod layout;
pub mod moments;
pub mod oidc;
mod operations;
pub mod page;
pub mod person;
mod persons;
mod purposes;
mod oidc_client;
mod oidc_flow;
mod oidc_token;
mod proof;
mod refusal_texts;
mod queue;
mod reasons;
pub mod refused;
mod reviewers;
mod router;
mod sessions;
mod sign_in;
pub mod signed_in;
pub mod state;
pub mod texts;
pub mod timeline;
mod verification;
mod verification_actions;
mod verifications;
mod waiting;
mod users;
mod verdict_form;

pub use router::router;
pub use state::{Console, Settings};
