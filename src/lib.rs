//! Verdict: turns "the user has finished real-person verification" into a durable, explainable
//! decision.
//!
//! The code map, in reading order. Arrows point one way (`tests/architecture.rs` guards them).
//!
//! Evidence, policies and decisions are the crate [`policy`].
//!
//! | Layer | Contents |
//! |---|---|
//! | [`domain`] | plain data and its grammar: ids, callback, verification, stored decision, clock |
//! | [`causes`] | why Postgres, the provider, the object store or a file does not work: one closed list |
//! | [`periodic`] | work in rounds: one loop with jitter, and the throttle of background reads |
//! | [`lanes`] | computing off the runtime's threads, one piece of policy work at a time |
//! | [`vault`] | key ring, envelope sealing, webhook signatures |
//! | [`store`] | all SQL, one file per table family; budget and breaker among it |
//! | [`provider`] | what an answer of the provider means: evidence, causes (the crate `cloudauth` calls it) |
//! | [`images`] | guarded download, what bytes are, the object store |
//! | [`policies`] | active policies, their cache, operations on policies, the time machine |
//! | [`persons`] | a person's verifications by identity number, and all that is held of them |
//! | [`audit_log`] | whether the audit is whole, its export, its heads and proofs, and dropping its oldest rows |
//! | [`checks`] | what the service needs of the database, and what to do where it lacks |
//! | [`webhooks`] | where events may be delivered to, operations on endpoints |
//! | [`worker`] | claim loops, fetching, what an answer means, archiving images |
//! | [`witness`] | signs the heads of another machine's audit, and knows nothing of the service |
//! | [`http`] | router, problem+json, auth, one file per endpoint |
//! | [`console`] | the pages on which people review and operate |
//! | [`config`] | files and environment become the layers' settings |
//! | [`traces`] | the spans there are |
//! | [`telemetry`] | logs, metrics, export of traces |
//! | [`app`] | composition root: configuration, parts, running service, graceful stop |

pub mod domain;
pub mod causes;
pub mod periodic;
pub mod lanes;
pub mod vault;
pub mod store;
pub mod provider;
pub mod images;
pub mod policies;
pub mod persons;
pub mod audit_log;
pub mod checks;
pub mod webhooks;
pub mod worker;
pub mod witness;
pub mod http;
pub mod console;
pub mod config;
pub mod traces;
pub mod telemetry;
pub mod app;
