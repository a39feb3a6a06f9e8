//! Reads which policy was used when, and what it replaced.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::error::Result;
use super::policies::Policies;
use super::statements::statements;

/// One policy in use, and since when.
#[derive(Clone, Debug, FromRow)]
pub struct InUseSince {
    /// `active` or `shadow`.
    pub kind: String,
    /// Empty: for all scenes without their own policy.
    pub biz_type: String,
    pub digest: String,
    pub name: String,
    pub activated_at: OffsetDateTime,
    pub activated_by: String,
}

/// One change of what is used, with what it replaced and what replaced it.
#[derive(Clone, Debug, FromRow)]
pub struct PastChange {
    /// Order of the changes.
    pub id: i64,
    /// `active` or `shadow`.
    pub kind: String,
    /// Empty: for all scenes without their own policy.
    pub biz_type: String,
    /// `None`: none from here on.
    pub digest: Option<String>,
    pub name: Option<String>,
    /// The policy in use before; `None`: there was none.
    pub previous: Option<String>,
    pub previous_name: Option<String>,
    pub activated_at: OffsetDateTime,
    /// The next change of the same kind in the same scene; `None`: it counts still.
    pub ended_at: Option<OffsetDateTime>,
    pub activated_by: String,
    pub purpose: Option<String>,
    pub is_rollback: bool,
}

/// Filters of changes; everything may be absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct PastChanges<'a> {
    /// Of this scene; empty: of all scenes without their own policy.
    pub scene: Option<&'a str>,
    /// Of these scenes, and of all scenes without their own policy.
    pub scenes: Option<&'a [&'a str]>,
    /// That brought this policy into use.
    pub digest: Option<&'a str>,
    /// Older than this one.
    pub before: Option<i64>,
}

impl Policies<'_> {
    /// Every policy in use, without its text.
    pub async fn in_use_since(self) -> Result<Vec<InUseSince>> {
        self.0.run(|| list_in_use().fetch_all(&self.0.pool)).await
    }

    /// Changes of what is used, newest first, at most `limit`.
    pub async fn past_changes(
        self,
        PastChanges { scene, scenes, digest, before }: PastChanges<'_>,
        limit: i64,
    ) -> Result<Vec<PastChange>> {
        self.0.run(|| list_past(before, scene, scenes, digest, limit).fetch_all(&self.0.pool)).await
    }

    /// The scenes whose policy was ever changed, without those that follow the general one.
    pub async fn scenes(self) -> Result<Vec<String>> {
        self.0.run(|| list_scenes().fetch_all(&self.0.pool)).await
    }
}

statements! {
    row list_in_use() -> InUseSince =
        "select a.kind, a.biz_type, a.digest, p.name, a.activated_at, a.activated_by from (
             select distinct on (kind, biz_type) kind, biz_type, digest, activated_at, activated_by
             from policy_activations order by kind, biz_type, id desc) a
         join policies p on p.digest = a.digest
         order by a.biz_type, a.kind";

    row list_past(
        before: Option<i64>,
        scene: Option<&str>,
        scenes: Option<&[&str]>,
        digest: Option<&str>,
        limit: i64,
    ) -> PastChange =
        include_str!("sql/policy_history_list_past.sql");

    scalar list_scenes() -> String =
        "select distinct biz_type from policy_activations where biz_type <> '' order by 1";
}
