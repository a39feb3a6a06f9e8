//! Finding verifications by whatever names them: an id of ours, the caller's, or the provider's.

use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;

/// Verifications that one text finds at most.
pub const MOST_FOUND: i64 = 50;

/// Finding verifications.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a>(&'a Store);

impl Store {
    pub fn search(&self) -> Search<'_> {
        Search(self)
    }
}

impl Search<'_> {
    /// Of this id: of the verification itself, or of a result, a decision, a review or an event
    /// about it.
    pub async fn by_id(self, id: Uuid) -> Result<Vec<VerificationId>> {
        let ids: Vec<Uuid> =
            self.0.run(|| find_by_id(id, MOST_FOUND).fetch_all(&self.0.pool)).await?;
        Ok(ids.into_iter().map(VerificationId).collect())
    }

    /// Whose `biz_id`, `certify_id` or reference is this text, or about which a callback with this
    /// message id came from one of these sources. The newest first, at most [`MOST_FOUND`].
    pub async fn by_text(self, text: &str, sources: &[String]) -> Result<Vec<VerificationId>> {
        let ids: Vec<Uuid> =
            self.0.run(|| find_by_text(text, sources, MOST_FOUND).fetch_all(&self.0.pool)).await?;
        Ok(ids.into_iter().map(VerificationId).collect())
    }
}

statements! {
    scalar find_by_id(id: Uuid, most: i64) -> Uuid =
        "select distinct of from (
             select id as of from verifications where id = $1
             union all select verification_id from results where id = $1
             union all select verification_id from decisions where id = $1
             union all select verification_id from reviews where id = $1
             union all select verification_id from events
                 where id = $1 and verification_id is not null) found
         order by of desc limit $2";

    // Scene by scene, because the key begins with the scene.
    scalar find_by_text(text: &str, sources: &[String], most: i64) -> Uuid =
        "with recursive scenes (biz_type) as (
             (select biz_type from verifications order by biz_type limit 1)
             union all
             select (select v.biz_type from verifications v
                     where v.biz_type > s.biz_type order by v.biz_type limit 1)
             from scenes s where s.biz_type is not null
         )
         select distinct of from (
             select v.id as of from scenes s cross join lateral (
                 select id from verifications
                 where biz_type = s.biz_type and biz_id = $1 limit 1) v
             union all select id from verifications where certify_id = $1
             union all (select id from verifications where reference = $1
                 order by id desc limit $3)
             union all select verification_id from callbacks
                 where source = any ($2) and message_id = $1) found
         order by of desc limit $3";
}
