//! What `verdict doctor` asks: about the server, the role, and what waits. Reads only.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, FromRow, Row};
use time::OffsetDateTime;

use super::error::{Error, Place, Result};
use super::pool::Store;
use super::pooler::PoolerSearch;
use super::servers::{self, NoServer};
use super::session_faults::is_socket;
use super::statements::statements;

/// The server, and who we are to it.
#[derive(Clone, Debug, FromRow)]
pub struct Server {
    /// As it calls itself: `16.4`.
    pub version: String,
    /// The role we are.
    pub role: String,
    /// It may do everything.
    pub superuser: bool,
    /// It owns the schema.
    pub owner: bool,
    /// `on`: set so, for all or for our role, and no writes are taken either.
    pub transaction_read_only: String,
    /// How text is stored; everything but `UTF8` is refused.
    pub encoding: String,
    /// `off`: a commit is reported before it is safe.
    pub synchronous_commit: String,
    /// `off`: a crash of the machine loses or breaks everything.
    pub fsync: String,
    /// `off`: a crash of the machine may leave half-written pages.
    pub full_page_writes: String,
    /// Milliseconds until an idle transaction is ended; 0: never.
    pub idle_transaction_ms: i64,
    /// Connections that roles like ours can have, all together.
    pub connections: i32,
    /// Connections there are now, ours included.
    pub connected: i64,
    /// The server's clock.
    pub now: OffsetDateTime,
}

/// The owner of the schema, and whether our role can create objects.
#[derive(Clone, Debug, FromRow)]
pub struct Ownership {
    /// `None`: there is no schema.
    pub owner: Option<String>,
    /// Its password opens the whole server.
    pub owner_is_superuser: bool,
    /// Our role may create temporary objects, schemas, or objects in this one.
    pub creates: bool,
}

/// Open transactions that keep dead rows from being removed.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct LongTransactions {
    /// How many, as far as our role may see them.
    pub count: i64,
    /// Age of the oldest.
    pub oldest_seconds: f64,
}

/// The breaker, and since when it is open.
#[derive(Clone, Debug, FromRow)]
pub struct OpenBreaker {
    /// As in [`super::account_breaker::Breaker::as_str`].
    pub breaker: String,
    /// Seconds since it opened.
    pub open_seconds: f64,
}

/// A right on a table, or on one of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// The table, or the function with the types of its arguments.
    pub table: String,
    /// `None`: the whole table.
    pub column: Option<String>,
    /// `select`, `insert`, `update`, `delete`, or `execute`.
    pub privilege: String,
}

/// The queries of `verdict doctor`.
#[derive(Clone, Copy, Debug)]
pub struct Inspection<'a>(&'a Store);

impl Store {
    pub fn inspection(&self) -> Inspection<'_> {
        Inspection(self)
    }
}

impl Inspection<'_> {
    /// Connects once, past the pool, which would try again until its time is over and then not
    /// say why. Refuses a pooler of transactions, as far as `search` finds it.
    pub async fn connect_once(self, search: PoolerSearch) -> Result<()> {
        self.connect(search).await.map_err(|none| none.error)
    }

    /// The same, and tells whether waiting may help.
    pub async fn connect_at_start(self) -> std::result::Result<(), NoServer> {
        self.connect(PoolerSearch::Thorough).await
    }

    async fn connect(self, search: PoolerSearch) -> std::result::Result<(), NoServer> {
        if self.0.servers.are_several() {
            self.0.servers.find().await?;
            return Ok(self.0.refuse_transaction_pooler(None, search).await?);
        }
        let server = self.0.connect_options();
        let by_socket = is_socket(&server);
        let connecting = async {
            // A failed connection is the outcome here, and no error of a statement.
            Ok(match PgConnection::connect_with(&server).await {
                Ok(mut connection) => {
                    let is_standby = servers::server_is_standby(&mut connection).await?;
                    if is_standby { Err(Error::standby()) } else { Ok(connection) }
                }
                Err(error) => Err(Error::from_connecting(&error, by_socket, Place::here())),
            })
        };
        let first = self.0.once(connecting).await??;
        Ok(self.0.refuse_transaction_pooler(Some(first), search).await?)
    }

    /// The server, and who we are to it.
    pub async fn inspect_server(self) -> Result<Server> {
        self.0.run(|| server().fetch_one(&self.0.pool)).await
    }

    /// Identifies this database without its address. Queried once.
    pub async fn installation(self) -> Result<String> {
        if let Some(known) = self.0.installation.get() {
            return Ok(known.clone());
        }
        let found: String = self.0.run(|| installation().fetch_one(&self.0.pool)).await?;
        Ok(self.0.installation.get_or_init(|| found).clone())
    }

    /// The owner of the schema, and whether our role can create objects.
    pub async fn ownership(self) -> Result<Ownership> {
        self.0.run(|| ownership().fetch_one(&self.0.pool)).await
    }

    /// The clock by which work falls due.
    pub async fn database_now(self) -> Result<OffsetDateTime> {
        self.0.run(|| now().fetch_one(&self.0.pool)).await
    }

    /// Transactions open for longer than `seconds`.
    pub async fn long_transactions(self, seconds: f64) -> Result<LongTransactions> {
        self.0.run(|| long_transactions(seconds).fetch_one(&self.0.pool)).await
    }

    /// Those of these rights that our role does not have.
    pub async fn missing_rights(self, rights: &[Right]) -> Result<Vec<String>> {
        let tables: Vec<&str> = rights.iter().map(|right| right.table.as_str()).collect();
        let columns: Vec<Option<&str>> =
            rights.iter().map(|right| right.column.as_deref()).collect();
        let privileges: Vec<&str> = rights.iter().map(|right| right.privilege.as_str()).collect();
        self.0.run(|| missing_rights(&tables, &columns, &privileges).fetch_all(&self.0.pool)).await
    }

    /// The breaker of this account, if it is open.
    pub async fn open_breaker(self, account: &str) -> Result<Option<OpenBreaker>> {
        self.0.run(|| open_breaker(account).fetch_optional(&self.0.pool)).await
    }

    /// How many verifications are dead letters. No index has them, so the server stops counting
    /// after three seconds; `None` then.
    pub async fn dead_letters(self) -> Result<Option<i64>> {
        let counted = self.0.once(count_failed().fetch_one(&self.0.pool)).await;
        match counted {
            Err(Error::Refused { code, .. }) if code == "57014" => Ok(None),
            other => Ok(Some(other?.try_get(0)?)),
        }
    }

    /// Indexes whose building was cut short.
    pub async fn invalid_indexes(self) -> Result<Vec<String>> {
        self.0.run(|| invalid_indexes().fetch_all(&self.0.pool)).await
    }

    /// A scene that this installation has verified somebody in.
    pub async fn a_scene(self) -> Result<Option<String>> {
        self.0.run(|| newest_scene().fetch_optional(&self.0.pool)).await
    }
}

statements! {
    limited count_failed("3s") -> (i64,) =
        "select count(*) from verifications where state = 'failed'";

    row server() -> Server =
        "select current_setting('server_version') as version, current_user::text as role,
             (select rolsuper from pg_roles where rolname = current_user) as superuser,
             coalesce((select pg_has_role(current_user, relowner, 'usage') from pg_class
                      where oid = to_regclass('verifications')), false) as owner,
             current_setting('transaction_read_only') as transaction_read_only,
             current_setting('server_encoding') as encoding,
             current_setting('synchronous_commit') as synchronous_commit,
             current_setting('fsync') as fsync,
             current_setting('full_page_writes') as full_page_writes,
             (select setting::bigint from pg_settings
             where name = 'idle_in_transaction_session_timeout') as idle_transaction_ms,
             current_setting('max_connections')::int
                 - current_setting('superuser_reserved_connections')::int as connections,
             (select count(*) from pg_stat_activity where datname is not null) as connected,
             clock_timestamp() as now";

    scalar installation() -> String =
        "select left(encode(sha256(convert_to(concat_ws('/', d.oid::text, d.datname,
                 (select extract(epoch from min(installed_on))::text
                 from _sqlx_migrations)), 'UTF8')), 'hex'), 16)
         from pg_database d where d.datname = current_database()";

    row ownership() -> Ownership =
        "select (select relowner::regrole::text from pg_class
                 where oid = to_regclass('verifications')) as owner,
             coalesce((select rolsuper from pg_class c join pg_roles r on r.oid = c.relowner
                      where c.oid = to_regclass('verifications')), false)
                 as owner_is_superuser,
             has_database_privilege(current_database(), 'temporary')
                 or has_database_privilege(current_database(), 'create')
                 or coalesce(has_schema_privilege(current_schema(), 'create'), false)
                 as creates";

    scalar now() -> OffsetDateTime = "select verdict_now()";

    row long_transactions(seconds: f64) -> LongTransactions =
        "select count(*) as count,
             coalesce(extract(epoch from now() - min(xact_start)), 0)::float8
                 as oldest_seconds
         from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend'
             and xact_start < now() - make_interval(secs => $1)";

    scalar missing_rights(
        tables: &[&str],
        columns: &[Option<&str>],
        privileges: &[&str],
    ) -> String =
        "select p || ' on ' || t || coalesce(' (' || string_agg(c, ', ' order by c) || ')', '')
         from unnest($1::text[], $2::text[], $3::text[]) as wanted (t, c, p)
         where not case
             when p = 'execute' then
                 coalesce(has_function_privilege(to_regprocedure(t)::oid, p), true)
             when to_regclass(t) is null then true
             when c is null then has_table_privilege(to_regclass(t)::oid, p)
             else has_column_privilege(to_regclass(t)::oid, c, p) end
         group by p, t, c is null order by 1";

    row open_breaker(account: &str) -> OpenBreaker =
        "select breaker, coalesce(extract(epoch from verdict_now() - opened_at), 0)::float8
             as open_seconds
         from accounts where account = $1 and breaker <> 'closed'";

    scalar invalid_indexes() -> String =
        "select indexrelid::regclass::text from pg_index join pg_class on oid = indexrelid
         where not indisvalid and relnamespace = 'public'::regnamespace order by 1";

    scalar newest_scene() -> String =
        "select biz_type from (
             select biz_type, product from verifications order by id desc limit 1000) newest
         where product = 'verify-result' limit 1";
}
