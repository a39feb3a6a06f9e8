//! The provider fails or refuses us, or the database is unavailable: no verification suffers, and
//! the service recovers by itself.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Options, Process, Reply, Setting, TestApp, callback, eventually, now, run_verdict,
};
use cloudauth_sandbox::Behaviour;

async fn ready(app: &TestApp) -> Reply {
    let request = app.client.get(format!("http://{}/readyz", app.operations));
    Reply::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn wrong_secret_stops_calls_and_keeps_the_backlog() {
    let options = Options { provider_secret: "wrong".to_owned(), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for n in 0..30 {
            ids.push(app.accepted(&format!("pass-97-u{n}")).await);
        }
        ids
    };
    let unready = eventually("readiness says so", || async {
        let reply = ready(&app).await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_eq!(unready.json["provider"], "credentials-refused");
    // One after the other, and rarely: a probe each second at the most, not 30 at once.
    let calls = app.provider.calls().len();
    assert!(calls < 30, "{calls} calls with a wrong secret");
    for id in &ids {
        let verification = app.get(&format!("/v1/verifications/{id}")).await.json;
        assert_eq!(
            (verification["state"].as_str(), verification["decision"].is_null()),
            (Some("pending"), true)
        );
    }

    // Corrected at the provider's side: it drains without a restart.
    app.provider.set_secret("wrong".to_owned().into());
    for id in &ids {
        assert_eq!(app.settled(id).await["decision"]["outcome"], "approve");
    }
    assert_eq!(ready(&app).await.status, 200);
    let results = app.results(&ids[0]).await;
    assert_eq!(results[0]["error"]["class"], "credentials");
    assert_eq!(results[0]["error"]["code"], "SignatureDoesNotMatch");
}

#[tokio::test]
async fn restart_with_the_right_secret_drains_the_backlog() {
    let mut setting = Setting::new(Options {
        provider_secret: "wrong".to_owned(),
        fixed_clock: false,
        ..Options::default()
    })
    .await;
    let process = setting.serve().await;
    for n in 0..20 {
        let message = callback(&format!("pass-97-u{n}"), now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
    }
    eventually("readiness says so", || async {
        (setting.get(process.operations, "/readyz").await.status == 503).then_some(())
    })
    .await;
    process.signal("TERM").await;
    assert_eq!(process.ended().await.0, Some(0));

    setting.options.provider_secret = "provider-secret".to_owned();
    let process = setting.serve().await;
    setting.drained().await;
    assert_eq!(setting.get(process.operations, "/readyz").await.status, 200);
    let pool = setting.database.pool().await;
    let approved: i64 = sqlx::query_scalar(
        "select count(*) from verifications v join decisions d on d.id = v.decision_id
         where v.state = 'decided' and d.outcome = 'approve'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(approved, 20);
    process.kill().await;
}

#[tokio::test]
async fn outage_opens_the_breaker_and_the_backlog_drains_after_it() {
    let app = TestApp::start().await;
    app.provider.fail_all(Some(Behaviour::Html { http_status: 502 }));
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(app.accepted(&format!("pass-97-u{n}")).await);
    }
    eventually("the breaker opens", || async {
        (ready(&app).await.json["provider"] == "outage").then_some(())
    })
    .await;
    // An outage of theirs is no reason to take us out of service.
    assert_eq!(ready(&app).await.status, 200);
    app.provider.fail_all(None);
    for id in &ids {
        let verification = app.settled(id).await;
        assert_eq!(verification["decision"]["outcome"], "approve", "{verification}");
    }
    assert_eq!(ready(&app).await.json["provider"], "ok");
}

#[tokio::test]
async fn poisoned_verification_does_not_stop_the_others() {
    let app = TestApp::start().await;
    let poison = app.accepted("http-500").await;
    for n in 0..30 {
        let verification = app.verified(&format!("pass-97-u{n}")).await;
        assert_eq!(verification["decision"]["outcome"], "approve");
    }
    let state = app.get(&format!("/v1/verifications/{poison}")).await.json["state"].clone();
    assert_eq!(state, "pending");
}

#[tokio::test]
async fn one_permission_refusal_does_not_stop_the_account() {
    let app = TestApp::start().await;
    let refused = app.accepted("noperm").await;
    eventually("it is refused", || async {
        (!app.results(&refused).await.is_empty()).then_some(())
    })
    .await;
    for n in 0..20 {
        let verification = app.verified(&format!("pass-97-u{n}")).await;
        assert_eq!(verification["decision"]["outcome"], "approve");
    }
    eventually("the account is well while that one is still refused", || async {
        let again = app.results(&refused).await.len() >= 3;
        (again && ready(&app).await.status == 200).then_some(())
    })
    .await;
    let state = app.get(&format!("/v1/verifications/{refused}")).await.json["state"].clone();
    assert_eq!(state, "pending");
}

#[tokio::test]
async fn poisoned_verifications_do_not_delay_a_new_one() {
    let app = TestApp::start().await;
    let mut poison = Vec::new();
    for n in 0..12 {
        poison.push(app.accepted(&format!("http-500-p{n}")).await);
    }
    eventually("they alone open the breaker", || async {
        (ready(&app).await.json["provider"] == "outage").then_some(())
    })
    .await;
    let verification = app.verified("pass-97").await;
    assert_eq!(verification["decision"]["outcome"], "approve");
    eventually("the breaker is closed again", || async {
        (ready(&app).await.json["provider"] == "ok").then_some(())
    })
    .await;
}

#[tokio::test]
async fn gateway_page_is_an_outage_and_fails_no_verification() {
    let app = TestApp::start().await;
    app.provider.fail_all(Some(Behaviour::Html { http_status: 200 }));
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(app.accepted(&format!("pass-97-u{n}")).await);
    }
    eventually("the breaker opens", || async {
        (ready(&app).await.json["provider"] == "outage").then_some(())
    })
    .await;
    app.provider.fail_all(None);
    for id in &ids {
        let verification = app.settled(id).await;
        assert_eq!(verification["decision"]["outcome"], "approve", "{verification}");
    }
}

#[tokio::test]
async fn work_waits_without_credentials() {
    let app = TestApp::start_with(Options::default().without_access_key()).await;
    let id = app.accepted("pass-97").await;
    let unready = eventually("readiness says so", || async {
        let reply = ready(&app).await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_eq!(unready.json["provider"], "credentials-refused");
    eventually("nothing was called, and nothing is counted", || async {
        let now = app.get(&format!("/v1/verifications/{id}")).await.json;
        (now["state"] == "pending" && now["attempts"] == 0).then_some(())
    })
    .await;
    assert!(app.provider.calls().is_empty());
}

/// A scraper or a probe gives up after a few seconds.
const PROBE: Duration = Duration::from_secs(5);

/// The answer that a probe or a scraper gets in time.
async fn probed(setting: &Setting, process: &Process, path: &str) -> Reply {
    let answer = setting.get(process.operations, path);
    tokio::time::timeout(PROBE, answer).await.unwrap_or_else(|_| panic!("{path} hangs"))
}

#[tokio::test]
async fn process_without_database_reports_metrics_and_not_ready() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (behind, proxy) = setting.database.behind_proxy().await;
    let direct = std::mem::replace(&mut setting.database, behind);
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("status-7", now())).await, Some(202));
    setting.database = direct;
    setting.drained().await;
    assert_eq!(probed(&setting, &process, "/readyz").await.status, 200);
    let well = probed(&setting, &process, "/metrics").await.text;
    assert!(well.contains("verdict_breaker_open{cause=\"outage\"} 0"), "{well}");

    // Frozen: connections stay open and nothing comes back.
    proxy.stall(true);
    for _ in 0..2 {
        let told = probed(&setting, &process, "/metrics").await.text;
        for line in [
            "verdict_build_info{",
            "verdict_callbacks_total{outcome=\"new\"} 1",
            "verdict_breaker_open{cause=\"outage\"} 0",
            "verdict_queue_depth{state=\"due\"} ",
            "verdict_metrics_queries_failed_total{query=\"breaker\"} ",
            "verdict_metrics_queries_failed_total{query=\"vault-keys\"} ",
        ] {
            assert!(told.contains(line), "{line} is missing: {told}");
        }
        let unready = probed(&setting, &process, "/readyz").await;
        assert_eq!((unready.status, &unready.json["database"]), (503, &"unavailable".into()));
        assert_eq!(
            (&unready.json["schema"], &unready.json["provider"]),
            (&"unknown".into(), &"unknown".into())
        );
    }
    assert_eq!(probed(&setting, &process, "/healthz").await.status, 200);

    // And doctor knows whose ports these are.
    let file = setting.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("127.0.0.1:0", &process.http.to_string(), 1).replacen(
        "127.0.0.1:0",
        &process.operations.to_string(),
        1,
    );
    std::fs::write(&file, text).unwrap();
    let arguments = ["doctor", "--json", "--config", file.to_str().unwrap()];
    let (_, said, error) = run_verdict(&arguments, &[]).await;
    let items: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    for check in ["http.listen", "operations.listen"] {
        let item = items.as_array().unwrap().iter().find(|item| item["check"] == check).unwrap();
        assert_eq!(item["state"], "warning", "{item}");
        assert!(item["says"].as_str().unwrap().contains("is not ready"), "{item}");
    }

    // Away: connections are refused.
    proxy.refuse(true);
    proxy.cut();
    proxy.stall(false);
    assert_eq!(probed(&setting, &process, "/readyz").await.status, 503);
    assert!(probed(&setting, &process, "/metrics").await.text.contains("verdict_build_info{"));

    proxy.refuse(false);
    eventually("it is ready again", || async {
        (setting.get(process.operations, "/readyz").await.status == 200).then_some(())
    })
    .await;
    process.kill().await;
}

#[tokio::test]
async fn frozen_database_refuses_callbacks_soon_and_loses_none() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let (behind, proxy) = setting.database.behind_proxy().await;
    let direct = std::mem::replace(&mut setting.database, behind);
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("pass-97-0", now())).await, Some(202));
    let messages: Vec<_> = (1..20).map(|n| callback(&format!("pass-97-{n}"), now())).collect();
    let post = |n: usize| {
        let (process, client, message) = (&process, &setting.client, messages[n].clone());
        async move {
            let began = std::time::Instant::now();
            assert_eq!(process.post(client, message).await, Some(503));
            began.elapsed()
        }
    };
    proxy.stall(true);
    // The first one finds it out, within database.timeout_seconds.
    let found_out = post(0).await;
    assert!(found_out < Duration::from_secs(8), "{found_out:?}");
    // One batch tries again; the callbacks behind it are refused at once.
    let mut took = futures_util::future::join_all((1..19).map(post)).await;
    took.sort();
    assert!(took[0] < Duration::from_secs(2), "{took:?}");
    proxy.stall(false);

    for message in &messages {
        eventually("it is accepted", || async {
            let status = process.post(&setting.client, message.clone()).await;
            matches!(status, Some(200 | 202)).then_some(())
        })
        .await;
    }
    setting.database = direct;
    setting.drained().await;
    let pool = setting.database.pool().await;
    let kept: (i64, i64) = sqlx::query_as(
        "select (select count(*) from callbacks), (select count(*) from verifications)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(kept, (20, 20));
    process.kill().await;
}
