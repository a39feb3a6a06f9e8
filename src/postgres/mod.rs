//! A private Postgres for the demo and the tests: found, made, started and stopped by us.
//!
//! It needs Postgres' programs but no running server, no root and no settings. [`Programs`] finds
//! them, [`Server`] owns one server in one folder. The server never outlives its owner: it ends
//! when we stop it, when [`Server`] is dropped, and when our process is killed outright.

mod account;
mod error;
mod folder;
mod home;
mod leftover;
mod programs;
mod server;
mod settings;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use folder::Folder;
pub use programs::Programs;
pub use server::{Mode, Server};
