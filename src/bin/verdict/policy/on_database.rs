//! Operations on the policies of a database, and their errors.

use verdict::policies::operations::{PolicyError, PolicyOperations, Turn};
use verdict::store::Store;

/// The hint after a message goes by the database's own error.
pub(super) fn failed(error: PolicyError) -> anyhow::Error {
    match error {
        PolicyError::Store(error) => error.into(),
        error => error.into(),
    }
}

pub(super) fn operations(store: &Store) -> PolicyOperations<'_> {
    PolicyOperations::new(store, Turn::Wait)
}
