//! Attacks on the running service: each test is one attacker of SECURITY.md, who must fail.

mod batches;
mod causes;
pub mod console;
mod command_line;
mod database_roles;
mod database_sessions;
mod erased_people;
pub mod grants;
mod hostile_policies;
mod identity_provider;
mod memory;
mod object_stores;
mod odd_answers;
mod people;
mod phone_photos;
mod planted_files;
mod products;
mod provider_callbacks;
mod returns;
mod sources;
mod transport;
mod two_reviewers;
mod unauthenticated;
mod unfair_sources;
pub mod waiting;
