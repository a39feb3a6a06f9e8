//! A witness: a process on another machine that signs the heads of an audit, each only if it continues
//! the one that it signed before. It knows nothing of the service, and needs no database.
//!
//! | File | Contents |
//! |---|---|
//! | [`state`] | the newest head that it signed, durable before any signature leaves |
//! | [`router`] | its requests: c2sp.org/tlog-witness |

pub mod router;
pub mod state;
