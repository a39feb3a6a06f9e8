//! Names of the files and folders of a server. The caller's folder holds `lock` and `server/`, and
//! `server/` the rest.

/// Held by the process that owns the folder.
pub(crate) const LOCK: &str = "lock";
pub(crate) const DATA: &str = "data";
/// Where `initdb` works until it is done.
pub(crate) const UNFINISHED_DATA: &str = "data.unfinished";
pub(crate) const LOG: &str = "server.log";
pub(crate) const PASSWORD: &str = "password";
pub(crate) const SOCKET: &str = "socket";
/// How the names of places outside the callers' folders begin.
pub(crate) const PLACES: &str = "verdict-postgres-";
/// In such a place: the caller's folder.
pub(crate) const OWNER_NOTE: &str = "belongs-to";
