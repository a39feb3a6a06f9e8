//! A log as a Merkle tree: heads, proofs, signatures, and what a witness signs. No I/O, no clock.
//!
//! A head is the size of the log and one hash over all of it. With a stored head, a few hashes later
//! prove two things: an entry is in the log (inclusion), and the log of today begins with the log of
//! then (consistency). A witness is an independent party that stores the newest head of a log and signs
//! only heads that continue it.
//!
//! | Module | Contents |
//! |---|---|
//! | [`hash`] | the hashes of leaves and nodes (RFC 9162, section 2.1.1) |
//! | [`proof`] | which nodes a proof consists of, and verifying one (sections 2.1.3 and 2.1.4) |
//! | [`tree`] | a tree that grows: its root, and the hashes of proofs |
//! | [`note`] | signed notes and their keys (c2sp.org/signed-note, c2sp.org/tlog-cosignature) |
//! | [`head`] | a head as the text of a note (c2sp.org/tlog-checkpoint) |
//! | [`witness`] | requests to a witness, and its judgement (c2sp.org/tlog-witness) |
//!
//! The service calls the head of such a log a tree head, because its audit has had other checkpoints
//! before.

pub mod hash;
pub mod head;
pub mod note;
pub mod proof;
pub mod tree;
pub mod witness;
