//! The members that the documents of `DescribeFaceVerify` and its gateway name.

use crate::decoding::oddities::Vocabulary;

pub(super) static VOCABULARY: Vocabulary =
    Vocabulary { members: MEMBERS, deciding: &["Code", "Passed", "ResultObject"] };

const MEMBERS: &[&str] = &[
    "CertifyId",
    "CertifyUrl",
    "Code",
    "Data",
    "DegradeInfo",
    "DeleteResult",
    "DeviceRisk",
    "DeviceToken",
    "Error",
    "FailReason",
    "HostId",
    "IdentityInfo",
    "Items",
    "MaterialInfo",
    "Message",
    "OuterOrderNo",
    "Passed",
    "Recommend",
    "RequestId",
    "ResultObject",
    "SubCode",
    "Success",
    "TotalCount",
    "UserInfo",
    "address",
    "authority",
    "birth",
    "certName",
    "certNo",
    "endDate",
    "faceAge",
    "faceAttack",
    "faceAttackScore",
    "faceGender",
    "faceOcclusion",
    "facialPictureFront",
    "guardRiskScore",
    "idCardVerifyScore",
    "name",
    "nationality",
    "number",
    "ocrIdCardInfo",
    "ocrIdEditInfo",
    "ocrPictureFront",
    "ossBucketName",
    "ossIdFaceObjectName",
    "ossIdFaceUrl",
    "ossIdNationalEmblemObjectName",
    "ossIdNationalEmblemUrl",
    "ossObjectName",
    "ossVerifyVideoObjectName",
    "pictureUrl",
    "qualityBackground",
    "qualityBlur",
    "qualityIllu",
    "qualityOccu",
    "qualityScore",
    "qualityWearHat",
    "sex",
    "startDate",
    "verifyName",
    "verifyScore",
    "verifyVideoUrl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_members_are_in_order() {
        assert!(MEMBERS.is_sorted());
    }
}
