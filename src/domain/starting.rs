//! Starting a verification: what the caller gives, what the provider gives back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::callback::{BizId, BizType, parse_reference};
use super::members::{FieldError, Members};

/// How long the provider's token lives (its document, and DESIGN §6).
pub const TOKEN_LIVES: Duration = Duration::from_mins(30);

/// What may be handed through to the provider, by our name and the provider's, with the longest
/// value in characters. Its `CallbackUrl` is left out: how it calls is documented nowhere.
const HANDED_THROUGH: [(&str, &str, usize); 10] = [
    ("/name", "Name", 128),
    ("/id_card_number", "IdCardNumber", 32),
    ("/id_card_front_image_url", "IdCardFrontImageUrl", 2_048),
    ("/id_card_back_image_url", "IdCardBackImageUrl", 2_048),
    ("/face_retained_image_url", "FaceRetainedImageUrl", 2_048),
    ("/user_id", "UserId", 128),
    ("/user_ip", "UserIp", 64),
    ("/user_phone_number", "UserPhoneNumber", 32),
    ("/passed_redirect_url", "PassedRedirectUrl", 2_048),
    ("/failed_redirect_url", "FailedRedirectUrl", 2_048),
];

/// A verification to be started. Its `Debug` shows nothing of the person.
pub struct Starting {
    /// Scene.
    pub biz_type: BizType,
    /// Task.
    pub biz_id: BizId,
    /// The caller's own reference.
    pub reference: Option<String>,
    /// The source of callbacks that it shall belong to.
    pub source: Option<String>,
    /// For the provider alone, by its own names; kept nowhere.
    pub handed_through: Vec<(&'static str, Zeroizing<String>)>,
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting")
            .field("biz_type", &self.biz_type)
            .field("biz_id", &self.biz_id)
            .finish_non_exhaustive()
    }
}

impl Starting {
    /// Reads a body; unlike a callback's, an unknown member is refused: one that is misspelt would
    /// start another verification than was meant.
    pub fn parse(members: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut reader = Members::of(members);
        let biz_type = reader.required("/biz_type", BizType::parse);
        let biz_id = reader.required("/biz_id", BizId::parse);
        let reference = reader.optional("/reference", parse_reference);
        let source = reader.optional("/source", |text| Ok(text.to_owned()));
        let mut handed_through = Vec::new();
        for (pointer, name, most) in HANDED_THROUGH {
            let value = reader.optional(pointer, |text| {
                let fits = (1..=most).contains(&text.chars().count()) && !text.contains('\0');
                fits.then(|| Zeroizing::new(text.to_owned()))
                    .ok_or("must not be empty, nor too long, nor hold NUL")
            });
            handed_through.extend(value.map(|value| (name, value)));
        }
        let own = ["biz_type", "biz_id", "reference", "source"];
        let others = HANDED_THROUGH.map(|(pointer, ..)| pointer.trim_start_matches('/'));
        reader.only(&[&own[..], &others[..]].concat());
        match (biz_type, biz_id) {
            (Some(biz_type), Some(biz_id)) if reader.errors.is_empty() => {
                Ok(Self { biz_type, biz_id, reference, source, handed_through })
            }
            _ => Err(reader.errors),
        }
    }
}

/// What the phone needs to go on. Its `Debug` shows nothing: the token opens the verification.
pub struct Started {
    /// `VerifyToken`.
    pub token: Zeroizing<String>,
    /// `VerifyPageUrl`, of the old H5 scheme only.
    pub page_url: Option<String>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// Why nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The provider refuses this one, with its code.
    Refused(Option<String>),
    /// It cannot be asked now: away, throttling, or refusing us all.
    Unavailable {
        /// How long it wants to be left alone.
        wait: Option<Duration>,
        /// Its code, if it said one.
        code: Option<String>,
    },
}

/// Asks the provider to start one; the composition root puts its client behind this.
pub type Starter = Arc<
    dyn Fn(
            Starting,
        ) -> Pin<Box<dyn Future<Output = Result<(Starting, Started), NotStarted>> + Send>>
        + Send
        + Sync,
>;
