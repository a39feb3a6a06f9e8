//! The provider's vocabulary: how requests are signed, what answers look like, what its errors
//! mean, where credentials come from, and the client that uses all of it.
//!
//! [`signing`] is pure: the sandbox checks what it is sent with the same rules.

pub mod signing;
