//! The values that all parts of a process use.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::role::Role;
use crate::config::Environment;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::store::Store;
use crate::store::signals::Signals;

pub(super) struct Shared<'a> {
    pub(super) environment: &'a Environment,
    pub(super) role: Role,
    pub(super) store: Store,
    pub(super) signals: Signals,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) stop: CancellationToken,
}

/// Something that feeds a group commit, and the task that writes its batches.
pub(super) struct Flushed<T> {
    pub(super) part: T,
    pub(super) flusher: JoinHandle<()>,
}
