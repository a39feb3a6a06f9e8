//! Webhook endpoints: signing what is delivered.

pub mod signing;
