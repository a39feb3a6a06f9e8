//! Load a policy; `decide(&Policy, &Evidence) -> Decision`.
//!
//! A policy is a TOML text of rules with typed conditions over a closed list of evidence fields
//! (`config/policy.toml` explains the language by example). It is checked like a program when it
//! is loaded, and compiled, so that deciding compares numbers and looks up nothing. Nothing here
//! does I/O or knows the time: the same policy and the same evidence always give the same decision.
//!
//! Each file uses only files above it:
//!
//! | File | Contents |
//! |---|---|
//! | [`visible`] | text without hidden characters |
//! | [`scene`] | what the id of a scene may be |
//! | [`card_days`] | the edges by which the days left on a card are stored |
//! | [`product`] | the provider's products, and what their codes mean |
//! | [`evidence`] | what a policy may see of an answer |
//! | [`decision`] | outcome, reasons, observations |
//! | [`field`] | the evidence fields, and how each is read |
//! | [`condition`] | compiled conditions in three-valued logic |
//! | [`effort`] | the work that one check may do, in steps |
//! | `diagnostics` | errors and warnings about a text |
//! | `rule` | one compiled rule, with its place in the text |
//! | `edges` | bounds of fields that are stored by edges |
//! | `policy` | a compiled policy |
//! | `compile` | from TOML text to policy: types, spelling, examples |
//! | [`decide()`] | the decision |
//! | `in_words` | comparisons in words |
//! | `contradiction` | conditions that can never hold, rules that another one implies |
//! | `absence` | how absent fields read |
//! | `case` | the products and codes that the checks try |
//! | `check` | what refuses a policy: uncovered statuses and codes, approvals that must not be |
//! | `lint` | warnings: rules, and parts of rules, without effect |
//! | `load` | compile, check, run the examples, lint |
//! | [`render()`] | diagnostics as a compiler prints them |
//! | [`compare`] | another policy on the same cases, in numbers |
//! | [`diff()`], [`rule_changes`] | what differs between two texts, and between the rules of two policies |
//! | [`calibration`] | scores over time, the vendor's table, drift |

pub mod visible;
pub mod scene;
pub mod card_days;
pub mod product;
pub mod evidence;
pub mod decision;
pub mod field;
pub mod condition;
pub mod effort;
mod diagnostics;
mod rule;
mod edges;
mod policy;
mod compile;
mod decide;
mod in_words;
mod contradiction;
mod absence;
mod case;
mod check;
mod lint;
mod load;
mod render;
pub mod compare;
mod diff;
pub mod rule_changes;
pub mod calibration;

pub use compile::{MAX_CODE_CHARS, MOST_RULES, read_case};
pub use decide::{decide, missing_evidence};
pub use diagnostics::{Diagnostic, Severity};
pub use diff::{Change, diff};
pub use policy::{EVIDENCE_MALFORMED, EVIDENCE_MISSING, NO_RULE_MATCHED, Policy};
pub use render::render;

#[cfg(test)]
mod tests;
