//! Scenarios in the users' words: real Postgres, real HTTP, real signatures, a simulated provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod harness;

mod accepting;
mod any_postgres;
#[path = "../attacks/mod.rs"]
mod attacks;
mod bad_input;
mod cases;
mod bad_starts;
mod configuration;
mod console_backtests;
mod console_operations;
mod console_cases;
mod console_role;
mod console_policies;
mod crashes;
mod damaged_text;
mod deciding;
mod demo;
mod doctor;
mod events_feed;
#[path = "../faults/mod.rs"]
mod faults;
mod event_log;
mod fetching;
mod golden_pairs;
mod guarding;
mod holding;
mod images;
mod leases;
mod listen;
mod listing;
mod migrations;
mod observing;
mod operating;
mod outages;
mod partitions;
mod person_export;
mod policies;
mod policy_fields;
mod policy_texts;
mod policies_over_time;
mod privacy;
mod privacy_of_console;
mod privacy_of_starts;
mod products;
mod problem_pages;
mod protocol;
mod protocol_model;
mod protocol_steps;
mod protocol_workers;
mod reading;
mod reloading;
mod replicas;
mod reviewing;
mod roles;
mod sealing;
mod start_races;
mod starting;
mod starting_face_verify;
mod statements;
mod timeline;
mod signing_in;
mod simulated;
mod slow_clients;
mod spare_keys;
mod upgrade;
mod upgrade_states;
mod webhook_deliveries;
mod webhook_endpoints;
