//! The server's settings, all given on its command line so that no file of ours can go stale.

use std::path::Path;

/// How much the data is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A commit survives a crash of the machine, as in production.
    Durable,
    /// For tests: fast, and lost if the machine crashes.
    ThrowAway,
}

/// In both modes. The log never holds a statement, its parameters or a row's values: no errors of
/// clients at all (they have them already; a message can quote a value), and should one get
/// through, no parameters, no statement, no DETAIL (which quotes keys).
const ALWAYS: [(&str, &str); 14] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "300"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_min_messages", "log"),
    ("log_statement", "none"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
];

/// Committed is durable.
const DURABLE: [(&str, &str); 4] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "128MB"),
];

/// Nothing outlives a crash of the machine, nothing waits for the disk.
const THROW_AWAY: [(&str, &str); 4] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "64MB"),
];

/// `postgres`' arguments after `-D data`.
pub(crate) fn arguments(mode: Mode, port: u16, socket: Option<&Path>) -> Vec<String> {
    let durability = match mode {
        Mode::Durable => DURABLE,
        Mode::ThrowAway => THROW_AWAY,
    };
    let socket = socket.map(|path| quoted(&path.display().to_string())).unwrap_or_default();
    let fixed = ALWAYS.into_iter().chain(durability);
    let all = fixed
        .map(|(name, value)| (name, value.to_owned()))
        .chain([("port", port.to_string()), ("unix_socket_directories", socket)]);
    all.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
}

/// A list's element may hold commas and blanks when it is quoted.
fn quoted(element: &str) -> String {
    format!("\"{}\"", element.replace('"', "\"\""))
}
