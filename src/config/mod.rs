//! Configuration: the only reader of its files and of the environment that is handed in.
//!
//! `load` merges the embedded defaults, the file named by `--config` and the environment into a
//! [`Config`] (`raw`): of the right types, unknown keys refused. `validate` turns it into one checked
//! value, the [`Settings`] of a service or the [`CommandSettings`] of a command, or into every
//! mistake at once. `changes` reports what has changed.

mod advice;
mod audit;
mod changes;
mod checks;
mod console;
mod database;
mod digests;
mod environment;
mod error;
mod images;
mod keys;
mod load;
mod object_store;
mod observing;
mod origin;
mod provider;
mod raw;
mod reviews;
mod serving;
mod did_you_mean;
mod sources;
mod validate;
mod webhooks;
mod worker;

pub use advice::advice;
pub use changes::Watched;
pub use environment::{Environment, Misnamed, misnamed};
pub use error::{ConfigError, ConfigErrors, FromKey, Subject};
pub use images::Images;
pub use origin::Origin;
pub use raw::Config;
pub use validate::{
    Accepting, CommandSettings, Common, Console, Keys, People, ProviderCall, RoleParts, Settings,
    Working,
};
