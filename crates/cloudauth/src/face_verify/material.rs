//! The person in a result. Nothing here prints itself, and all text is wiped when dropped.

use std::fmt;

use secrecy::SecretString;

use super::malformed;
use super::nested::{members, object, one_object};
use crate::decoding::fields;
use crate::decoding::tree::Node;
use crate::wire::{CardDate, IdCard};

/// The person and the images of a result. Any of it may be missing: pictures are there only if the
/// scene keeps them.
#[derive(Clone)]
pub struct Material {
    /// `facialPictureFront.pictureUrl`: good for 15 minutes from the answer, like all image links
    /// here. It may be plain http.
    pub face_image_url: Option<SecretString>,
    /// `facialPictureFront.verifyVideoUrl`.
    pub video_url: Option<SecretString>,
    /// `ocrIdCardInfo` with the links of `ocrPictureFront`: only if the card was photographed.
    pub id_card: Option<IdCard>,
    /// `UserInfo`: only if the person had to type rare characters.
    pub user_info: Option<UserInfo>,
    /// `DeviceToken`: identifies the device.
    pub device_token: Option<SecretString>,
    /// Objects in the customer's own bucket. `DeleteFaceVerifyResult` leaves them there.
    pub stored_objects: Vec<StoredObject>,
}

/// `UserInfo`: what the person typed.
#[derive(Clone)]
pub struct UserInfo {
    /// `name`.
    pub name: Option<SecretString>,
    /// `number`.
    pub number: Option<SecretString>,
    /// `verifyName`: the name as it was compared.
    pub verify_name: Option<SecretString>,
}

/// An object in the customer's own bucket.
#[derive(Clone)]
pub struct StoredObject {
    /// `ossBucketName`.
    pub bucket: Option<SecretString>,
    /// The name of the object.
    pub object: SecretString,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserInfo").finish_non_exhaustive()
    }
}

impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredObject").finish_non_exhaustive()
    }
}

impl Material {
    /// `holders` may have the members of the result, `info` is the material, and `places` may have
    /// those of the face picture.
    pub(super) fn read(
        holders: &[&Node],
        info: &[&Node],
        places: &[&Node],
        malformed: &mut Vec<String>,
    ) -> Option<Self> {
        let card = one_object(info, "ocrIdCardInfo", malformed, malformed::ID_CARD);
        let pictures: Vec<_> = members(info, "ocrPictureFront").filter_map(object).collect();
        let pictures: Vec<&Node> = pictures.iter().map(|picture| &**picture).collect();
        let mut objects = stored_objects(places, &["ossObjectName", "ossVerifyVideoObjectName"]);
        let of_card = ["ossIdFaceObjectName", "ossIdNationalEmblemObjectName"];
        objects.extend(stored_objects(&pictures, &of_card));
        let material = Self {
            face_image_url: secret(places, "pictureUrl"),
            video_url: secret(places, "verifyVideoUrl"),
            id_card: id_card(card.as_deref(), &pictures),
            user_info: user_info(holders),
            device_token: secret(holders, "DeviceToken"),
            stored_objects: objects,
        };
        material.is_filled().then_some(material)
    }

    const fn is_filled(&self) -> bool {
        self.face_image_url.is_some()
            || self.video_url.is_some()
            || self.id_card.is_some()
            || self.user_info.is_some()
            || self.device_token.is_some()
            || !self.stored_objects.is_empty()
    }
}

/// The first text of that name that is not missing.
fn secret(places: &[&Node], name: &str) -> Option<SecretString> {
    let mut nodes = members(places, name).filter(|node| !fields::is_absent(node));
    fields::secret(nodes.next())
}

fn id_card(card: Option<&Node>, pictures: &[&Node]) -> Option<IdCard> {
    let card: Vec<&Node> = card.into_iter().collect();
    let text = |name| secret(&card, name);
    let date = |name| text(name).map(CardDate::read);
    let read = IdCard {
        name: text("certName"),
        number: text("certNo"),
        nationality: text("nationality"),
        sex: text("sex"),
        address: text("address"),
        authority: text("authority"),
        birth: date("birth"),
        start_date: date("startDate"),
        end_date: date("endDate"),
        front_image_url: secret(pictures, "ossIdFaceUrl"),
        back_image_url: secret(pictures, "ossIdNationalEmblemUrl"),
    };
    let texts = [
        &read.name,
        &read.number,
        &read.nationality,
        &read.sex,
        &read.address,
        &read.authority,
        &read.front_image_url,
        &read.back_image_url,
    ];
    let dates = [&read.birth, &read.start_date, &read.end_date];
    let filled = texts.into_iter().any(Option::is_some) || dates.into_iter().any(Option::is_some);
    filled.then_some(read)
}

fn user_info(holders: &[&Node]) -> Option<UserInfo> {
    let nodes = members(holders, "UserInfo").filter(|node| !fields::is_absent(node));
    let info: Vec<_> = nodes.filter_map(object).collect();
    let info: Vec<&Node> = info.iter().map(|info| &**info).collect();
    let read = UserInfo {
        name: secret(&info, "name"),
        number: secret(&info, "number"),
        verify_name: secret(&info, "verifyName"),
    };
    let filled = read.name.is_some() || read.number.is_some() || read.verify_name.is_some();
    filled.then_some(read)
}

fn stored_objects(places: &[&Node], names: &[&str]) -> Vec<StoredObject> {
    let bucket = secret(places, "ossBucketName");
    let objects = names.iter().filter_map(|name| secret(places, name));
    objects.map(|object| StoredObject { bucket: bucket.clone(), object }).collect()
}
