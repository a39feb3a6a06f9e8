//! Plain data and its grammar: what a callback, a result and a stored decision are.
//!
//! Three things are never mixed: what the phone reported ([`callback`], a hint), what the
//! provider answered ([`answer`]), and what Verdict decided ([`decision`]).
//! Nothing here does I/O; time and randomness come in through [`clock`] and [`ids`].

pub mod answer;
pub mod audit_chain;
pub mod audit_cut;
pub mod audit_details;
pub mod audit_heads;
pub mod audit_proof;
pub mod body_digest;
pub mod callback;
pub mod case;
pub mod clock;
pub mod counted;
pub mod decision;
pub mod erasure;
pub mod event;
pub mod field_error;
pub mod ids;
pub mod image;
pub mod proposal;
pub mod purpose;
pub mod returning;
pub mod review;
pub mod scenes;
pub mod scope;
pub mod source;
pub mod starting;
pub mod timeline;
pub mod trace;
pub mod user;
pub mod verification;
pub mod webhook_endpoint;
pub mod zone;

pub use cloudauth::text::{byte_order_mark, folding, lenient_json};
