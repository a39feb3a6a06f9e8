//! The provider's vocabulary: how requests are signed, what answers look like, what its errors
//! mean, where credentials come from, and the client that uses all of it.
//!
//! [`signing`] and [`wire`] are pure; the sandbox uses the first to check what it is sent.

pub mod signing;
pub mod wire;
pub mod connection;
pub mod credentials;
pub mod client;

pub use client::{Answer, Client, Unanswered};
pub use credentials::Credentials;
