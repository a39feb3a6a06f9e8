//! Broken policies, each with the exact words it gets back.

use super::*;

/// A small good policy, to be broken in one place at a time.
const GOOD: &str = r#"name = "small"
[[rule]]
id = "passed"
reason = "fine"
outcome = "approve"
text = { zh = "好", en = "fine" }
when = { all = [{ field = "status", eq = 1 }, { field = "lowest_score", ge = "far-0.01%" }] }
[[rule]]
id = "others"
reason = "look"
outcome = "review"
text = { zh = "看", en = "look" }
when = { field = "status", ne = 1 }
[[example]]
name = "seven"
evidence = { status = 7, authority_score = 30.0 }
outcome = "review"
reasons = ["look"]
"#;

/// What the loader says once `from` reads `to`.
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} must stand in the good policy once");
    let text = GOOD.replace(from, to);
    Policy::load(&text).unwrap_err().iter().map(Finding::to_string).collect()
}

#[track_caller]
fn broken(from: &str, to: &str, expected: &str) {
    assert_eq!(complaints(from, to), [expected], "{from} → {to}");
}

#[test]
fn the_good_policy_is_good() {
    let policy = Policy::load(GOOD).unwrap();
    assert_eq!(policy.warnings(), []);
}

#[test]
fn slips_of_the_pen_are_named_with_what_was_probably_meant() {
    broken(
        "\"lowest_score\"",
        "\"lowst_score\"",
        "error in line 7, rule `passed`: there is no field `lowst_score`; \
         did you mean `lowest_score`?",
    );
    broken(
        "outcome = \"approve\"",
        "outcome = \"aprove\"",
        "error in line 5, rule `passed`: there is no outcome `aprove`; did you mean `approve`?",
    );
    broken(
        "far-0.01%",
        "far-0.02%",
        "error in line 7, rule `passed`: there is no bound named `far-0.02%`; \
         did you mean `far-0.01%`?",
    );
    broken(
        "id = \"passed\"",
        "id = \"passed\"\nreasn = \"x\"",
        "error in line 4, rule `passed`: a rule has no key `reasn`; did you mean `reason`?",
    );
    broken(
        "name = \"small\"",
        "name = \"small\"\nversion = 3",
        "error in line 2: a policy has no key `version`; known are name, rule, example",
    );
    broken(
        "authority_score = 30.0",
        "authorty_score = 30.0",
        "error in line 16: there is no field `authorty_score`; did you mean `authority_score`?",
    );
}

#[test]
fn types_operators_and_ranges_must_fit() {
    broken(
        "ne = 1",
        "ne = \"1\"",
        "error in line 13, rule `others`: `status` holds a whole number, not a text",
    );
    broken(
        "field = \"status\", ne = 1",
        "field = \"face_mask\", lt = true",
        "error in line 13, rule `others`: `lt` does not fit `face_mask`, which holds true or \
         false; use eq, ne, exists",
    );
    broken(
        "ge = \"far-0.01%\"",
        "ge = 900",
        "error in line 7, rule `passed`: `lowest_score` is a score: its bounds lie between 0 \
         and 100",
    );
    broken(
        "ge = \"far-0.01%\"",
        "ge = nan",
        "error in line 7, rule `passed`: `lowest_score` is a score: its bounds lie between 0 \
         and 100",
    );
    broken(
        "ne = 1",
        "ne = 1, gt = 0",
        "error in line 13, rule `others`: a comparison needs exactly one of eq, ne, lt, le, gt, \
         ge, in, not_in, exists",
    );
    broken(
        "ne = 1",
        "exists = true, missing = true",
        "error in line 13, rule `others`: `exists` takes no `missing`: it asks just that",
    );
    broken(
        "field = \"status\", ne = 1",
        "field = \"face_quality\", ge = \"NORML\"",
        "error in line 13, rule `others`: there is no face quality `NORML`; did you mean \
         `NORMAL`?",
    );
    broken(
        "field = \"status\", ne = 1",
        "field = \"scores_present\", ge = 4",
        "error in line 13, rule `others`: `scores_present` is between 0 and 3",
    );
}

#[test]
fn conditions_must_have_a_shape() {
    broken(
        "{ field = \"status\", ne = 1 }",
        "{ any = [] }",
        "error in line 13, rule `others`: `any` needs at least one condition",
    );
    broken(
        "{ field = \"status\", ne = 1 }",
        "{ not = { field = \"status\", eq = 1 }, all = [] }",
        "error in line 13, rule `others`: `all` stands alone: put the rest into its list",
    );
    let deep = |depth: usize| {
        let (open, close) = ("{ not = ".repeat(depth), " }".repeat(depth));
        format!("{open}{{ field = \"status\", ne = 1 }}{close}")
    };
    let good = "{ field = \"status\", ne = 1 }";
    broken(good, &deep(32), "error in line 13, rule `others`: conditions nest at most 32 deep");
    assert!(Policy::load(&GOOD.replace(good, &deep(30))).is_ok());
}

#[test]
fn rules_must_be_told_apart_and_told_in_two_languages() {
    broken(
        "id = \"others\"",
        "id = \"passed\"",
        "error in line 8, rule `passed`: another rule has the same id",
    );
    broken(
        "reason = \"look\"",
        "reason = \"fine\"",
        "error in line 8, rule `others`: the rule `passed` already gives the reason `fine`; \
         a reason must tell which rule spoke",
    );
    broken(
        "reason = \"look\"",
        "reason = \"evidence-missing\"",
        "error in line 8, rule `others`: the reason `evidence-missing` is built in; \
         choose another one",
    );
    broken(
        "reason = \"look\"",
        "reason = \"Look!\"",
        "error in line 10, rule `others`: `reason` must be kebab-case (a-z, 0-9, single \
         hyphens, at most 64 characters), not `Look!`",
    );
    broken("zh = \"看\", ", "", "error in line 12, rule `others`: `text` needs `zh`");
    broken(
        "en = \"look\"",
        "en = \" \"",
        "error in line 12, rule `others`: `en` must not be empty",
    );
}

#[test]
fn every_status_must_be_spoken_about() {
    broken("ne = 1", "not_in = [1, 9, 10]", "error: no rule speaks about status 9, 10");
    // A rule that never looks at the status speaks of none.
    let silent = "{ field = \"face_mask\", eq = true, missing = false }";
    assert_eq!(
        complaints("{ field = \"status\", ne = 1 }", silent)[0],
        "error: no rule speaks about status 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
    );
    broken(
        "ne = 1",
        "in = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
        "error: no rule speaks about unknown statuses such as 13; add one with \
         { field = \"status\", not_in = [1, 2, …, 12] }",
    );
}

#[test]
fn nothing_but_status_1_may_be_approved() {
    broken(
        "{ field = \"status\", eq = 1 }, ",
        "{ field = \"status\", le = 2 }, ",
        "error in line 2, rule `passed`: this rule can approve status 2; only status 1 says \
         that the person passed: add { field = \"status\", eq = 1 }",
    );
    let open = "{ any = [{ field = \"status\", eq = 1 }, { field = \"face_score\", ge = 99 }] }, ";
    broken(
        "{ field = \"status\", eq = 1 }, ",
        open,
        "error in line 2, rule `passed`: this rule can approve status 2; only status 1 says \
         that the person passed: add { field = \"status\", eq = 1 }",
    );
}

#[test]
fn an_example_that_fails_refuses_the_policy() {
    broken(
        "outcome = \"review\"\nreasons = [\"look\"]",
        "outcome = \"reject\"\nreasons = [\"look\"]",
        "error in line 14: the example \"seven\" expects reject (look), but the policy decides \
         review (look)",
    );
    broken(
        "reasons = [\"look\"]",
        "reasons = [\"fine\"]",
        "error in line 14: the example \"seven\" expects review (fine), but the policy decides \
         review (look)",
    );
    broken(
        "authority_score = 30.0",
        "lowest_score = 30.0",
        "error in line 16: `lowest_score` follows from the scores; give those",
    );
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    let lenient = GOOD.replace("ge = \"far-0.01%\"", "ge = \"far-0.01%\", missing = true");
    let dead = "[[rule]]\nid = \"dead\"\nreason = \"dead\"\noutcome = \"reject\"\n\
                text = { zh = \"无\", en = \"none\" }\nwhen = { all = [{ field = \"status\", lt = 1 }, \
                { not = { field = \"status\", lt = 1 } }] }\n";
    let policy = Policy::load(&format!("{lenient}{dead}")).unwrap();
    let warnings: Vec<String> = policy.warnings().iter().map(Finding::to_string).collect();
    assert_eq!(
        warnings,
        [
            "warning in line 2, rule `passed`: this rule may approve because `lowest_score` is \
             absent",
            "warning in line 19, rule `dead`: this rule can never match, whatever the status",
        ]
    );
}

#[test]
fn a_text_that_is_no_policy_is_told_so() {
    let first = |text: &str| Policy::load(text).unwrap_err()[0].to_string();
    assert_eq!(first("name = \"x\""), "error: a policy needs at least one [[rule]]");
    assert_eq!(first(&" ".repeat(300_000)), "error: a policy is at most 256 KiB long");
    let complaint = first("name = \"x\"\nrule = [");
    assert!(complaint.starts_with("error in line 2: this is not TOML: "), "{complaint}");
    assert_eq!(
        first("name = \"x\"\nrule = 3"),
        "error in line 2: write each rule under a heading [[rule]]"
    );
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_text() {
    let text = GOOD.replace("ne = 1", "eq = true").replace("far-0.01%", "far").replace("看", "");
    let findings = Policy::load(&text).unwrap_err();
    assert_eq!(findings.iter().map(|f| f.line).collect::<Vec<_>>(), [Some(7), Some(12), Some(13)]);
}
