//! The source that owns a verification.
//!
//! `verifications.source` names it. It is null in two cases. A binary that did not know the column
//! wrote the row: it belongs to the source of its earliest callback. Or the API started the
//! verification without naming a source: it belongs to the source of its first callback. Such rows
//! get their source when a callback about them arrives, by a separate statement. So the statement
//! that accepts callbacks does not have to search.

use time::OffsetDateTime;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::callback::{BizId, BizType};
use crate::domain::source::SourceAccess;

/// A source that claims a verification without an owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant<'a> {
    pub biz_type: &'a BizType,
    pub biz_id: &'a BizId,
    /// Becomes the owner where there was no callback; `None`: the row stays without one.
    pub source: Option<&'a str>,
    pub at: OffsetDateTime,
}

/// `owner source`, for each owner that one of these sources reaches besides itself.
pub(super) fn shared_owners<'a>(sources: impl Iterator<Item = &'a SourceAccess>) -> Vec<String> {
    let mut shared: Vec<String> =
        sources.filter(|source| !source.peers.is_empty()).flat_map(SourceAccess::pairs).collect();
    shared.sort_unstable();
    shared.dedup();
    shared
}

/// The owners of verifications.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owners<'a>(&'a Store);

impl Store {
    pub(super) fn owners(&self) -> Owners<'_> {
        Owners(self)
    }
}

impl Owners<'_> {
    /// Gives an owner to those of these verifications that have none; whether there were any.
    pub(super) async fn assign(self, claimants: &[Claimant<'_>]) -> Result<bool> {
        let biz_types: Vec<&str> = claimants.iter().map(|of| of.biz_type.as_str()).collect();
        let biz_ids: Vec<&str> = claimants.iter().map(|of| of.biz_id.as_str()).collect();
        let sources: Vec<Option<&str>> = claimants.iter().map(|of| of.source).collect();
        let times: Vec<OffsetDateTime> = claimants.iter().map(|of| of.at).collect();
        // The first claimant counts. Rows are locked in the order in which
        // accepting locks, so that the two cannot deadlock.
        //
        // Retention keeps every callback for a day at least. So a row of the last day that has no
        // callback never had one. The owner of an older row, whose callbacks may be deleted, is not
        // known: it stays without one.
        self.0
            .run(|| async {
                assign(&biz_types, &biz_ids, &sources, &times)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() > 0)
            })
            .await
    }
}

statements! {
    execute assign(
        biz_types: &[&str],
        biz_ids: &[&str],
        sources: &[Option<&str>],
        times: &[OffsetDateTime],
    ) = include_str!("sql/ownership_assign.sql");
}
