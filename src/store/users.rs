//! People who work in the console.

use sqlx::FromRow;
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::ids::UserId;
use crate::domain::scenes::Scenes;
use crate::domain::scope::Scope;
use crate::domain::user::User;
use crate::domain::zone::Zone;

/// A user's columns that a page needs.
#[derive(Clone, Debug, FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    name: String,
    language: String,
    theme: String,
    time_zone: String,
    scopes: Vec<String>,
    scenes: Option<Vec<String>>,
}

impl TryFrom<UserRow> for User {
    type Error = Error;

    /// A scope that this version does not know is left out; a limit that it cannot read refuses the
    /// user.
    fn try_from(row: UserRow) -> Result<Self> {
        let scenes = match &row.scenes {
            None => Scenes::EVERY,
            Some(names) => Scenes::only(names.iter().map(String::as_str))
                .map_err(|_| Error::Inconsistent("users.scenes"))?,
        };
        Ok(Self {
            id: UserId(row.id),
            name: row.name,
            language: row.language.parse().unwrap_or_default(),
            theme: row.theme.parse().unwrap_or_default(),
            zone: Zone::parse(&row.time_zone).unwrap_or(Zone::UTC),
            scopes: row.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect(),
            scenes,
        })
    }
}
