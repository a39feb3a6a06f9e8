//! Policies from their authors' view: trying one case, texts in one language, missing evidence.

use serde_json::{Value, json};

use crate::harness::{Callback, Options, Setting, TestApp, eventually, now};
use crate::policies::{DEFAULT, added, decided, send};

/// `policy try` with this policy and document: exit code, output, what it complained of.
async fn tried(setting: &Setting, policy: &str, document: &str) -> (i32, Value, String) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("candidate.toml");
    std::fs::write(&file, policy).unwrap();
    let arguments = ["policy", "try", "--policy", file.to_str().unwrap(), "--evidence", "-"];
    let (code, out, error) = setting.run(&arguments, document).await;
    (code, serde_json::from_str(&out).unwrap_or_default(), error)
}

#[tokio::test]
async fn rules_examples_results_and_try_use_the_same_fields() {
    let app = TestApp::start().await;
    let verified = app.verified("pass-85").await;
    let result = app.results(verified["id"].as_str().unwrap()).await.remove(0);
    let expected = json!({
        "status": 1, "authority_score": 85.0, "malformed_fields": 0, "calls": 1, "callbacks": 1,
        "answers": 1, "biz_type": "test"
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(result["fields"][name], *value, "{name}: {result}");
    }
    let null = |value: &Value| value.as_object().unwrap().values().any(Value::is_null);
    assert!(!null(&result["fields"]), "absent fields are left out: {}", result["fields"]);

    // Both forms of a result are taken as they are, and decide as the service did.
    let setting = Setting::new(Options::default()).await;
    for form in ["fields", "evidence"] {
        let (code, decision, error) = tried(&setting, DEFAULT, &result[form].to_string()).await;
        assert_eq!((code, error.as_str()), (0, ""), "{form}");
        assert_eq!(decision["outcome"], "review", "{form}");
        assert_eq!(decision["reasons"][0]["code"], "score-too-low", "{form}");
    }
    let (code, decision, _) = tried(&setting, DEFAULT, "{\"status\": 1, \"face_score\": 97}").await;
    assert_eq!((code, &decision["outcome"]), (0, &json!("approve")));
}

#[tokio::test]
async fn a_wrong_document_is_refused_by_line_and_member() {
    let setting = Setting::new(Options::default()).await;
    for (document, said) in [
        (
            "{\"status\": 1,\n\"authorty_score\": 97}",
            "line 2: there is no field `authorty_score`; did you mean `authority_score`?",
        ),
        (
            "{\"status\": 1,\n\n\"age\": 18}",
            "line 3: there is no field `age`; did you mean `age_years`?",
        ),
        (
            "{\"status\": \"1\"}",
            "line 1: `status`: `status` holds a whole number, not a text; write 1 without quotes",
        ),
        ("{\"status\": 1,\n\"face_score\": 140}", "line 2: `face_score`: `face_score` is a score"),
        (
            "{\"status\": 1,\n\"face_score\": 14,\n\"face_score\": 15}",
            "line 3: `face_score` is given twice",
        ),
        ("{\"status\": null}", "line 1: `status` cannot be null"),
        (
            "{\"status\": 1, \"lowest_score\": 97}",
            "line 1: `lowest_score` follows from the scores; give those",
        ),
        (
            "{\"verify_status\": 1,\n\"scores\": {\"authorty\": 97}}",
            "line 2: there is no `scores.authorty`; did you mean `authority`?",
        ),
        (
            "{\"verify_status\": 1,\n\"images\": {\"face\": 1}}",
            "line 2: `images.face`: `has_face_image` holds true or false",
        ),
        ("{\"verify_status\": 1, \"malformed\": 3}", "line 1: `malformed` must be a list of texts"),
        ("{\"id\": 7, \"evidence\": {}}", "line 1: there is no field `id`"),
        ("{\"evidence\": {\"status\": 1}}", "give only the object under `fields` or `evidence`"),
        ("{\"face_score\": 97}", "line 1: `status` is missing: every answer has one"),
        ("[1]", "one object of evidence"),
        ("{\"status\": 1} x", "line 1: trailing characters"),
        ("", "line 1: EOF while parsing"),
    ] {
        let (code, _, error) = tried(&setting, DEFAULT, document).await;
        assert_eq!(code, 2, "{document}: {error}");
        assert!(error.contains(said), "{document}: {error}");
    }
}

#[tokio::test]
async fn policy_with_failing_example_can_be_tried_with_errors_not() {
    let setting = Setting::new(Options::default()).await;
    let failing =
        DEFAULT.replacen("outcome = \"approve\"\nreasons", "outcome = \"reject\"\nreasons", 1);
    assert_ne!(failing, DEFAULT);
    let case = "{\"status\": 1, \"face_score\": 97}";
    let (code, decision, error) = tried(&setting, &failing, case).await;
    assert_eq!((code, &decision["outcome"]), (0, &json!("approve")), "{error}");
    assert!(error.contains("warning: the example \"passed with a high score\""), "{error}");
    let broken = DEFAULT.replacen("\"lowest_score\", ge", "\"lowst_score\", ge", 1);
    let (code, _, error) = tried(&setting, &broken, case).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("did you mean `lowest_score`?"), "{error}");
}

#[tokio::test]
async fn text_in_one_language_is_enough_everywhere() {
    let app = TestApp::start().await;
    for (language, text) in [("en", "Too low."), ("zh", "分数偏低。"), ("ja", "低すぎます。")]
    {
        let start = DEFAULT.find("text = { zh = \"认证通过，但人脸比对分数偏低").unwrap();
        let end = start + DEFAULT[start..].find('\n').unwrap();
        let policy =
            format!("{}text = {{ {language} = \"{text}\" }}{}", &DEFAULT[..start], &DEFAULT[end..]);
        let digest = added(&app, &policy).await;
        let path = format!("/v1/policies/{digest}/activate");
        let body = json!({ "biz_type": language }).to_string();
        assert_eq!(send(&app, "POST", &path, body).await.status, 204);
        let shown = eventually("the policy decides", || async {
            let n = now().unix_timestamp_nanos();
            let body = json!({ "biz_type": language, "biz_id": format!("pass-75-u{n}") });
            let callback = Callback::signed(&body.to_string(), app.clock.now());
            let id = app.post(callback).await.id();
            app.settled(&id).await;
            let decision = app.decisions(&id).await.remove(0);
            let is_new = decision["policy"] == digest.as_str();
            is_new.then(|| decision["explanation"][0]["text"].clone())
        })
        .await;
        assert_eq!(shown, json!({ language: text }));
    }
}

#[tokio::test]
async fn missing_evidence_names_rule_and_field_and_what_to_write() {
    let app = TestApp::start().await;
    let rule = "[[rule]]\nid = \"often\"\nreason = \"often\"\noutcome = \"review\"\n\
                text = { en = \"often\" }\nwhen = { field = \"earlier_1d\", ge = 3 }\n";
    let (rules, _examples) = DEFAULT.split_once("[[example]]").unwrap();
    let policy = format!("{rules}\n{rule}");
    let said = "the rule `often` could not be judged without `earlier_1d`: write `missing = true` or \
                `missing = false`";

    // In a check.
    let checked = send(&app, "POST", "/v1/policies/check", policy.as_str()).await;
    let finding = checked.text.contains("where `earlier_1d` is absent this rule gives");
    assert!(finding && checked.text.contains("missing = false"), "{checked:?}");
    // In an example.
    let checked = send(&app, "POST", "/v1/policies/check", format!("{DEFAULT}\n{rule}")).await;
    assert!(checked.text.contains(said), "{checked:?}");
    // In a decision.
    let digest = added(&app, &policy).await;
    assert_eq!(
        send(&app, "POST", &format!("/v1/policies/{digest}/activate"), "").await.status,
        204
    );
    decided(&app, "a", "97", "review").await;
    let list = app.get("/v1/verifications?biz_type=a&outcome=review").await;
    let id = list.json["items"][0]["id"].as_str().unwrap().to_owned();
    let decision = app.decisions(&id).await.remove(0);
    let reason = &decision["explanation"][0];
    assert_eq!((&reason["code"], &reason["rule"]), (&json!("evidence-missing"), &json!("often")));
    assert!(reason["detail"].as_str().unwrap().contains(said), "{reason}");
    assert_eq!(decision["explanation"][1]["detail"], Value::Null);
    // In a trial.
    let setting = Setting::new(Options::default()).await;
    let (_, tried, _) = tried(&setting, &policy, "{\"status\": 1, \"face_score\": 97}").await;
    assert!(tried["reasons"][0]["detail"].as_str().unwrap().contains(said), "{tried}");
}
