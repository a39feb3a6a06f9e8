//! Odd answers of face-verify against policies that would like to approve.

use policy::Policy;
use policy::decision::Outcome;
use policy::evidence::History;
use policy::product::Product;
use time::macros::datetime;

/// Forms of one part of an answer: its text, and whether it may stand in one that approves.
type Forms = &'static [(&'static str, bool)];

const CODES: Forms = &[
    (r#""Code":"200","#, true),
    (r#""Code":200,"#, true),
    (r#""code":"200","#, true),
    (r#""Code":"200","Code":"500","#, false),
    (r#""Code":"200","Success":"False","#, false),
    (r#""Code":"0200","#, false),
    (r#""Code":"424","#, false),
    (r#""Code":"417","#, false),
    (r#""Code":"427","#, false),
    (r#""Code":"500","#, false),
    (r#""Code":"999","#, false),
    (r#""Code":["200"],"#, false),
    (r#""Code":true,"#, false),
    ("", false),
];
const PASSED: Forms = &[
    (r#""Passed":"T","#, true),
    (r#""passed":"T","#, true),
    (r#""Passed":" T ","#, true),
    (r#""Passed":"F","#, false),
    (r#""Passed":"T","Passed":"F","#, false),
    (r#""Passed":"T","PASSED":"F","#, false),
    (r#""Passed":"t","#, false),
    (r#""Passed":"TRUE","#, false),
    (r#""Passed":true,"#, false),
    (r#""Passed":1,"#, false),
    (r#""Passed":["T"],"#, false),
    (r#""Passed":{"T":"T"},"#, false),
    (r#""Passed":null,"#, false),
    (r#""Passed":"\u0054\u200b","#, false),
    (r#""Passed":"Ｔ","#, false),
    (r#""Passe\ud800d":"F","Passed":"T","#, false),
    ("", false),
];
const SUB_CODES: Forms = &[
    (r#""SubCode":"200""#, true),
    (r#""SubCode":210"#, true),
    (r#""SubCode":200.0"#, true),
    (r#""SubCode":"200","subcode":"204""#, false),
    (r#""SubCode":"200","SubCode":"210""#, false),
    (r#""SubCode":"0200""#, false),
    (r#""SubCode":"+200""#, false),
    (r#""SubCode":"2e2""#, false),
    (r#""SubCode":"200.1""#, false),
    (r#""SubCode":"２００""#, false),
    (r#""SubCode":"200,204""#, false),
    (r#""SubCode":["200","204"]"#, false),
    (r#""SubCode":"201""#, false),
    (r#""SubCode":"205""#, false),
    (r#""SubCode":"208""#, false),
    (r#""SubCode":"417""#, false),
    (r#""SubCode":"424""#, false),
    (r#""SubCode":null"#, false),
    (r#""SubCode":"200 OK""#, false),
    (r#""Sub":"200""#, false),
];
const MATERIALS: Forms = &[
    ("", true),
    (r#","MaterialInfo":null"#, true),
    (r#","MaterialInfo":"""#, true),
    (r#","MaterialInfo":"null""#, true),
    (r#","MaterialInfo":{"facialPictureFront":{"verifyScore":"12.5"}}"#, true),
    (
        r#","MaterialInfo":"{\"faceAttack\":\"T\",\"facialPictureFront\":{\"verifyScore\":97}}""#,
        true,
    ),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":97}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":97}} F""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":97}}{}""#, false),
    (r#","MaterialInfo":"none""#, false),
    (r#","MaterialInfo":[]"#, false),
    (r#","MaterialInfo":false"#, false),
    (r#","MaterialInfo":0"#, false),
    (r#","MaterialInfo":"{}","MaterialInfo":"{}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":\"x\"}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":[{\"verifyScore\":97}]}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":\"high\"}}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":140}}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":\"NaN\"}}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"faceAttackScore\":1.5}}""#, false),
    (r#","MaterialInfo":"{\"facialPictureFront\":{\"verifyScore\":1,\"verifyScore\":2}}""#, false),
    (r#","MaterialInfo":"{\"faceOcclusion\":\"perhaps\"}""#, false),
    (r#","MaterialInfo":"{\"guardRiskScore\":-1}""#, false),
    (r#","DeviceRisk":{"ROOT":true}"#, false),
];

/// Answers of which at most one part, or any two of the deciding ones, is odd; and whether each may
/// be approved.
fn odd_answers() -> Vec<(u16, String, bool)> {
    let mut answers = Vec::new();
    let mut add = |http: u16, parts: [(&str, bool); 4]| {
        let [(code, a), (passed, b), (sub, c), (material, d)] = parts;
        let body = format!(r#"{{{code}"ResultObject":{{{passed}{sub}{material}}}}}"#);
        answers.push((http, body, a && b && c && d && http == 200));
    };
    for code in CODES {
        for passed in PASSED {
            for sub in SUB_CODES {
                add(200, [*code, *passed, *sub, MATERIALS[0]]);
            }
        }
    }
    for material in MATERIALS {
        for sub in SUB_CODES {
            for http in [200, 400, 424, 500, 503] {
                add(http, [CODES[0], PASSED[0], *sub, *material]);
            }
        }
    }
    answers
}

/// Conditions of approvals that look harmless.
const CONDITIONS: [&str; 14] = [
    r#"{ field = "product", eq = "face-verify" }"#,
    r#"{ field = "provider_outcome", eq = "passed" }"#,
    r#"{ field = "provider_outcome", ne = "not-passed" }"#,
    r#"{ field = "provider_outcome", not_in = ["not-passed", "refused"] }"#,
    r#"{ field = "provider_outcome", exists = false }"#,
    r#"{ field = "family", eq = "pass" }"#,
    r#"{ field = "code", in = ["200", "210"] }"#,
    r#"{ field = "code", not_in = ["201", "204"] }"#,
    r#"{ field = "malformed_fields", ge = 0 }"#,
    r#"{ field = "verify_score", ge = 0, missing = true }"#,
    r#"{ field = "face_attack", exists = true }"#,
    r#"{ field = "device_risk", contains_none = ["ROOT"], missing = true }"#,
    r#"{ field = "status", exists = false }"#,
    r#"{ not = { field = "family", in = ["face", "refused", "unknown"] } }"#,
];

/// A policy that approves under this condition and sends the rest to review.
fn approving(condition: &str, strict: bool) -> String {
    let rule = |id: &str, outcome: &str, when: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nreason = \"{id}\"\noutcome = \"{outcome}\"\n\
             text = {{ en = \"x\" }}\nwhen = {when}\n"
        )
    };
    let passed = r#"{ field = "provider_outcome", eq = "passed" }"#;
    let when =
        if strict { format!("{{ all = [{condition}, {passed}] }}") } else { condition.to_owned() };
    format!(
        "name = \"approving\"\n{}{}{}[[example]]\nname = \"no\"\nevidence = {{ product = \
         \"face-verify\", code = \"204\", passed = false }}\noutcome = \"review\"\nreasons = \
         [\"others\"]\n",
        rule("approval", "approve", &when),
        rule("others", "review", r#"{ field = "family", ne = "pass" }"#),
        rule(
            "rest",
            "review",
            r#"{ all = [{ field = "family", eq = "pass" }, { field = "status", ne = 1, missing = false }] }"#
        ),
    )
}

#[test]
fn no_policy_approves_an_odd_answer_of_face_verify() {
    let texts = CONDITIONS.iter().flat_map(|when| [approving(when, true), approving(when, false)]);
    let mut policies: Vec<Policy> = texts
        .filter_map(|text| {
            let bare = text.split("[[example]]").next().unwrap().to_owned();
            Policy::load(&text).or_else(|_| Policy::load(&bare)).ok()
        })
        .collect();
    assert!(policies.len() > 3, "some policies load");
    policies.push(Policy::load(crate::policies::DEFAULT).unwrap());
    let (mut count, mut wrong) = (0, Vec::new());
    for (http, body, may_approve) in odd_answers() {
        let reading = verdict::provider::read(Product::FaceVerify, http, body.as_bytes());
        let at = datetime!(2026-11-27 12:00 UTC);
        let evidence = reading.map(|read| read.evidence("1", History::of_calls(1), at));
        let Ok(evidence) = evidence else {
            assert!(!may_approve, "{http} {body}");
            continue;
        };
        for (n, policy) in policies.iter().enumerate() {
            let approves = policy::decide(policy, &evidence).outcome == Outcome::Approve;
            count += usize::from(approves);
            let is_default = n + 1 == policies.len();
            if approves && !may_approve || is_default && approves != may_approve {
                wrong.push(format!("{} {http} {body}", policy.text().lines().nth(6).unwrap()));
            }
        }
    }
    assert!(
        count > 100 && wrong.is_empty(),
        "{count} {}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}
