//! Broken policies, each with the exact words it gets back.

use super::*;
use crate::Diagnostic;

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

/// The loader's findings after replacing `from` by `to`.
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} must stand in the good policy once");
    let text = GOOD.replace(from, to);
    Policy::load(&text).unwrap_err().iter().map(Diagnostic::to_string).collect()
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
        "error in line 13, rule `others`: `status` holds a whole number, not a text; write 1 without quotes",
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
        "error in line 13, rule `others`: a comparison has a field and one operator: write \
         { all = [{ field = \"status\", ne = 1 }, { field = \"status\", gt = 0 }] }",
    );
    broken(
        "ne = 1",
        "exists = true, missing = true",
        "error in line 13, rule `others`: `exists` takes no `missing`: it tests for absence itself",
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
        "error in line 13, rule `others`: `all` must be alone in its table: move the other keys into its list",
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
        "error in line 9, rule `passed`: another rule has the same id",
    );
    broken(
        "reason = \"look\"",
        "reason = \"fine\"",
        "error in line 10, rule `others`: the rule `passed` already gives the reason `fine`; \
         each rule needs a reason of its own",
    );
    broken(
        "reason = \"look\"",
        "reason = \"evidence-missing\"",
        "error in line 10, rule `others`: the reason `evidence-missing` is built in; \
         choose another one",
    );
    broken(
        "reason = \"look\"",
        "reason = \"Look!\"",
        "error in line 10, rule `others`: `reason` must be kebab-case (a-z, 0-9, single \
         hyphens, at most 64 characters), not `Look!`; write \"look\"",
    );
    assert!(Policy::load(&GOOD.replace("zh = \"看\", ", "")).is_ok(), "one language is enough");
    broken(
        "en = \"look\"",
        "en = \" \"",
        "error in line 12, rule `others`: `en` must not be empty",
    );
}

#[test]
fn every_status_must_be_spoken_about() {
    broken("ne = 1", "not_in = [1, 9, 10]", "error: no rule covers status 9, 10");
    // A rule that never looks at the status speaks of none.
    let silent = "{ field = \"face_mask\", eq = true, missing = false }";
    assert_eq!(
        complaints("{ field = \"status\", ne = 1 }", silent)[0],
        "error: no rule covers status 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
    );
    broken(
        "ne = 1",
        "in = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
        "error: no rule covers unknown statuses such as 13; add one with \
         { field = \"status\", not_in = [1, 2, …, 12] }",
    );
}

#[test]
fn nothing_but_status_1_may_be_approved() {
    broken(
        "{ field = \"status\", eq = 1 }, ",
        "{ field = \"status\", le = 2 }, ",
        "error in line 7, rule `passed`: this rule can approve status 2; only status 1 says \
         that the person passed: add { field = \"status\", eq = 1 }",
    );
    let open = "{ any = [{ field = \"status\", eq = 1 }, { field = \"face_score\", ge = 99 }] }, ";
    broken(
        "{ field = \"status\", eq = 1 }, ",
        open,
        "error in line 7, rule `passed`: this rule can approve status 2; only status 1 says \
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

/// The good policy with a rule before its example.
fn with_rule(id: &str, outcome: &str, when: &str) -> String {
    let rule = format!(
        "[[rule]]\nid = \"{id}\"\nreason = \"{id}\"\noutcome = \"{outcome}\"\n\
         text = {{ zh = \"无\", en = \"none\" }}\nwhen = {when}\n[[example]]"
    );
    GOOD.replace("[[example]]", &rule)
}

/// A score, or no score, that would do instead of the good one.
const SCORE: &str = "{ field = \"lowest_score\", ge = \"far-0.01%\" }";

#[test]
fn nobody_is_approved_because_evidence_is_absent() {
    for (leaf, field) in [
        ("{ field = \"lowest_score\", ge = 90, missing = true }", "lowest_score"),
        ("{ not = { field = \"lowest_score\", lt = 90, missing = false } }", "lowest_score"),
        ("{ not = { field = \"lowest_score\", exists = true } }", "lowest_score"),
        ("{ field = \"face_score\", exists = false }", "face_score"),
        ("{ field = \"scores_present\", eq = 0 }", "scores_present"),
        ("{ field = \"scores_present\", lt = 3 }", "scores_present"),
        ("{ not = { field = \"scores_present\", in = [1, 2, 3] } }", "scores_present"),
        (
            "{ any = [{ field = \"face_mask\", eq = false, missing = true }, { field = \"lowest_score\", ge = 90 }] }",
            "face_mask",
        ),
        (
            "{ not = { all = [{ field = \"age_years\", lt = 18, missing = false }, { field = \"face_mask\", eq = true }] } }",
            "age_years",
        ),
        ("{ field = \"has_face_image\", ne = true }", "has_face_image"),
    ] {
        let expected = format!(
            "error in line 7, rule `passed`: this rule can approve because evidence is absent \
             (`{field}`): absent evidence must never approve"
        );
        broken(SCORE, leaf, &expected);
    }
    // Conditions that absence cannot satisfy, or that cannot fail.
    for fine in [
        "{ field = \"lowest_score\", ge = 0, missing = true }",
        "{ field = \"scores_present\", ge = 1 }, { field = \"lowest_score\", ge = 90, missing = true }",
        "{ field = \"face_mask\", eq = false, missing = false }",
        "{ not = { field = \"face_mask\", eq = true } }",
        "{ field = \"malformed_fields\", eq = 0 }",
    ] {
        let policy = Policy::load(&GOOD.replace(SCORE, fine));
        assert!(policy.is_ok_and(|policy| policy.warnings().is_empty()), "{fine}");
    }
    // A policy stored before this check existed decides as before.
    let old = GOOD.replace(SCORE, "{ field = \"lowest_score\", ge = 90, missing = true }");
    assert!(Policy::load_stored(&old).is_some());
}

#[test]
fn contradicting_comparisons_are_found_anywhere() {
    let score = "{ field = \"lowest_score\", ge = 90 }";
    for (with, why) in [
        (
            "{ not = { field = \"lowest_score\", ge = 90 } }",
            "`lowest_score` cannot be at least 90 and below 90",
        ),
        (
            "{ any = [{ field = \"lowest_score\", lt = 60 }, { field = \"lowest_score\", lt = 50 }] }",
            "`lowest_score` cannot be at least 90 and below 60",
        ),
        (
            "{ not = { any = [{ field = \"lowest_score\", gt = 60 }, { field = \"face_mask\", eq = true }] } }",
            "`lowest_score` cannot be at least 90 and at most 60",
        ),
        (
            "{ field = \"face_score\", lt = 50 }",
            "`face_score` cannot be below 50 where `lowest_score` is at least 90",
        ),
        (
            "{ field = \"scores_present\", lt = 1 }",
            "`scores_present` cannot be below 1 where `lowest_score` is at least 90",
        ),
        (
            "{ field = \"scores_present\", eq = 3 }, { not = { field = \"face_score\", exists = true } }",
            "`face_score` cannot be absent where `scores_present` is 3",
        ),
    ] {
        let text = with_rule("more", "reject", &format!("{{ all = [{score}, {with}] }}"));
        let said: Vec<String> =
            Policy::load(&text).unwrap_err().iter().map(Diagnostic::to_string).collect();
        assert_eq!(
            said,
            [format!("error in line 19, rule `more`: this rule can never match: {why}")]
        );
    }
    // Possible after all.
    for with in [
        "{ not = { field = \"face_score\", ge = 95 } }",
        "{ field = \"face_score\", lt = 50, missing = true }",
        "{ field = \"scores_present\", eq = 2 }, { field = \"face_score\", exists = false }",
        "{ any = [{ field = \"lowest_score\", lt = 91 }, { field = \"lowest_score\", lt = 50 }] }",
    ] {
        let text = with_rule("more", "reject", &format!("{{ all = [{score}, {with}] }}"));
        let said = Policy::load(&text)
            .map_err(|f| f.iter().map(Diagnostic::to_string).collect::<Vec<_>>());
        assert!(said.is_ok(), "{with}: {said:?}");
    }
}

#[test]
fn a_rule_that_a_stricter_one_always_overrules_is_a_warning() {
    let warnings = |text: &str| -> Vec<String> {
        Policy::load(text).unwrap().warnings().iter().map(Diagnostic::to_string).collect()
    };
    let of = |rule: &str, line: u8, stricter: &str, more: &str| {
        format!(
            "warning in line {line}, rule `{rule}`: this rule cannot decide: whenever it matches, \
             the stricter `{stricter}` matches too{more}"
        )
    };
    let unjudged = |rule: &str, line: u8, field: &str| {
        format!(
            "warning in line {line}, rule `{rule}`: where `{field}` is absent this rule gives \
             `evidence-missing`, and a person must look: write `missing = false` beside it if the \
             rule does not match then, `missing = true` if it does"
        )
    };
    // By ranges: 8 is among those that are not 1, and at least 90 is at least 80.
    assert_eq!(
        warnings(&with_rule("eight", "retry", "{ field = \"status\", eq = 8 }")),
        [of("eight", 19, "others", "")]
    );
    assert_eq!(
        warnings(&with_rule(
            "strict",
            "review",
            "{ field = \"lowest_score\", ge = 80, missing = false }"
        )),
        [of("passed", 7, "strict", "")]
    );
    assert_eq!(
        warnings(&with_rule(
            "strict",
            "review",
            "{ all = [{ field = \"status\", eq = 1 }, { not = { field = \"age_years\", lt = 150, missing = false } }] }"
        )),
        [] as [String; 0]
    );
    // One that cannot be judged asks for a person, too.
    assert_eq!(
        warnings(&with_rule("any", "reject", "{ field = \"authority_score\", ge = 60 }")),
        [of("passed", 7, "any", ", or cannot be judged"), unjudged("any", 19, "authority_score")]
    );
    assert_eq!(
        warnings(&with_rule(
            "low",
            "reject",
            "{ all = [{ field = \"status\", eq = 1 }, { field = \"authority_score\", lt = 90, missing = false }] }"
        )),
        [] as [String; 0]
    );
}

#[test]
fn what_the_database_could_not_hold_is_refused() {
    let scene = |bound: &str| format!("{{ field = \"biz_type\", ne = {bound} }}");
    let twice = |when: &str| format!("{{ all = [{{ field = \"status\", ne = 1 }}, {when}] }}");
    let others = "{ field = \"status\", ne = 1 }";
    let last = |text: &str| Policy::load(text).unwrap_err().last().unwrap().to_string();
    for bad in ["\"a\\u0000b\"", "\"\"", "\"bell\\u0007\"", &format!("\"{}\"", "x".repeat(65))] {
        let said = last(&GOOD.replace(others, &twice(&scene(bad))));
        assert!(
            said.starts_with("error in line 13, rule `others`: invalid `biz_type`: must"),
            "{said}"
        );
    }
    let scenes: Vec<String> = (0..65).map(|n| format!("\"s{n}\"")).collect();
    let many = format!("{{ field = \"biz_type\", not_in = [{}] }}", scenes.join(", "));
    let said = last(&GOOD.replace(others, &twice(&many)));
    assert_eq!(said, "error in line 13, rule `others`: a list has at most 64 values");
    let long = format!("{{ all = [{}] }}", vec![others; 65].join(", "));
    let said = last(&GOOD.replace(others, &long));
    assert_eq!(said, "error in line 13, rule `others`: a rule has at most 64 comparisons");
    for name in ["\"a\\u0000b\"", "\"a\\u001b[31m\"", &format!("\"{}\"", "x".repeat(129))] {
        let said = last(&GOOD.replace("\"small\"", name));
        assert!(said.starts_with("error in line 1: `name` must be at most 128"), "{said}");
    }
    let said = last(&GOOD.replace("\"look\" }", "\"lo\\u0000ok\" }"));
    assert_eq!(
        said,
        "error in line 12, rule `others`: `text` must be without control and invisible characters"
    );
    // A policy stored before this check existed.
    assert!(Policy::load_stored(&GOOD.replace(others, &twice(&scene("\"a\\u0000b\"")))).is_some());
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
