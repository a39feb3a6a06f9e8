//! The description of the API (OpenAPI 3.1), made from the handlers themselves.

pub mod docs;
mod document;
mod examples;
mod parameters;
pub(super) mod refusals;
mod webhooks;

pub(super) use document::{document, frame};
pub(super) use parameters::*;
pub(super) use refusals::refusals;
