//! The answer to a call, before it becomes bytes.

use std::time::Duration;

use time::OffsetDateTime;

use crate::document::Node;
use crate::identity::{self, Links};
use crate::scenario::Scenario;

/// The API version that wraps its answers in `ResultObject`.
pub const ENVELOPE_VERSION: &str = "2020-11-12";

/// The body of a successful `DescribeVerifyResult`.
pub fn result(
    scenario: &Scenario,
    (status, scores): (i32, [Option<f64>; 3]),
    biz_id: &str,
    links: Option<&Links>,
    now: OffsetDateTime,
) -> Vec<(&'static str, Node)> {
    let shape = scenario.shape;
    let authority = if shape.doc_spelling {
        "AuthorityComparisonScore"
    } else {
        // The wire's own spelling, with one i too many.
        "AuthorityComparisionScore"
    };
    let names = [authority, "FaceComparisonScore", "IdCardFaceComparisonScore"];
    let status_node =
        if shape.strings { Node::from(status.to_string()) } else { Node::Whole(i64::from(status)) };
    let mut members = vec![("VerifyStatus", status_node)];
    for (name, score) in names.into_iter().zip(scores) {
        let Some(score) = score else { continue };
        members.push((
            name,
            if shape.bad_score { Node::from("n/a") } else { number(score, shape.strings) },
        ));
    }
    if shape.extra {
        members.push(("NewField", Node::Object(vec![("x", Node::Whole(1))])));
    }
    // Nothing was submitted, or nobody has looked at it: there is nothing to show.
    if !matches!(status, -1 | 0) && !scenario.person.no_material {
        members.push(("Material", identity::material(scenario, biz_id, links, now)));
    }
    members
}

/// 97 rather than 97.0, as the vendor's examples print it.
fn number(score: f64, as_text: bool) -> Node {
    if as_text {
        return Node::from(score.to_string());
    }
    #[expect(clippy::cast_possible_truncation, reason = "0 to 100, and whole")]
    let whole = score as i64;
    if score.fract() == 0.0 { Node::Whole(whole) } else { Node::Number(score) }
}

/// The body of a successful `DescribeVerifyToken`.
pub fn token(
    token: String,
    biz_type: &str,
    base: &str,
    expires: OffsetDateTime,
) -> Vec<(&'static str, Node)> {
    let mut members = Vec::with_capacity(3);
    if biz_type.starts_with("RPH5BioOnly") {
        members.push(("VerifyPageUrl", Node::from(format!("{base}/h5/{token}"))));
    }
    let upload = vec![
        ("Bucket", Node::from("sandbox")),
        ("EndPoint", Node::from(base)),
        ("Expired", Node::Whole(expires.unix_timestamp() * 1000)),
        ("Key", Node::from("STS.sandbox")),
        ("Path", Node::from(format!("verify/{token}/"))),
        ("Secret", Node::from("sandbox")),
        ("Token", Node::from("sandbox")),
    ];
    members.push(("VerifyToken", Node::from(token)));
    members.push(("OssUploadToken", Node::Object(upload)));
    members
}

/// Puts the request id and whatever levels are wanted around the members.
pub fn wrap(
    members: Vec<(&'static str, Node)>,
    request_id: &str,
    envelope: bool,
    data: bool,
) -> Node {
    let id = ("RequestId", Node::from(request_id));
    if envelope {
        return Node::Object(vec![
            id,
            ("Code", Node::from("200")),
            ("Message", Node::from("success")),
            ("Success", Node::Flag(true)),
            ("ResultObject", Node::Object(members)),
        ]);
    }
    if data {
        return Node::Object(vec![id, ("Data", Node::Object(members))]);
    }
    Node::Object(std::iter::once(id).chain(members).collect())
}

/// Now plus a duration of the settings, whatever it is.
pub fn after(now: OffsetDateTime, by: Duration) -> OffsetDateTime {
    time::Duration::try_from(by).map_or(now, |by| now.saturating_add(by))
}
