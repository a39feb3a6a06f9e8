//! All that is held of one verification, opened, as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::ids::{ResultId, VerificationId};
use crate::images::archive::{Archive, ArchiveError, ImageId};
use crate::store::audit::AuditContext;
use crate::store::persons::{SealedPart, SealedValue};
use crate::store::{self, Store};
use crate::vault::{DataKey, OpenError, SealedAt, Vault, WrappedKey};

/// What is exported, and with what it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    pub store: &'a Store,
    pub vault: &'a Vault,
    /// `None`: images are listed without their bytes.
    pub archive: Option<&'a Archive>,
    /// With the bodies of results as the provider sent them. Only the owner of the database may
    /// read them.
    pub with_bodies: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the data key does not open: {0}")]
    Key(#[from] OpenError),
    #[error("a stored value does not open")]
    Value,
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Export<'_> {
    /// Of one verification; `None`: there is none, or the person was erased meanwhile. Recorded
    /// before anything is read.
    pub async fn of(
        self,
        id: VerificationId,
        context: &AuditContext,
    ) -> Result<Option<Value>, ExportError> {
        let Some(mut held) = self.store.persons().export(id, context).await? else {
            return Ok(None);
        };
        let Some((key_id, bytes)) = self.store.reviews().data_key_of(id).await? else {
            return Ok(Some(held));
        };
        let key = self.vault.open_data_key(id, &WrappedKey { key_id, bytes })?;
        let mut sealed = self.store.persons().sealed_values(id).await?;
        if self.with_bodies {
            sealed.extend(self.store.persons().sealed_bodies(id).await?);
        }
        for value in &sealed {
            add_opened(&mut held, id, &key, value)?;
        }
        if let Some(archive) = self.archive {
            add_images(&mut held, id, &key, archive).await?;
        }
        Ok(Some(held))
    }
}

/// Puts an opened value beside what it belongs to.
fn add_opened(
    held: &mut Value,
    id: VerificationId,
    key: &DataKey,
    value: &SealedValue,
) -> Result<(), ExportError> {
    let (list, member, sealed_at) = match value.part {
        SealedPart::Material => ("results", "person", SealedAt::Material(ResultId(value.id))),
        SealedPart::Body => ("results", "body", SealedAt::ResultBody(ResultId(value.id))),
        SealedPart::Note => ("reviews", "note", SealedAt::ReviewNote(value.id)),
        SealedPart::StartAnswer => ("start", "answer", SealedAt::StartAnswer(id)),
    };
    let opened = key.open(sealed_at, &value.bytes).map_err(|_| ExportError::Value)?;
    let text = String::from_utf8_lossy(&opened);
    // A note is text, also where it looks like something else.
    let opened = match value.part {
        SealedPart::Note => json!(text),
        _ => serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
    };
    let object = match held.get_mut(list) {
        Some(Value::Array(items)) => {
            let id = value.id.to_string();
            items.iter_mut().find(|item| item["id"] == *id).and_then(Value::as_object_mut)
        }
        Some(Value::Object(object)) => Some(object),
        _ => None,
    };
    // A value written after the document was read has no place in it.
    if let Some(object) = object {
        object.insert(member.to_owned(), opened);
    }
    Ok(())
}

/// Adds the bytes of each archived image, in base64.
async fn add_images(
    held: &mut Value,
    id: VerificationId,
    key: &DataKey,
    archive: &Archive,
) -> Result<(), ExportError> {
    let images = held["images"].as_array_mut().into_iter().flatten();
    for image in images.filter_map(Value::as_object_mut) {
        if let Some(of) = archived(id, image) {
            let longest = image["bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
            let content = match archive.get(&of, longest.unwrap_or(usize::MAX)).await? {
                Some(sealed) => {
                    let opened =
                        key.open(of.sealed_at(), &sealed).map_err(|_| ExportError::Value)?;
                    json!(STANDARD.encode(&opened[..]))
                }
                // Retention deleted it a moment ago, or it is lost: the row says that it was there.
                None => Value::Null,
            };
            image.insert("content_base64".to_owned(), content);
        }
    }
    Ok(())
}

fn archived(verification: VerificationId, image: &Map<String, Value>) -> Option<ImageId> {
    if image["state"] != "archived" {
        return None;
    }
    let result: Uuid = image["result_id"].as_str()?.parse().ok()?;
    let kind = image["kind"].as_str()?.parse().ok()?;
    Some(ImageId { verification, result: ResultId(result), kind })
}
