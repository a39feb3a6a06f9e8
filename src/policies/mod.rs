//! Policies of an installation: the active ones, and the operations on policies.
//!
//! The worker, the HTTP API and the command line share this module. The crate [`policy`] compiles
//! and applies policies; [`store`](crate::store) stores them.
//!
//! | File | Contents |
//! |---|---|
//! | [`cache`] | compiled policies by digest |
//! | [`active`] | which policy is active in which scene, as activations change it |
//! | [`operations`] | check, add, activate, compare: what the API and the command line offer |
//! | [`past`] | the time machine: backtest, replay, redecide, scores of the past |

pub mod cache;
pub mod active;
pub mod past;
pub mod operations;
