//! Works on leased work: fetches results, archives images, does the upkeep.
//!
//! From the bottom up: `context` (settings and connections), `backoff`; `next_step`,
//! `breaker` and `leases`; `fetch` with its parts, `tasks` and `archive_images`; `claim_loop` and what it
//! claims; `number_events`; `run` on top.

mod archive_images;
pub mod backoff;
mod backtesting;
mod breaker;
mod claim_backtests;
mod claim_loop;
mod claim_tasks;
mod claim_verifications;
mod commit_verdicts;
mod context;
pub mod deliveries;
mod event_retention;
mod dead_workers;
mod fairness;
mod fetch;
mod fetched;
mod horizon;
mod image_context;
pub mod leases;
mod link_refresh;
pub mod sealed_links;
mod months;
pub mod next_step;
mod number_events;
mod persist;
mod provider_deletions;
mod report;
mod retention;
mod run;
mod task_retry;
mod tasks;
mod upkeep;
mod watching;
mod witnesses;

pub use context::{Settings, Worker};
pub use deliveries::{Deliveries, Sender};
pub use image_context::Images;
pub use witnesses::context::AuditHeads;
