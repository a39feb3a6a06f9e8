//! The description of the API (OpenAPI 3.1), made from the handlers themselves.

mod callback_form;
pub mod docs;
mod document;
mod examples;
mod parameters;
pub(super) mod refusals;
mod webhooks;

pub use callback_form::CallbackForm;
pub(super) use document::{document, frame};
pub(super) use parameters::*;
pub(super) use refusals::refusals;
