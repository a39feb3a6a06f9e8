//! File descriptors: connections of callers never take those of the operations listener, the
//! database and the provider.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Connections to the operations listener: scrapers, probes, and a person on call.
pub const OPERATIONS_CONNECTIONS: usize = 64;
/// Standard streams, listeners, the runtime, files that are read for a moment.
const OTHERS: usize = 64;

/// Takes what the hard limit gives: a shell's usual soft limit of 1,024 is less than
/// `http.max_connections`.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        let error = crate::causes::of(&error).unwrap_or(crate::causes::Cause::Unknown);
        tracing::warn!(%error, "limit of open files could not be raised");
    }
}

/// Descriptors that this process may have.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// The limit after [`raise_limit`].
pub fn hard_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Connections of callers that fit below the limit beside `reserved` descriptors of the process
/// itself. Where even those do not fit, callers get a quarter.
pub fn fitting_connections(configured: usize, limit: usize, reserved: usize) -> usize {
    let reserved = reserved.saturating_add(OPERATIONS_CONNECTIONS + OTHERS);
    configured.min(limit.saturating_sub(reserved).max(limit / 4)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_process_does_not_need_itself() {
        assert_eq!(fitting_connections(4096, usize::MAX, 17), 4096);
        assert_eq!(fitting_connections(4096, 20_000, 17), 4096);
        assert_eq!(fitting_connections(4096, 1024, 17), 1024 - 17 - 128);
        assert_eq!(fitting_connections(100, 1024, 17), 100);
        assert_eq!(fitting_connections(4096, 128, 145), 32);
        assert_eq!(fitting_connections(4096, 0, 145), 1);
    }
}
