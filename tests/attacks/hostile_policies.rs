//! Policies written to use up CPU, and more backtests than the service can run.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use policy::effort::Effort;
use policy::{Diagnostic, Policy, Severity, diff, render};
use verdict::app::Role;

use crate::harness::{Options, Reply, Setting, TestApp, callback, eventually, now};
use crate::policies::{added, milder, one, send};

/// A rule that loads, with this condition.
fn rule(n: usize, outcome: &str, when: &str) -> String {
    format!(
        "[[rule]]\nid=\"r{n}\"\nreason=\"r{n}\"\noutcome=\"{outcome}\"\ntext={{zh=\"a\",en=\"a\"}}\nwhen={when}\n"
    )
}

/// Rules that leave no status open.
fn base() -> String {
    let all = "{field=\"status\",not_in=[1,2]}";
    let named = "{field=\"status\",in=[1,2]}";
    format!("name=\"x\"\n{}{}", rule(9001, "review", all), rule(9002, "review", named))
}

fn list(from: usize, to: usize) -> String {
    (from..to).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
}

/// As many rules as fit into 61 kB, each about other statuses than all the others.
fn many_statuses() -> String {
    let mut text = base();
    for n in 0.. {
        let when = format!("{{field=\"status\",in=[{}]}}", list(1000 + 60 * n, 1060 + 60 * n));
        let next = rule(n, "reject", &when);
        if text.len() + next.len() > 61_000 {
            return text;
        }
        text.push_str(&next);
    }
    text
}

/// Rules that can each hold in 256 ways, none of which follows from another's.
fn many_ways() -> String {
    let mut text = base();
    for n in 0..90 {
        let pair = |field: &str, at: usize| {
            format!(
                "{{any=[{{field=\"{field}\",lt={at}.5}},{{field=\"{field}\",gt={}.5}}]}}",
                at + 1
            )
        };
        let pairs: Vec<String> = (0..4)
            .flat_map(|k| {
                [pair("face_score", 20 + k + n % 7), pair("authority_score", 40 + k + n % 5)]
            })
            .collect();
        let outcome = ["approve", "retry", "review", "reject"][n % 4];
        let passed = "{field=\"status\",eq=1}";
        let next = rule(n, outcome, &format!("{{all=[{passed},{}]}}", pairs.join(",")));
        if text.len() + next.len() > 61_000 {
            break;
        }
        text.push_str(&next);
    }
    text
}

/// One rule of as many comparisons as fit.
fn many_comparisons() -> String {
    let leaf = "{field=\"status\",ne=99}";
    base() + &rule(0, "reject", &format!("{{all=[{}]}}", vec![leaf; 2500].join(",")))
}

/// Comparisons with as many values as they may have, all of one field.
fn many_values(count: usize) -> String {
    let leaf = |n: usize| {
        let values: Vec<String> = (0..64).map(|k| format!("\"{:x}\"", n * 64 + k)).collect();
        format!("{{field=\"biz_type\",not_in=[{}]}}", values.join(","))
    };
    let leaves: Vec<String> = (0..64).map(leaf).collect();
    (0..count).fold(base(), |text, n| {
        text + &rule(n, "reject", &format!("{{all=[{}]}}", leaves.join(",")))
    })
}

/// The same, nested so deep that to name what was seen takes each comparison thirty times.
fn nested_values() -> String {
    let text = many_values(1);
    let (start, end) = ("when={all=[", "]}\n");
    let at = text.rfind(start).expect("a condition") + "when=".len();
    let inner = text[at..].trim_end();
    let wrapped = format!("{}{inner}{}", "{all=[".repeat(25), end.trim_end().repeat(25));
    format!("{}{wrapped}\n", &text[..at])
}

/// A policy of many rules and as many examples as fit.
/// Codes of the second product, each of them a case to try, in rules that the first one cannot answer.
fn many_codes() -> String {
    (0..256).fold("name=\"x\"\n".to_owned(), |text, n| {
        let codes: Vec<String> = (0..32).map(|m| format!("\"{}\"", 1000 + n * 32 + m)).collect();
        let codes = codes.join(",");
        let when = format!(
            "{{any=[{{field=\"code\",in=[{codes}]}},{{field=\"quality_score\",lt=5}},\
             {{field=\"status\",eq=1}}]}}"
        );
        text + &rule(n, "review", &when)
    })
}

fn many_examples() -> String {
    let mut text = base();
    for n in 0..120 {
        text.push_str(&rule(n, "review", "{not={not={field=\"face_score\",gt=1.5}}}"));
    }
    while text.len() < 61_000 {
        text.push_str("[[example]]\nname=\"e\"\noutcome=\"review\"\nevidence={status=1}\n");
    }
    text
}

/// Nothing but errors: a finding for every few bytes.
fn only_errors() -> Vec<String> {
    let ones = vec!["1"; 30_000].join(",");
    let unknown: String = (0..9000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "k{n}=1");
        text
    });
    vec![
        base() + &rule(0, "reject", &format!("{{all=[{ones}]}}")),
        format!("name=\"x\"\nrule=[{ones}]"),
        format!("name=\"x\"\nexample=[{ones}]\n"),
        format!("{unknown}{}", base()),
        "[[rule]]\n".repeat(6000),
        base() + &rule(0, "reject", &format!("{{field=\"biz_type\",in=[{ones}]}}")),
        format!("[[rule]]\nid=\"{}\"\n", "x".repeat(60_000)),
        format!("x={}", "[".repeat(60_000)),
        format!("{}a=1", "a.".repeat(30_000)),
        "[[a.b]]\n".repeat(8_000),
        base() + &"[[rule]]\nid=\"r1\"\nreason=\"r1\"\noutcome=\"review\"\ntext={zh=\"a\",en=\"a\"}\nwhen={field=\"status\",eq=1}\n".repeat(600),
    ]
}

/// Deep and wide nesting.
fn deep() -> String {
    let mut when = "{field=\"face_score\",lt=50}".to_owned();
    for n in 0..30 {
        when = match n % 3 {
            0 => format!("{{not={when}}}"),
            1 => format!("{{any=[{when},{{field=\"face_score\",gt={n}.5}}]}}"),
            _ => format!("{{all=[{when},{{field=\"authority_score\",lt={n}.5}}]}}"),
        };
    }
    (0..40).fold(base(), |text, n| text + &rule(n, "reject", &when))
}

fn checked(text: &str) -> (Result<Policy, Vec<Diagnostic>>, usize) {
    let effort = Effort::default();
    let loaded = Policy::load_within(text, &effort);
    (loaded, effort.used())
}

fn findings(loaded: &Result<Policy, Vec<Diagnostic>>) -> Vec<Diagnostic> {
    match loaded {
        Ok(policy) => policy.warnings().to_vec(),
        Err(findings) => findings.clone(),
    }
}

#[test]
fn hostile_policy_hits_the_step_budget_and_reports_it() {
    let most = 8_000_000;
    let mut hostile = vec![
        many_statuses(),
        many_ways(),
        many_comparisons(),
        many_values(1),
        many_values(2),
        nested_values(),
        many_examples(),
        deep(),
        many_codes(),
    ];
    hostile.extend(only_errors());
    for (n, text) in hostile.iter().enumerate() {
        assert!(text.len() <= 256 * 1024, "{n}");
        let began = Instant::now();
        let (loaded, steps) = checked(text);
        let findings = findings(&loaded);
        let rendered = render(&findings, text, "x.toml");
        // Steps are what counts; the time is a bound that only unbounded work exceeds.
        assert!(steps <= most, "{n}: {steps} steps");
        assert!(began.elapsed() < Duration::from_secs(10), "{n}: {:?}", began.elapsed());
        assert!(findings.len() <= 101, "{n}: {} findings", findings.len());
        assert!(rendered.len() < 256 * 1024, "{n}: {} bytes", rendered.len());
        let (again, steps_again) = checked(text);
        assert_eq!((steps, findings), (steps_again, self::findings(&again)), "{n}");
    }
}

#[test]
fn policy_beyond_a_limit_names_the_limit() {
    let says = |text: &str, part: &str| {
        let findings = findings(&checked(text).0);
        let found = findings.iter().any(|finding| finding.message.contains(part));
        assert!(found, "{part}: {:#?}", findings.iter().take(5).collect::<Vec<_>>());
    };
    says(&many_comparisons(), "a rule has at most 64 comparisons");
    says(&many_statuses(), "takes too much work to check");
    says(&nested_values(), "one decision by this policy takes too many steps");
    says(&only_errors()[0], "there may be more findings than the 100 shown");
    says(only_errors().last().unwrap(), "a policy has at most 256 rules");
    let many = (0..256).map(|n| format!("\"s{n}\"")).collect::<Vec<_>>().join(",");
    let long = format!("{{all=[{{field=\"status\",eq=1}},{{field=\"biz_type\",in=[{many}]}}]}}");
    says(&(base() + &rule(0, "reject", &long)), "a list has at most 64 values");
}

#[test]
fn exhausted_step_budget_refuses_and_never_passes() {
    // A check that any budget cuts short must not let a bad policy pass.
    let bad = base() + &rule(0, "approve", "{field=\"face_score\",ge=90}");
    assert!(checked(&bad).0.is_err());
    for steps in (0..4000).step_by(7) {
        let effort = Effort::of(steps);
        let findings = Policy::load_within(&bad, &effort).expect_err("it approves any status");
        assert!(findings.iter().any(|finding| finding.severity == Severity::Error), "{steps}");
    }
}

#[test]
fn failing_example_behind_100_warnings_refuses_the_policy() {
    // Rules that a stricter one always overrules, and one example that is wrong.
    let overruled = (0..120).fold(base(), |text, n| {
        text + &rule(n, "retry", &format!("{{field=\"status\",eq={}}}", n % 12 + 1))
    });
    let (loaded, _) = checked(&overruled);
    assert!(loaded.is_ok_and(|policy| policy.warnings().len() > 100));
    let wrong = "[[example]]\nname=\"e\"\noutcome=\"approve\"\nevidence={status=1}\n";
    assert!(checked(&(overruled + wrong)).0.is_err());
}

#[test]
fn stored_policy_decides_even_beyond_todays_limits() {
    let text = many_comparisons();
    assert!(Policy::load(&text).is_err());
    assert!(Policy::load_stored(&text).is_some());
}

#[test]
fn comparing_hostile_texts_takes_bounded_work() {
    let text = |seed: u64| {
        (0..30_000_u64).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{}", (n * n * 2_654_435_761 + seed * n) % 3);
            text
        })
    };
    let began = Instant::now();
    assert!(!diff(&text(1), &text(2)).is_empty());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn hostile_checks_do_not_keep_other_requests_waiting() {
    let setting = Arc::new(Setting::new(Options::default()).await);
    let process = Arc::new(setting.serve().await);
    let checks: Vec<_> = (0..24)
        .map(|n| {
            let (setting, at) = (Arc::clone(&setting), process.http);
            let text = format!("{}# {n}\n", many_ways());
            tokio::spawn(async move {
                let request = setting.client.post(format!("http://{at}/v1/policies/check"));
                let request = request.bearer_auth(&setting.api_key).body(text);
                Reply::read(request.send().await.expect("an answer")).await
            })
        })
        .collect();
    let answered = Arc::new(AtomicUsize::new(0));
    let alive = tokio::spawn({
        let (setting, at, answered) = (Arc::clone(&setting), process.http, Arc::clone(&answered));
        async move {
            loop {
                assert_eq!(setting.get(at, "/healthz").await.status, 200);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let posted = process.post(&setting.client, callback("pass-97", now())).await;
    assert_eq!(posted, Some(202));
    setting.drained().await;
    let (mut done, mut refused) = (0, 0);
    for check in checks {
        let reply = check.await.expect("it ends");
        if reply.status == 200 {
            done += 1;
        } else {
            reply.assert_problem(503, "unavailable");
            assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
            refused += 1;
        }
    }
    assert!(done >= 1 && refused >= 1, "{done} checked, {refused} refused");
    // Several for every check: none of them held a thread that serves.
    let answered = answered.load(Ordering::SeqCst);
    assert!(answered > 5 * done, "{answered} answers beside {done} checks");
    alive.abort();
}

#[tokio::test]
async fn one_backtest_starts_and_the_others_learn_its_id() {
    // Without a worker what is started stays running.
    let app =
        Arc::new(TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await);
    let digest = added(&app, &milder()).await;
    let path = format!("/v1/policies/{digest}/backtests");
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let (app, path) = (Arc::clone(&app), path.clone());
            tokio::spawn(async move { send(&app, "POST", &path, "").await })
        })
        .collect();
    let (mut started, mut named) = (Vec::new(), Vec::new());
    for start in starts {
        let reply = start.await.unwrap();
        if reply.status == 202 {
            started.push(reply.json["id"].as_str().unwrap().to_owned());
        } else {
            reply.assert_problem(409, "backtest-running");
            named.push(reply.json["backtest"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!((started.len(), named.len()), (1, 19), "{started:?}");
    assert!(named.iter().all(|id| *id == started[0]), "{named:?}");
    let pool = app.database.pool().await;
    let counted = |what: &'static str| one(&pool, what);
    assert_eq!(counted("select count(*) from tasks where kind = 'backtest'").await, 1);
    assert_eq!(counted("select count(*) from audit where action = 'policy.backtest'").await, 1);
    sqlx::query("update backtests set state = 'done'").execute(&pool).await.unwrap();
    assert_eq!(send(&app, "POST", &path, "").await.status, 202);
}

#[tokio::test]
async fn queued_backtests_run_one_at_a_time_and_block_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    let digest = added(&app, &milder()).await;
    let pool = app.database.pool().await;
    // A backtest reads its policy first, and waits here; decisions do not.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table policies in access exclusive mode").execute(&mut *lock).await.unwrap();
    sqlx::query(
        "with run as (
            insert into backtests (id, digest, asked_by, created_at, updated_at, state, after, comparison)
            select gen_random_uuid(), $1, 'key:old', now(), now(), 'running',
                '00000000-0000-0000-0000-000000000000', '{}'
            from generate_series(1, 80) returning id)
         insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         select id, 'backtest', id, verdict_now(), 'infinity', verdict_now() from run",
    )
    .bind(&digest)
    .execute(&pool)
    .await
    .unwrap();
    let leased = async || {
        one(&pool, "select count(*) from tasks where kind = 'backtest' and attempts > 0").await
    };
    eventually("one is under way", || async { (leased().await > 0).then_some(()) }).await;
    let id = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    eventually("its images are kept", || async {
        let reply = app.get(&format!("/v1/verifications/{id}/images")).await;
        let items = reply.json["items"].as_array().cloned().unwrap_or_default();
        let kept = items.iter().filter(|item| item["state"] == "archived").count();
        (kept == 4).then_some(())
    })
    .await;
    assert_eq!(leased().await, 1);
    lock.rollback().await.unwrap();
    eventually("all are done", || async {
        let left = one(&pool, "select count(*) from backtests where state = 'running'").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(one(&pool, "select count(*) from backtests where state = 'done'").await, 80);
    assert_eq!(one(&pool, "select count(*) from tasks").await, 0);
}

#[tokio::test]
async fn failing_backtest_ends_and_the_next_one_starts() {
    let app = TestApp::start().await;
    let digest = added(&app, &milder()).await;
    let path = format!("/v1/policies/{digest}/backtests");
    let pool = app.database.pool().await;
    // Its result so far is no comparison, so it cannot go on, and it has failed many times.
    sqlx::query(
        "with run as (
            insert into backtests (id, digest, asked_by, created_at, updated_at, state, after, comparison)
            values (gen_random_uuid(), $1, 'key:old', now(), now(), 'running',
                '00000000-0000-0000-0000-000000000000', '{\"decisions\": \"many\"}') returning id)
         insert into tasks (id, kind, verification_id, created_at, deadline, due_at, failures)
         select id, 'backtest', id, verdict_now(), 'infinity', verdict_now(), 20 from run",
    )
    .bind(&digest)
    .execute(&pool)
    .await
    .unwrap();
    eventually("it is given up", || async {
        let failed = one(&pool, "select count(*) from backtests where state = 'failed'").await;
        (failed == 1).then_some(())
    })
    .await;
    assert_eq!(send(&app, "POST", &path, "").await.status, 202);
}
