//! The versions of Postgres that Verdict runs on.

/// The oldest major version that the tests run on (`scripts/postgres-matrix.sh`).
pub const OLDEST_SERVER: u32 = 15;

/// Whether a server of this version is served. A text without a number is not refused.
pub fn is_supported_server(version: &str) -> bool {
    let major = version.split(|c: char| !c.is_ascii_digit()).next();
    major.and_then(|major| major.parse::<u32>().ok()).is_none_or(|major| major >= OLDEST_SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_from_15_on_are_supported() {
        for version in ["15.14 (Debian 15.14-0+deb12u1)", "18.6", "19devel", "20beta1", "odd"] {
            assert!(is_supported_server(version), "{version}");
        }
        for version in ["14.23", "9.6.24", "13devel"] {
            assert!(!is_supported_server(version), "{version}");
        }
    }
}
