//! A source, or a scene, that takes the account's whole budget for itself.

use std::sync::Arc;

use crate::harness::{Callback, Options, TestApp, eventually};

/// The secret of source `other`.
const OTHER: &str = "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIHNlY3JldCE=";
/// Calls of others that may go before a decision that nobody else's backlog should delay. By age it
/// would be most of a flood.
const MOST_BEFORE: usize = 30;

async fn start() -> Arc<TestApp> {
    let more = format!("[sources.other]\nsecrets = [\"{OTHER}\"]");
    let options = Options { more, queries_per_second: 40.0, ..Options::default() };
    Arc::new(TestApp::start_with(options).await)
}

async fn post(app: &TestApp, source: &str, scene: &str, id: &str) -> String {
    let body = serde_json::json!({ "biz_type": scene, "biz_id": id }).to_string();
    let secret = if source == "other" { OTHER } else { crate::harness::SECRET };
    let message = format!("msg-{source}-{scene}-{id}");
    let callback = Callback::signed_as(&message, &body, app.clock.now().unix_timestamp(), secret);
    // A sender repeats what a busy machine did not take.
    let reply = eventually("the callback is accepted", || async {
        let callback = Callback { source: source.to_owned(), ..callback.clone() };
        Some(app.post(callback).await).filter(|reply| reply.status != 503)
    })
    .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.id()
}

/// Posts so many callbacks at once, and waits until the first of them are asked about.
async fn flood(app: &Arc<TestApp>, of: impl Fn(usize) -> (&'static str, String, String)) {
    let posts: Vec<_> = (0..600)
        .map(|n| {
            let (app, (source, scene, id)) = (Arc::clone(app), of(n));
            tokio::spawn(async move { post(&app, source, &scene, &id).await })
        })
        .collect();
    for posted in posts {
        posted.await.unwrap();
    }
    eventually("the flood is under way", || async {
        (app.provider.calls().len() > 5).then_some(())
    })
    .await;
}

/// Posts one callback and waits for its decision; how many calls about others went before it.
async fn calls_before(app: &TestApp, source: &str, scene: &str, id: &str) -> usize {
    let verification = post(app, source, scene, id).await;
    let before = app.provider.calls().len();
    let settled = app.settled(&verification).await;
    assert_eq!(settled["decision"]["outcome"], "approve", "{settled}");
    let calls = app.provider.calls();
    let at = calls.iter().position(|call| call.biz_id == id && call.biz_type == scene);
    at.unwrap().saturating_sub(before)
}

#[tokio::test]
async fn flood_of_one_source_does_not_delay_another_source() {
    let app = start().await;
    // A third is made up: the provider knows none of those, and each is asked about several times.
    // Were it all of them, the breaker would open, and probes begin with the newest.
    let id = |n: usize| {
        if n.is_multiple_of(3) { format!("unknown-{n}") } else { format!("pass-97-{n}") }
    };
    flood(&app, |n| ("app", "test".to_owned(), id(n))).await;
    for n in 0..3 {
        let before = calls_before(&app, "other", "test", &format!("pass-97-victim-{n}")).await;
        assert!(before <= MOST_BEFORE, "{before} calls before the other source's, round {n}");
    }
}

#[tokio::test]
async fn flood_in_one_scene_does_not_delay_another_scene() {
    let app = start().await;
    flood(&app, |n| ("app", "flooded".to_owned(), format!("pass-97-{n}"))).await;
    let before = calls_before(&app, "app", "calm", "pass-97-victim").await;
    assert!(before <= MOST_BEFORE, "{before} calls before the calm scene's");
}

#[tokio::test]
async fn source_that_invents_scenes_gets_one_share() {
    let app = start().await;
    flood(&app, |n| ("app", format!("scene-{n}"), format!("pass-97-{n}"))).await;
    let before = calls_before(&app, "other", "test", "pass-97-victim").await;
    assert!(before <= MOST_BEFORE, "{before} calls before the other source's");
}
