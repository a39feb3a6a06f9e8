//! From the provider's status to our decision, end to end.

use crate::harness::TestApp;

#[tokio::test]
async fn default_policy_decides_every_documented_status() {
    let app = TestApp::start().await;
    let cases = [
        ("pass-97.53", "approve", "provider-passed"),
        ("pass-90", "approve", "provider-passed"),
        ("scores-95-90-91", "approve", "provider-passed"),
        ("pass-89.99", "review", "score-too-low"),
        ("scores-99-99-58.2", "review", "score-too-low"),
        ("pass-noscore", "review", "score-missing"),
        ("status-2", "reject", "identity-not-confirmed"),
        ("status-3", "retry", "card-name-unreadable"),
        ("status-4", "retry", "card-number-unreadable"),
        ("status-5", "reject", "card-expired"),
        ("status-6", "reject", "face-differs-from-card"),
        ("status-7", "reject", "face-differs-from-authority"),
        ("status-8", "retry", "card-photo-not-original"),
        ("status-9", "reject", "not-the-account-holder"),
        ("status-10", "reject", "not-the-same-person"),
        ("status-11", "review", "authority-photo-unusable"),
        ("status-12", "review", "authority-service-failed"),
        ("status-42", "review", "status-unknown"),
        // A strong score changes nothing about a failed status.
        ("status-7-99", "reject", "face-differs-from-authority"),
        ("badscore-pass", "review", "evidence-malformed"),
        // However it is written.
        ("strings-pass-97", "approve", "provider-passed"),
        ("xml-pass-97", "approve", "provider-passed"),
        ("data-xml-status-7", "reject", "face-differs-from-authority"),
        ("envelope-pass-97", "approve", "provider-passed"),
        ("docspelling-pass-97", "approve", "provider-passed"),
        ("extra-longterm-pass-97", "approve", "provider-passed"),
    ];
    let mut ids = Vec::new();
    for (biz_id, _, _) in cases {
        ids.push(app.accepted(biz_id).await);
    }
    for (id, (biz_id, outcome, reason)) in ids.iter().zip(cases) {
        let verification = app.settled(id).await;
        let decision = &verification["decision"];
        assert_eq!(verification["state"], "decided", "{biz_id}");
        assert_eq!(decision["outcome"], outcome, "{biz_id}: {decision}");
        let reasons = decision["reasons"].as_array().unwrap();
        assert!(reasons.iter().any(|code| code == reason), "{biz_id}: {decision}");
        assert_eq!(decision["by"], "policy");
        assert!(decision["policy"].as_str().unwrap().starts_with("sha256:"));
    }
}

#[tokio::test]
async fn decision_explains_itself_with_value_and_bound() {
    let app = TestApp::start().await;
    let id = app.accepted("pass-58.2").await;
    app.settled(&id).await;
    let decisions = app.decisions(&id).await;
    assert_eq!(decisions.len(), 1);
    let because = &decisions[0]["explanation"][0];
    assert_eq!(because["code"], "score-too-low");
    let seen = because["observed"]
        .as_array()
        .unwrap()
        .iter()
        .find(|observed| observed["field"] == "lowest_score")
        .expect("the score is among what was seen");
    assert_eq!((seen["value"].as_f64(), seen["bound"].as_f64()), (Some(58.2), Some(90.0)));
}

#[tokio::test]
async fn result_and_decision_are_separate_and_hold_no_person() {
    let app = TestApp::start().await;
    let id = app.accepted("scores-97-96-91-mask-quality-LOW-namediffers").await;
    app.settled(&id).await;
    let results = app.results(&id).await;
    assert_eq!(results.len(), 1);
    let result = &results[0];
    assert_eq!(result["attempt"], 1);
    assert_eq!(result["verify_status"], 1);
    assert_eq!(result["http_status"], 200);
    assert_eq!(result["fetched_at"], "2026-11-23T09:30:00Z");
    assert!(result["error"].is_null());
    assert_eq!(result["scores"]["id_card_face"], 91.0);
    let evidence = &result["evidence"];
    assert_eq!(evidence["face_mask"], true);
    assert_eq!(evidence["face_quality"], "LOW");
    assert_eq!(evidence["name_matches"], false);
    assert_eq!(evidence["number_matches"], true);
    assert_eq!(evidence["images"]["card_front"], true);
    let text = result.to_string();
    assert!(
        !text.contains("测试") && !text.contains("://") && !text.contains("00000019"),
        "{text}"
    );
    let decision = &app.decisions(&id).await[0];
    assert_eq!(decision["result_id"], result["id"]);
}

#[tokio::test]
async fn second_attempt_adds_a_decision_and_keeps_the_first() {
    let app = TestApp::start().await;
    let id = app.accepted("quit-1-then-status-7-x1-then-pass-98").await;
    let rejected = app.settled(&id).await;
    assert_eq!(rejected["decision"]["outcome"], "reject");

    // The same task, submitted again: another callback, another answer.
    assert_eq!(app.accepted("quit-1-then-status-7-x1-then-pass-98").await, id);
    let approved = app.settled(&id).await;
    assert_eq!(approved["decision"]["outcome"], "approve");
    let history = app.decisions(&id).await;
    let outcomes: Vec<_> = history.iter().map(|d| d["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["reject", "approve"]);
    assert_eq!(history[0]["id"], rejected["decision"]["id"]);
    let statuses: Vec<_> =
        app.results(&id).await.iter().map(|r| r["verify_status"].as_i64().unwrap()).collect();
    assert_eq!(statuses, [-1, 7, 1]);

    // Status 1 is final: no callback makes it ask again.
    let asked = app.provider.queries("quit-1-then-status-7-x1-then-pass-98");
    app.accepted("quit-1-then-status-7-x1-then-pass-98").await;
    let after = app.settled(&id).await;
    assert_eq!(after["decision"], approved["decision"]);
    assert_eq!(after["state"], "decided");
    assert_eq!(app.provider.queries("quit-1-then-status-7-x1-then-pass-98"), asked);
}
