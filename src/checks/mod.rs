//! Checks of what the service needs, each with its finding and what to do. `verdict doctor` makes all
//! of them, the console those that need nothing but the database.

mod advice;
pub mod database;
mod finding;
pub mod months;
pub mod vault_keys;
pub mod witnesses;

use time::OffsetDateTime;

pub use advice::about_database;
pub use finding::{Finding, Item, State};

use crate::store::Store;
use crate::vault::Vault;

/// Every check that asks the database alone, with its name. One that gets no answer says so.
pub async fn of_database(
    store: &Store,
    account: &str,
    vault: Option<&Vault>,
    now: OffsetDateTime,
) -> Vec<(&'static str, Finding)> {
    let pool = store.max_connections();
    let mut found: Vec<(&'static str, Finding)> = match store.inspection().inspect_server().await {
        Ok(server) => database::of_server(&server, now, (pool, false))
            .into_iter()
            .flat_map(|(name, findings)| findings.into_iter().map(move |finding| (name, finding)))
            .collect(),
        Err(error) => return vec![("database", database::unreachable(&error))],
    };
    let (schema, indexes, months, audit, transactions, backlog, breaker, dead_letters) = tokio::join!(
        database::schema(store),
        database::indexes(store),
        months::ahead(store),
        months::audit_segment(store),
        database::transactions(store),
        database::backlog(store),
        database::breaker(account, store),
        database::dead_letters(store),
    );
    found.extend([("schema", schema), ("indexes", indexes)]);
    found.extend(months.into_iter().map(|finding| ("months", finding)));
    found.push(("audit-segment", audit));
    found.extend(transactions.into_iter().map(|finding| ("transactions", finding)));
    if let Some(vault) = vault {
        let keys = database::vault_keys(vault, store).await;
        found.extend(keys.into_iter().map(|finding| ("vault-keys", finding)));
    }
    found.extend([("backlog", backlog), ("breaker", breaker), ("dead-letters", dead_letters)]);
    found.push(("database-tls", database::protection(store.protection())));
    found
}
