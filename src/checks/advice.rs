//! Advice for each kind of database error.

use crate::causes::Cause;
use crate::store::{Error, SchemaState};

/// Postgres offers no TLS, or shows a certificate that is not trusted.
const UNTRUSTED: &str = "outside this machine database.url means sslmode=verify-full: \
     turn TLS on in Postgres, name its certificate's host in the URL, and its authority as \
     ?sslrootcert=/path/ca.pem; spell a weaker sslmode only on a network that nobody else reaches";

pub fn about_database(error: &Error) -> &'static str {
    match error {
        Error::Schema(SchemaState::Behind) => {
            "as the owner of the schema: `verdict migrate`, then config/roles.sql"
        }
        Error::Schema(_) => "`verdict --version` tells which binary this is; see docs/upgrades.md",
        Error::Untrusted(Cause::TlsNotOffered | Cause::TlsUntrusted | Cause::TlsWrongName) => {
            UNTRUSTED
        }
        error => error.cause().advice(),
    }
}
