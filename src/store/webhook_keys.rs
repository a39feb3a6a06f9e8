//! The keys of webhook endpoints: data keys under keys of the vault, and keys that verify signatures.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::EndpointId;

/// The wrapped data key of an endpoint.
#[derive(Clone, Debug, FromRow)]
pub struct EndpointKey {
    pub id: Uuid,
    pub key_id: String,
    pub wrapped: Vec<u8>,
}

/// A key that verifies `v1a` signatures.
#[derive(Clone, Debug, FromRow)]
pub struct PublicKey {
    pub endpoint_id: Uuid,
    pub public_key: Vec<u8>,
    /// `None`: until the next rotation.
    pub until: Option<OffsetDateTime>,
}

/// Keys of webhook endpoints.
#[derive(Clone, Copy, Debug)]
pub struct WebhookKeys<'a>(&'a Store);

impl Store {
    /// Keys of webhook endpoints.
    pub fn webhook_keys(&self) -> WebhookKeys<'_> {
        WebhookKeys(self)
    }
}

impl WebhookKeys<'_> {
    /// The wrapped data key of an endpoint.
    pub async fn find(self, id: EndpointId) -> Result<Option<EndpointKey>> {
        self.0.run(|| find_key(id.0).fetch_optional(&self.0.pool)).await
    }

    /// The keys that verify `v1a` signatures now.
    pub async fn public(self) -> Result<Vec<PublicKey>> {
        self.0.run(|| list_public_keys().fetch_all(&self.0.pool)).await
    }

    /// Data keys that are not wrapped by this key.
    pub async fn to_rewrap(self, primary: &str) -> Result<Vec<EndpointKey>> {
        self.0.run(|| find_keys_to_rewrap(primary).fetch_all(&self.0.pool)).await
    }

    /// A few of the data keys under this key, to try whether they open.
    pub async fn under(self, key_id: &str, few: i64) -> Result<Vec<EndpointKey>> {
        self.0.run(|| find_keys_under(key_id, few).fetch_all(&self.0.pool)).await
    }

    /// Puts a rewrapped data key in the place of the old form; `false` if that has changed meanwhile.
    pub async fn replace(self, id: EndpointId, old: &[u8], new: (&str, &[u8])) -> Result<bool> {
        self.0
            .run(|| async {
                replace_key(id.0, old, new.0, new.1)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
            .await
    }
}

statements! {
    row find_key(id: Uuid) -> EndpointKey =
        "select id, key_id, wrapped from webhook_endpoints where id = $1";

    row list_public_keys() -> PublicKey =
        "select id as endpoint_id, public_key, null::timestamptz as until
         from webhook_endpoints where public_key is not null
         union all
         select id, previous_public_key, previous_until
         from webhook_endpoints
         where previous_public_key is not null and previous_until > verdict_now()
         order by endpoint_id, until nulls first";

    row find_keys_to_rewrap(primary: &str) -> EndpointKey =
        "select id, key_id, wrapped from webhook_endpoints where key_id <> $1 order by id";

    row find_keys_under(key_id: &str, few: i64) -> EndpointKey =
        "select id, key_id, wrapped from webhook_endpoints where key_id = $1 limit $2";

    execute replace_key(id: Uuid, old: &[u8], key_id: &str, wrapped: &[u8]) =
        "update webhook_endpoints set key_id = $3, wrapped = $4 where id = $1 and wrapped = $2";
}
