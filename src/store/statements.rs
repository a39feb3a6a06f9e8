//! Every statement of SQL is declared here once: name, parameters, text, and how its rows are read.
//!
//! A declaration becomes a function that binds the parameters, which is the only way to run the
//! statement (`tests/architecture.rs` refuses any other), and an entry in `STATEMENTS` of its
//! module. The scenario `statements` prepares all of them on the migrated schema and compares the
//! number and types of the parameters and the columns that are read. So a misspelt column, a wrong
//! type or a missing parameter fails a test that names the statement.
//!
//! Kinds of declaration:
//!
//! - `execute`: no rows are read.
//! - `scalar … -> T`: each row is one value.
//! - `row … -> T`: each row is a `T`, which implements [`sqlx::FromRow`].
//! - `read(f) …`: each row goes through the function `f`.
//! - `limited f("1s") -> T`: as `row`, without parameters, and cancelled by Postgres after so long.
//!
//! More than seven parameters stand in a second pair of parentheses and are passed as a tuple.

use std::fmt;
use std::marker::PhantomData;

use sqlx::postgres::{PgArguments, PgRow, PgTypeInfo, Postgres};
use sqlx::{Executor, FromRow};

use super::error::Result;

/// A statement, as a test sees it.
pub struct Statement {
    pub(super) path: &'static str,
    /// The text that Postgres parses.
    pub sql: &'static str,
    pub(super) parameters: fn() -> Vec<PgTypeInfo>,
    pub(super) read: fn(&PgRow) -> Result<()>,
}

impl Statement {
    /// Module and name: `claims::renew`.
    pub fn name(&self) -> &'static str {
        self.path.split_once("::store::").map_or(self.path, |(_, name)| name)
    }

    /// The types of the parameters, as the code that binds them declares.
    pub fn parameters(&self) -> Vec<PgTypeInfo> {
        (self.parameters)()
    }

    /// Reads a row as the code does that runs the statement.
    pub fn read(&self, row: &PgRow) -> Result<()> {
        (self.read)(row)
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Statement").field(&self.name()).finish()
    }
}

pub(super) type Execute = sqlx::query::Query<'static, Postgres, PgArguments>;

/// A query each of whose rows is a `T`. sqlx' own type would borrow the parameters.
pub(super) struct Rows<T>(Execute, PhantomData<fn() -> T>);

impl<T: for<'r> FromRow<'r, PgRow>> Rows<T> {
    pub(super) fn of(query: Execute) -> Self {
        Self(query, PhantomData)
    }

    pub(super) async fn fetch_one<'c, E>(self, executor: E) -> Fetched<T>
    where
        E: Executor<'c, Database = Postgres>,
    {
        T::from_row(&self.0.fetch_one(executor).await?)
    }

    pub(super) async fn fetch_optional<'c, E>(self, executor: E) -> Fetched<Option<T>>
    where
        E: Executor<'c, Database = Postgres>,
    {
        self.0.fetch_optional(executor).await?.as_ref().map(T::from_row).transpose()
    }

    pub(super) async fn fetch_all<'c, E>(self, executor: E) -> Fetched<Vec<T>>
    where
        E: Executor<'c, Database = Postgres>,
    {
        self.0.fetch_all(executor).await?.iter().map(T::from_row).collect()
    }
}

/// A query each of whose rows is one value.
pub(super) struct Scalars<T>(Rows<(T,)>);

impl<T> Scalars<T>
where
    (T,): for<'r> FromRow<'r, PgRow>,
{
    pub(super) fn of(query: Execute) -> Self {
        Self(Rows::of(query))
    }

    pub(super) async fn fetch_one<'c, E>(self, executor: E) -> Fetched<T>
    where
        E: Executor<'c, Database = Postgres>,
    {
        Ok(self.0.fetch_one(executor).await?.0)
    }

    pub(super) async fn fetch_optional<'c, E>(self, executor: E) -> Fetched<Option<T>>
    where
        E: Executor<'c, Database = Postgres>,
    {
        Ok(self.0.fetch_optional(executor).await?.map(|(value,)| value))
    }

    pub(super) async fn fetch_all<'c, E>(self, executor: E) -> Fetched<Vec<T>>
    where
        E: Executor<'c, Database = Postgres>,
    {
        Ok(self.0.fetch_all(executor).await?.into_iter().map(|(value,)| value).collect())
    }
}

type Fetched<T> = std::result::Result<T, sqlx::Error>;

macro_rules! statements {
    ($(
        $(#[$about:meta])*
        $kind:ident $(($read:expr))? $name:ident $parameters:tt $(-> $row:ty)? = $sql:expr;
    )+) => {
        $($crate::store::statements::declare! {
            $(#[$about])* $kind $name $parameters $(-> $row)? = $sql
        })+

        /// For the test that prepares them all.
        pub(in crate::store) const STATEMENTS: &[$crate::store::statements::Statement] = &[$(
            $crate::store::statements::Statement {
                path: concat!(module_path!(), "::", stringify!($name)),
                sql: $sql,
                parameters: || $crate::store::statements::types!($parameters),
                read: $crate::store::statements::reader!($kind $(($read))? $($row)?),
            }
        ),+];
    };
}
pub(super) use statements;

macro_rules! declare {
    ($(#[$about:meta])* execute $name:ident $parameters:tt = $sql:expr) => {
        $crate::store::statements::function! {
            $(#[$about])* $name $parameters -> $crate::store::statements::Execute = std::convert::identity, $sql
        }
    };
    ($(#[$about:meta])* read $name:ident $parameters:tt = $sql:expr) => {
        $crate::store::statements::function! {
            $(#[$about])* $name $parameters -> $crate::store::statements::Execute = std::convert::identity, $sql
        }
    };
    ($(#[$about:meta])* scalar $name:ident $parameters:tt -> $row:ty = $sql:expr) => {
        $crate::store::statements::function! {
            $(#[$about])* $name $parameters -> $crate::store::statements::Scalars<$row> =
            $crate::store::statements::Scalars::of, $sql
        }
    };
    ($(#[$about:meta])* row $name:ident $parameters:tt -> $row:ty = $sql:expr) => {
        $crate::store::statements::function! {
            $(#[$about])* $name $parameters -> $crate::store::statements::Rows<$row> =
            $crate::store::statements::Rows::of, $sql
        }
    };
    ($(#[$about:meta])* limited $name:ident ($limit:literal) -> $row:ty = $sql:expr) => {
        $(#[$about])*
        fn $name() -> sqlx::RawSql {
            // One message is one transaction, so the limit ends with it and nothing is left behind
            // on the connection.
            sqlx::raw_sql(concat!("set local statement_timeout = '", $limit, "'; ", $sql))
        }
    };
}
pub(super) use declare;

macro_rules! function {
    ($(#[$about:meta])* $name:ident (($($p:ident: $t:ty),+ $(,)?)) -> $query:ty = $of:expr, $sql:expr) => {
        $(#[$about])*
        fn $name(($($p),+): ($($t),+)) -> $query {
            $of(sqlx::query($sql)$(.bind($p))+)
        }
    };
    ($(#[$about:meta])* $name:ident ($($p:ident: $t:ty),* $(,)?) -> $query:ty = $of:expr, $sql:expr) => {
        $(#[$about])*
        fn $name($($p: $t),*) -> $query {
            $of(sqlx::query($sql)$(.bind($p))*)
        }
    };
}
pub(super) use function;

macro_rules! types {
    (($($parameters:tt)*)) => {
        $crate::store::statements::types!(@ $($parameters)*)
    };
    (@ ($($p:ident: $t:ty),+ $(,)?)) => {
        vec![$(<$t as sqlx::Type<sqlx::Postgres>>::type_info()),+]
    };
    (@ $limit:literal) => {
        vec![]
    };
    (@ $($p:ident: $t:ty),* $(,)?) => {
        vec![$(<$t as sqlx::Type<sqlx::Postgres>>::type_info()),*]
    };
}
pub(super) use types;

macro_rules! reader {
    (execute) => {
        |_| Ok(())
    };
    (scalar $row:ty) => {
        |row| Ok(<($row,) as sqlx::FromRow<sqlx::postgres::PgRow>>::from_row(row).map(drop)?)
    };
    (row $row:ty) => {
        |row| Ok(<$row as sqlx::FromRow<sqlx::postgres::PgRow>>::from_row(row).map(drop)?)
    };
    (limited $row:ty) => {
        $crate::store::statements::reader!(row $row)
    };
    (read ($read:expr)) => {
        |row| $read(row).map(drop)
    };
}
pub(super) use reader;
