//! Two processes on one database: one budget, no verification fetched by both.

use std::collections::HashMap;

use crate::harness::{Options, Setting, callback, now};

#[tokio::test]
async fn two_replicas_keep_one_budget_and_never_fetch_the_same_at_once() {
    const RATE: usize = 40;
    let setting = Setting::new(Options {
        queries_per_second: 40.0,
        fixed_clock: false,
        ..Options::default()
    })
    .await;
    let (one, two) = tokio::join!(setting.serve(), setting.serve());
    for n in 0..120 {
        let to = if n % 2 == 0 { &one } else { &two };
        let message = callback(&format!("pass-97-u{n}"), now());
        assert_eq!(to.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;

    let calls = setting.provider.calls();
    assert_eq!(calls.len(), 120, "each is asked about once");
    // Whatever second one looks at: no more than the rate and its burst (a tenth of it), and one
    // for a call that was on its way when the second began.
    let times: Vec<_> = calls.iter().map(|call| call.at).collect();
    let worst = times
        .iter()
        .map(|from| {
            let to = *from + time::Duration::SECOND;
            times.iter().filter(|at| **at >= *from && **at < to).count()
        })
        .max()
        .unwrap();
    assert!(worst <= RATE + RATE / 10 + 1, "{worst} calls in one second");
    // Both worked.
    let (_, log_one) = {
        one.signal("TERM").await;
        one.ended().await
    };
    let (_, log_two) = {
        two.signal("TERM").await;
        two.ended().await
    };
    let fetches =
        |log: &[String]| log.iter().filter(|line| line.contains("\"message\":\"fetch\"")).count();
    let (a, b) = (fetches(&log_one), fetches(&log_two));
    assert_eq!(a + b, 120);
    assert!(a > 0 && b > 0, "{a} and {b}");
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for call in calls {
        *by_id.entry(call.biz_id).or_default() += 1;
    }
    assert!(by_id.values().all(|n| *n == 1));
}
