//! All SQL, one file per table family; each statement says what it protects.
//!
//! On the hot path ([`hot`]) every write is one statement in autocommit: it happens whole or not at
//! all and costs one round trip. Elsewhere a write of several parts is a short transaction of plain
//! statements (`transaction.rs`).

mod error;
mod ownership;
mod parameters;
mod pool;
mod pooler;
mod schema;
mod schema_name;
mod schema_state;
mod server_version;
mod servers;
mod session_faults;
mod sessions;
mod statements;
mod tls;
mod transaction;
pub mod account_breaker;
pub mod api_keys;
pub mod archiving;
pub mod assignments;
pub mod audit;
pub mod audit_cuts;
pub mod audit_tree;
pub mod backtests;
pub mod cases;
pub mod claim_cases;
pub mod erasure;
pub mod erasure_list;
pub mod events;
pub mod history;
pub mod golden_pairs;
pub mod hot;
pub mod image_check;
pub mod images;
pub mod listing;
pub mod lease;
pub mod legal_holds;
pub mod leased_tables;
pub mod metrics_queries;
pub mod months;
pub mod inspection;
pub mod material;
pub mod persons;
pub mod operations;
pub mod policies;
pub mod policy_history;
pub mod processes;
pub mod proposals;
pub mod provider_deletions;
pub mod results;
pub mod retention;
pub mod reviewers;
pub mod reviews;
pub mod search;
pub mod shadows;
pub mod sign_ins;
pub mod signals;
pub mod standing;
pub mod starts;
pub mod tasks;
pub mod timeline;
pub mod users;
pub mod vault_keys;
pub mod verdicts;
pub mod verifications;
pub mod wakeups;
pub mod webhook_deliveries;
pub mod webhook_endpoints;
pub mod webhook_keys;
pub mod webhook_redeliveries;

pub use hot::{callbacks, claims, completions, group_commit, lease_scan, past};

pub use error::{Error, Outage, Place, Result};
pub use pool::{Settings, Store};
pub use pooler::PoolerSearch;
pub use schema_name::SchemaName;
pub use schema_state::SchemaState;
pub use server_version::{OLDEST_SERVER, is_supported_server};
pub use servers::NoServer;
pub use statements::Statement;
pub use tls::Protection;

/// Every statement that does not depend on filters, for the test that prepares them all. A module
/// that is not listed here does not compile: its list would be dead code.
pub fn all_statements() -> Vec<&'static Statement> {
    let modules = [
        account_breaker::STATEMENTS,
        api_keys::STATEMENTS,
        archiving::STATEMENTS,
        assignments::STATEMENTS,
        audit::STATEMENTS,
        audit_cuts::STATEMENTS,
        audit_tree::STATEMENTS,
        backtests::STATEMENTS,
        cases::STATEMENTS,
        claim_cases::STATEMENTS,
        erasure::STATEMENTS,
        erasure_list::STATEMENTS,
        events::STATEMENTS,
        golden_pairs::STATEMENTS,
        history::STATEMENTS,
        image_check::STATEMENTS,
        images::STATEMENTS,
        inspection::STATEMENTS,
        legal_holds::STATEMENTS,
        listing::STATEMENTS,
        metrics_queries::STATEMENTS,
        material::STATEMENTS,
        months::STATEMENTS,
        operations::STATEMENTS,
        ownership::STATEMENTS,
        persons::STATEMENTS,
        policies::STATEMENTS,
        policy_history::STATEMENTS,
        pool::STATEMENTS,
        processes::STATEMENTS,
        proposals::STATEMENTS,
        provider_deletions::STATEMENTS,
        results::STATEMENTS,
        retention::STATEMENTS,
        reviewers::STATEMENTS,
        reviews::STATEMENTS,
        schema::STATEMENTS,
        search::STATEMENTS,
        servers::STATEMENTS,
        shadows::STATEMENTS,
        sign_ins::STATEMENTS,
        signals::STATEMENTS,
        standing::STATEMENTS,
        starts::STATEMENTS,
        tasks::STATEMENTS,
        transaction::STATEMENTS,
        timeline::STATEMENTS,
        users::STATEMENTS,
        vault_keys::STATEMENTS,
        verdicts::STATEMENTS,
        verifications::STATEMENTS,
        wakeups::STATEMENTS,
        webhook_deliveries::STATEMENTS,
        webhook_endpoints::STATEMENTS,
        webhook_keys::STATEMENTS,
        webhook_redeliveries::STATEMENTS,
    ];
    modules.into_iter().chain(hot::STATEMENTS).flatten().collect()
}
