//! The hot path: accepting callbacks, claiming verifications, completing them.
//!
//! Why it is fast:
//!
//! - Accepting, claiming and completing are one statement each. The statement is the transaction: one
//!   round trip, and nothing that a cancelled caller could leave open.
//! - Many callers share one commit ([`group_commit`]), because a commit waits for the disk.
//! - The texts are constant (`store/sql`), so each session plans them once.
//! - Every step walks an index. Ids are passed as arrays, for which the planner does not expect to
//!   read the whole table, and a claim begins at the oldest entry that lives.
//! - Claims, renewals and releases do not wait for the disk: one that is lost in a crash of Postgres
//!   never was.
//! - Every statement locks rows in the order of (`biz_type`, `biz_id`), so there are no deadlocks
//!   and nothing has to be repeated.

pub mod callbacks;
pub mod claims;
mod columns;
pub mod completions;
pub mod group_commit;
mod incoming;
pub mod lease_scan;
mod new_callbacks;
pub mod past;

use super::statements::Statement;

/// The statements of this folder.
pub(super) const STATEMENTS: [&[Statement]; 6] = [
    callbacks::STATEMENTS,
    claims::STATEMENTS,
    completions::STATEMENTS,
    lease_scan::STATEMENTS,
    new_callbacks::STATEMENTS,
    past::STATEMENTS,
];
