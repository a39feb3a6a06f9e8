//! Two processes on one database: one budget, no verification fetched by both.

use std::collections::HashMap;

use crate::harness::{Options, Setting, callback, now};

#[tokio::test]
async fn two_replicas_share_one_budget_and_no_row() {
    const CALLS: usize = 160;
    let setting = Setting::new(Options {
        queries_per_second: 40.0,
        fixed_clock: false,
        ..Options::default()
    })
    .await;
    let (one, two) = tokio::join!(setting.serve(), setting.serve());
    for n in 0..CALLS {
        let to = if n % 2 == 0 { &one } else { &two };
        let message = callback(&format!("pass-97-u{n}"), now());
        assert_eq!(to.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;

    let calls = setting.provider.calls();
    assert_eq!(calls.len(), CALLS, "each is asked about once");
    // 160 calls at 40 a second take 4 s; with two separate budgets they would take 2. Single
    // arrivals depend on the machine's load, so only the total time is checked here. `protocol`
    // checks the budget row by row.
    let took = calls[CALLS - 1].at - calls[0].at;
    assert!(took > time::Duration::seconds(3), "{CALLS} calls within {took}");
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
    assert_eq!(a + b, CALLS);
    assert!(a > 0 && b > 0, "{a} and {b}");
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for call in calls {
        *by_id.entry(call.biz_id).or_default() += 1;
    }
    assert!(by_id.values().all(|n| *n == 1));
}
