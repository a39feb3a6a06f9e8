//! Why something outside the process did not work: one closed list, for Postgres, the provider,
//! the object store and files alike.
//!
//! The texts of libraries send people to the wrong place and may quote secrets. `reading` maps a
//! library's error to a cause, and only these sentences leave the process. docs/causes.md lists
//! all of them.

mod answers;
mod cause;
mod reading;

pub use answers::{of_s3_answer, of_sqlstate};
pub use cause::Cause;
pub use reading::{of, of_database, of_io};

/// A service that Verdict depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The database.
    Postgres,
    /// The API of the vendor.
    Provider,
    /// The store of images.
    ObjectStore,
}

/// Counts a fault for the metrics.
pub fn count(service: Service, cause: Cause) {
    let service = match service {
        Service::Postgres => "postgres",
        Service::Provider => "provider",
        Service::ObjectStore => "object-store",
    };
    metrics::counter!("verdict_faults_total", "service" => service, "cause" => cause.code())
        .increment(1);
}

#[cfg(test)]
mod tests;
