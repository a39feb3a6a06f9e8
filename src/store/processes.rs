//! Which processes serve this database: each says so now and then.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;

/// A process, as it introduces itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub id: Uuid,
    pub role: &'static str,
    pub version: &'static str,
    pub revision: &'static str,
    pub host: String,
}

/// A process that serves, or did within the last day.
#[derive(Clone, Debug, FromRow)]
pub struct SeenProcess {
    pub id: Uuid,
    pub role: String,
    pub version: String,
    pub revision: String,
    pub host: String,
    pub started_at: OffsetDateTime,
    pub seen_at: OffsetDateTime,
    /// It has said so within the last minute.
    pub is_here: bool,
}

/// Processes.
#[derive(Clone, Copy, Debug)]
pub struct Processes<'a>(&'a Store);

impl Store {
    pub fn processes(&self) -> Processes<'_> {
        Processes(self)
    }
}

impl Processes<'_> {
    /// Says that this process serves, and forgets those that were not seen for a day.
    pub async fn seen(self, of: &Introduction) -> Result<()> {
        self.0
            .run(|| async {
                seen(of.id, of.role, of.version, of.revision, &of.host)
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }

    /// Says that it has stopped.
    pub async fn stopped(self, id: Uuid) -> Result<()> {
        self.0.run(|| async { forget(id).execute(&self.0.pool).await.map(drop) }).await
    }

    /// Those seen within the last day, the newest first.
    pub async fn list(self) -> Result<Vec<SeenProcess>> {
        self.0.run(|| list().fetch_all(&self.0.pool)).await
    }
}

statements! {
    execute seen(id: Uuid, role: &str, version: &str, revision: &str, host: &str) =
        "with forgotten as (
             delete from processes where seen_at < verdict_now() - interval '1 day'
         )
         insert into processes (id, role, version, revision, host, started_at, seen_at)
         values ($1, $2, $3, $4, $5, verdict_now(), verdict_now())
         on conflict (id) do update set seen_at = verdict_now()";

    execute forget(id: Uuid) = "delete from processes where id = $1";

    row list() -> SeenProcess =
        "select id, role, version, revision, host, started_at, seen_at,
             seen_at > verdict_now() - interval '1 minute' as is_here
         from processes where seen_at > verdict_now() - interval '1 day'
         order by seen_at < verdict_now() - interval '1 minute', started_at desc limit 200";
}
