//! The context that all checks of doctor share.

use time::OffsetDateTime;

use verdict::app::Role;
use verdict::config::{Config, Environment};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;

pub(super) struct DoctorContext {
    /// Each check takes the part that it is about from here, not from one checked value: doctor
    /// reports every wrong part as a finding and tries the others.
    pub(super) config: Config,
    pub(super) environment: Environment,
    pub(super) role: Role,
    /// Identifies the database, if it answers.
    pub(super) installation: Option<String>,
    /// A scene with a verification, if there is one.
    pub(super) scene: Option<String>,
    pub(super) clock: Clock,
    /// This machine's time when the server told its own.
    pub(super) now: OffsetDateTime,
    pub(super) ids: Ids,
}
