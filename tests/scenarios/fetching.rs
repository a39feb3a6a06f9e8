//! Fetching results: every form of the call, and every kind of answer.

use crate::harness::{Options, TestApp, callback, eventually, make_key};
use verdict::http::api_key_auth::Scope;

#[tokio::test]
async fn both_signatures_methods_and_formats_work() {
    for signature in ["v2", "v3"] {
        for method in ["POST", "GET"] {
            for format in ["JSON", "XML"] {
                let options = Options::default().with_dialect([signature, method, format]);
                let app = TestApp::start_with(options).await;
                let verification = app.verified("pass-97").await;
                let decision = &verification["decision"];
                assert_eq!(decision["outcome"], "approve", "{signature} {method} {format}");
                let calls = app.provider.calls();
                assert_eq!(calls.len(), 1);
                assert_eq!(calls[0].method, method);
                assert_eq!(format!("{:?}", calls[0].version).to_lowercase(), signature);
            }
        }
    }
}

#[tokio::test]
async fn unfinished_verification_is_polled_until_finished() {
    let app = TestApp::start().await;
    let verification = app.verified("unfinished-3-then-pass-97").await;
    assert_eq!(verification["decision"]["outcome"], "approve");
    let id = verification["id"].as_str().unwrap();
    let statuses: Vec<_> =
        app.results(id).await.iter().map(|r| r["verify_status"].as_i64().unwrap()).collect();
    assert_eq!(statuses, [-1, -1, -1, 1]);
    // −1 is no answer to decide on.
    assert_eq!(app.decisions(id).await.len(), 1);
}

#[tokio::test]
async fn expired_verification_is_revived_by_a_callback() {
    let app = TestApp::start().await;
    let id = app.accepted("quit-4-then-pass-97").await;
    eventually("it is unfinished", || async {
        let state = app.get(&format!("/v1/verifications/{id}")).await.json["state"].clone();
        (state == "unfinished").then_some(())
    })
    .await;
    app.database.shift_clock(41 * 60).await;
    let verification = app.settled(&id).await;
    assert_eq!(
        (&verification["state"], &verification["decision"]),
        (&"expired".into(), &().into())
    );
    let revived = app.accepted("quit-4-then-pass-97").await;
    assert_eq!(revived, id);
    assert_eq!(app.settled(&id).await["state"], "decided");
}

#[tokio::test]
async fn transient_faults_are_retried_and_every_answer_stored() {
    let cases = [
        ("throttled-2-then-pass-97", "throttled", 2),
        ("http-503-x2-then-pass-97", "transient", 2),
        ("error-Error.InternalError-x2-then-pass-97", "transient", 2),
        ("html-2-then-pass-97", "transient", 2),
        ("garbage-2-then-pass-97", "unreadable", 2),
        ("html200-2-then-pass-97", "unreadable", 2),
        ("nostatus-1-then-pass-97", "unreadable", 1),
        ("error200-Throttling.Api-x1-then-pass-97", "throttled", 1),
        ("error-SignatureNonceUsed-x2-then-pass-97", "clock", 2),
        ("error-InvalidTimeStamp.Expired-x1-then-pass-97", "clock", 1),
        // No answer leaves no result.
        ("cut-2-then-pass-97", "", 0),
        ("torn-2-then-pass-97", "", 0),
    ];
    let app = TestApp::start().await;
    for (biz_id, class, times) in cases {
        let verification = app.verified(biz_id).await;
        assert_eq!(verification["decision"]["outcome"], "approve", "{biz_id}");
        let results = app.results(verification["id"].as_str().unwrap()).await;
        let errors: Vec<_> = results.iter().filter(|result| !result["error"].is_null()).collect();
        assert_eq!(errors.len(), times, "{biz_id}: {results:?}");
        for error in errors {
            assert_eq!(error["error"]["class"], class, "{biz_id}");
            assert!(error["evidence"].is_null() && error["verify_status"].is_null());
        }
    }
}

#[tokio::test]
async fn permanent_failure_keeps_its_reason_and_can_be_refetched() {
    let app = TestApp::start().await;
    let cases = [
        ("expired", "expired", "gone", Some("DataExpired")),
        ("invalidbiz", "failed", "bad-request", Some("InvalidParam.InvalidBiz")),
        ("error-MissingParameter", "failed", "bad-request", Some("MissingParameter")),
        ("garbage", "failed", "unreadable", None),
        ("nostatus", "failed", "unreadable", None),
    ];
    for (biz_id, state, class, code) in cases {
        let verification = app.verified(biz_id).await;
        assert_eq!(verification["state"], state, "{biz_id}");
        assert!(verification["decision"].is_null(), "{biz_id}");
        let results = app.results(verification["id"].as_str().unwrap()).await;
        let last = results.last().expect("a result");
        assert_eq!(last["error"]["class"], class, "{biz_id}");
        assert_eq!(last["error"]["code"].as_str(), code, "{biz_id}");
    }

    let failed = app.verified("invalidbiz-1-then-pass-97").await;
    assert_eq!(failed["state"], "failed");
    let id = failed["id"].as_str().unwrap();
    let url = format!("http://{}/v1/verifications/{id}/refetch", app.http);
    let refetched = app.client.post(url).bearer_auth(&app.api_key).send().await.unwrap();
    assert_eq!(refetched.status(), 202);
    let verification = app.settled(id).await;
    assert_eq!(verification["decision"]["outcome"], "approve");
}

#[tokio::test]
async fn decisions_scope_sees_why_a_verification_failed() {
    let more = "transient_tries = 2\nunreadable_tries = 2".to_owned();
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let reader = make_key(&app.database.store(), &[Scope::DecisionsRead]).await;
    let cases = [
        ("cut", "no-answer", None),
        // An earlier answer is not the reason.
        ("garbage-1-then-cut", "no-answer", None),
        ("garbage", "unreadable-answer", None),
        ("invalidbiz", "refused-by-provider", Some("InvalidParam.InvalidBiz")),
        ("http-503", "provider-fails", Some("ServiceUnavailable")),
    ];
    for (biz_id, code, provider_code) in cases {
        let id = app.accepted(biz_id).await;
        let shown = app.get_as(&format!("/v1/verifications/{id}?wait=30"), &reader).await.json;
        assert_eq!(shown["state"], "failed", "{biz_id}: {shown}");
        assert_eq!(shown["failure"]["code"], code, "{biz_id}: {shown}");
        assert_eq!(shown["failure"]["provider_code"].as_str(), provider_code, "{biz_id}");
        let text = shown["failure"]["text"].as_str().unwrap();
        assert!(text.contains("refetch"), "it says what to do: {text}");
    }
    let listed = app.get_as("/v1/verifications?state=failed", &reader).await.json;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), cases.len());
    for item in items {
        let case = cases.iter().find(|case| item["biz_id"] == case.0).unwrap();
        assert_eq!(item["failure"]["code"], case.1, "{item}");
    }
    assert!(app.verified("pass-97").await["failure"].is_null());
}

#[tokio::test]
async fn refetch_of_an_approved_case_reopens_it_to_callbacks() {
    let app = TestApp::start().await;
    let biz_id = "pass-97-x1-then-status-7-x1-then-pass-98";
    let passed = app.verified(biz_id).await;
    let id = passed["id"].as_str().unwrap();
    let url = format!("http://{}/v1/verifications/{id}/refetch", app.http);
    app.client.post(url).bearer_auth(&app.api_key).send().await.unwrap();
    let rejected = app.settled(id).await;
    assert_eq!(rejected["decision"]["outcome"], "reject");
    app.accepted(biz_id).await;
    assert_eq!(app.settled(id).await["decision"]["outcome"], "approve");
}

#[tokio::test]
async fn callback_during_the_provider_call_is_not_lost() {
    let app = TestApp::start().await;
    let biz_id = "slow-400-status-7-x1-then-pass-97";
    let id = app.accepted(biz_id).await;
    eventually("the first call is under way", || async {
        let claimed = app.store.metrics_queries().backlog().await.unwrap().leased;
        (claimed == 1).then_some(())
    })
    .await;
    // The person tried again: what is being answered now may be about the first try.
    assert_eq!(app.post(callback(biz_id, app.clock.now())).await.status, 202);
    let decided = eventually("both tries are decided", || async {
        let decisions = app.decisions(&id).await;
        (decisions.len() == 2).then_some(decisions)
    })
    .await;
    assert_eq!(decided[1]["outcome"], "approve");
}

#[tokio::test]
async fn a_scheduled_poll_counts_from_the_databases_clock() {
    let app = TestApp::start_with(Options::default().patient()).await;
    let id = app.accepted("unfinished-1-then-pass-97").await;
    eventually("it is unfinished", || async {
        let state = app.get(&format!("/v1/verifications/{id}")).await.json["state"].clone();
        (state == "unfinished").then_some(())
    })
    .await;
    assert_eq!(app.provider.queries("unfinished-1-then-pass-97"), 1);
    app.database.shift_clock(601).await;
    assert_eq!(app.settled(&id).await["state"], "decided");
}
