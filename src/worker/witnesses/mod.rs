//! Witnesses of the audit: asking them to sign its newest head.

pub mod context;
mod send;
