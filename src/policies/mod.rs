//! Policies of an installation: which are active, and what can be done with them.
//!
//! The worker, the HTTP API and the command line use this alike. What a policy means is the crate
//! [`policy`]; where policies are kept is [`store`](crate::store).
//!
//! | File | What lives there |
//! |---|---|
//! | [`cache`] | compiled policies by digest |
//! | [`active`] | which policy is active in which scene, as activations change it |
//! | [`operations`] | check, add, activate, compare: what the API and the command line offer |
//! | [`past`] | the time machine: backtest, replay, redecide, scores of the past |

pub mod cache;
pub mod active;
pub mod past;
pub mod operations;
