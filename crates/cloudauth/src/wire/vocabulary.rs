//! The members that the documents of `DescribeVerifyResult` and its gateway name.

use crate::decoding::oddities::Vocabulary;

pub(super) static VOCABULARY: Vocabulary =
    Vocabulary { members: MEMBERS, deciding: &["VerifyStatus"] };

const MEMBERS: &[&str] = &[
    "Address",
    "Authority",
    "AuthorityComparisionScore",
    "AuthorityComparisonScore",
    "BackImageUrl",
    "Birth",
    "Code",
    "Data",
    "EndDate",
    "Error",
    "FaceComparisonScore",
    "FaceGlobalUrl",
    "FaceImageUrl",
    "FaceMask",
    "FaceQuality",
    "FrontImageUrl",
    "HostId",
    "IdCardFaceComparisonScore",
    "IdCardInfo",
    "IdCardName",
    "IdCardNumber",
    "Material",
    "Message",
    "Name",
    "Nationality",
    "Number",
    "Recommend",
    "RequestId",
    "ResultObject",
    "Sex",
    "StartDate",
    "Success",
    "VerifyStatus",
    "VerifyToken",
    "VideoUrls",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_members_are_in_order() {
        assert!(MEMBERS.is_sorted());
    }
}
