//! Scenarios in the users' words: real Postgres, real HTTP, real signatures, a simulated provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod harness;

mod accepting;
mod bad_input;
mod configuration;
mod crashes;
mod deciding;
mod demo;
#[path = "../faults/mod.rs"]
mod faults;
mod fetching;
mod guarding;
mod images;
mod migrations;
mod outages;
mod policies;
mod policies_over_time;
mod privacy;
mod protocol;
mod protocol_model;
mod protocol_steps;
mod protocol_workers;
mod reading;
mod replicas;
mod roles;
mod sealing;
