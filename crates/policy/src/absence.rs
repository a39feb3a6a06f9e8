//! How absent fields read: which are absent together, and which read as zero or false.

use crate::field::{Field, Reading, Value};

/// Reads an answer of which nothing is known but that this field is absent.
pub fn without<'r>(field: Field) -> impl Fn(Field) -> Reading<'r> {
    move |other| if goes_with(field).contains(&other) { absent(other) } else { Reading::Unknowable }
}

/// How an absent field reads: counts are 0, images are not there.
pub fn absent(field: Field) -> Reading<'static> {
    match field {
        Field::ScoresPresent => Reading::Value(Value::Whole(0)),
        Field::HasFaceImage
        | Field::HasCardFrontImage
        | Field::HasCardBackImage
        | Field::HasFaceGlobalImage => Reading::Value(Value::Flag(false)),
        _ => Reading::Absent,
    }
}

/// The fields that are absent together with this one: without the lowest score there is none.
fn goes_with(field: Field) -> Vec<Field> {
    match field {
        Field::LowestScore | Field::ScoresPresent => vec![
            Field::LowestScore,
            Field::ScoresPresent,
            Field::AuthorityScore,
            Field::FaceScore,
            Field::IdCardFaceScore,
        ],
        _ => vec![field],
    }
}
