//! A private Postgres for the demo and the tests: found, made, started and stopped by us.
//!
//! It needs Postgres' programs but no running server, no root and no settings. [`Programs`] finds
//! them, [`Server`] owns one server in one folder. The server never outlives its owner: it ends
//! when we stop it, when [`Server`] is dropped, and when our process is killed outright.

mod abandoned;
mod account;
mod error;
mod folder;
mod home;
mod layout;
mod leftover;
mod libpq;
mod programs;
mod server;
mod settings;
#[cfg(test)]
mod tests;

pub use abandoned::folder_of_this_process;
pub use error::Error;
pub use folder::Folder;
pub use libpq::is_libpq_variable;
pub use programs::Programs;
pub use server::Server;
pub use settings::Mode;
