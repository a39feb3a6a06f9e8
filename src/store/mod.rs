//! All SQL, one file per table family; each statement says what it protects.
//!
//! Every write is one statement in autocommit: it happens whole or not at all, costs one round
//! trip, and leaves no transaction for a cancelled future to forget. [`group_commit`] lets one
//! commit serve many callers.

mod error;
mod ownership;
mod parameters;
mod pool;
mod schema;
mod sessions;
mod tls;
pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod backtests;
pub mod callbacks;
pub mod claims;
pub mod completions;
pub mod expiring_leases;
pub mod group_commit;
pub mod history;
pub mod images;
pub mod listing;
pub mod looks;
pub mod inspection;
pub mod material;
pub mod past;
pub mod policies;
pub mod proposals;
pub mod retention;
pub mod reviews;
pub mod signals;
pub mod tasks;
pub mod timeline;
pub mod vault_keys;
pub mod verifications;

pub use error::{Error, Outage, Place, Result};
pub use pool::{Settings, Store};
pub use schema::SchemaState;
pub use tls::Protection;
