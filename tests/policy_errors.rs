//! Broken policies, each with exactly what `verdict policy check` prints about it: the table is
//! `policy_errors.txt`; after a wanted change, `UPDATE=1 cargo test --test policy_errors` writes it.

use std::fmt::Write;
use std::path::Path;

use policy::{Policy, render};

/// A small good policy, broken in one place at a time.
const GOOD: &str = r#"name = "small"
[[rule]]
id = "passed"
reason = "fine"
outcome = "approve"
text = { zh = "好", en = "fine" }
when = { all = [{ field = "status", eq = 1 }, { field = "lowest_score", ge = 90.0 }] }
[[rule]]
id = "others"
reason = "look"
outcome = "review"
text = { zh = "看看这个人", en = "look" }
when = { field = "status", ne = 1 }
[[example]]
name = "seven"
evidence = { status = 7, authority_score = 30.0 }
outcome = "review"
reasons = ["look"]
"#;

const SCORE: &str = r#"{ field = "lowest_score", ge = 90.0 }"#;
const OTHERS: &str = r#"when = { field = "status", ne = 1 }"#;

/// Each pair: the text to replace, and its replacement.
const BROKEN: &[(&str, &str)] = &[
    ("name = \"small\"", "nam = \"small\""),
    ("name = \"small\"", "name = \"small\"\nversion = 3"),
    ("name = \"small\"", "name = small"),
    ("name = \"small\"", "name = \"sm\\u200Ball\""),
    ("when = { field", "# not\u{202e} approved\nwhen = { field"),
    ("name = \"small\"", "name = \"\""),
    ("id = \"passed\"\n", ""),
    ("id = \"passed\"", "id = \"Passed!\""),
    ("id = \"others\"", "id = \"passed\""),
    ("reason = \"look\"", "reason = \"fine\""),
    ("reason = \"fine\"", "reason = \"evidence-missing\""),
    ("outcome = \"approve\"", "outcome = \"aprove\""),
    ("outcome = \"approve\"", "outcome = 1"),
    ("text = { zh = \"看看这个人\", en = \"look\" }", "text = {}"),
    ("text = { zh = \"看看这个人\", en = \"look\" }", "text = { zh = \"看看这个人\", en = \"\" }"),
    (
        "text = { zh = \"看看这个人\", en = \"look\" }",
        "text = { zh = \"看看这个人\", en = \"look\", french = \"voir\" }",
    ),
    ("text = { zh = \"好\", en = \"fine\" }", "text = \"fine\""),
    (OTHERS, ""),
    (SCORE, r#"{ field = "lowst_score", ge = 90.0 }"#),
    (SCORE, r#"{ field = "lowest_score", gte = 90.0 }"#),
    (SCORE, r#"{ field = "lowest_score", ge = "far-0.02%" }"#),
    (SCORE, r#"{ field = "lowest_score", ge = 190.0 }"#),
    (SCORE, r#"{ field = "lowest_score", ge = -1 }"#),
    (SCORE, r#"{ field = "lowest_score", ge = true }"#),
    (SCORE, r#"{ field = "lowest_score" }"#),
    (SCORE, r#"{ field = "lowest_score", ge = 90.0, lt = 95.0 }"#),
    (SCORE, r#"{ field = "face_quality", ge = "GOOD" }"#),
    (SCORE, r#"{ field = "face_mask", lt = true }"#),
    (SCORE, r#"{ field = "face_mask", eq = "no" }"#),
    (SCORE, r#"{ field = "age_years", ge = 18.5 }"#),
    (SCORE, r#"{ field = "age_years", ge = 1000 }"#),
    (SCORE, r#"{ field = "scores_present", in = [] }"#),
    (SCORE, r#"{ field = "lowest_score", ge = 90.0, missing = "yes" }"#),
    (SCORE, "{ any = [] }"),
    (SCORE, r#"{ not = [ { field = "face_mask", eq = true } ] }"#),
    (SCORE, "{ field = \"lowest_score\", ge = 90.0 }, { field = \"lowest_score\", lt = 60.0 }"),
    (SCORE, "{ field = \"lowest_score\", gt = 90.0 }, { field = \"lowest_score\", le = 90.0 }"),
    (SCORE, "{ field = \"age_years\", gt = 17 }, { field = \"age_years\", lt = 18 }"),
    (SCORE, "{ field = \"scores_present\", in = [1, 2] }, { field = \"scores_present\", eq = 3 }"),
    (SCORE, "{ field = \"face_mask\", eq = true }, { field = \"face_mask\", ne = true }"),
    (
        SCORE,
        "{ field = \"face_quality\", ge = \"HIGH\" }, { field = \"face_quality\", lt = \"LOW\" }",
    ),
    (SCORE, "{ field = \"face_score\", exists = false }, { field = \"face_score\", ge = 80.0 }"),
    (SCORE, "{ field = \"biz_type\", eq = \"a\" }, { field = \"biz_type\", eq = \"b\" }"),
    (SCORE, "{ field = \"status\", eq = 2 }"),
    (
        SCORE,
        "{ any = [{ all = [{ field = \"face_score\", lt = 1 }, { field = \"face_score\", gt = 2 }] }] }",
    ),
    ("{ field = \"status\", eq = 1 }, ", ""),
    // Excluded through `not` and `any`, and by what scores have to do with each other.
    (
        SCORE,
        "{ field = \"lowest_score\", ge = 90.0 }, { not = { field = \"lowest_score\", ge = 90.0 } }",
    ),
    (
        SCORE,
        "{ field = \"lowest_score\", ge = 90.0 }, { any = [{ field = \"lowest_score\", lt = 60.0 }, \
         { field = \"lowest_score\", lt = 50.0 }] }",
    ),
    (SCORE, "{ field = \"lowest_score\", ge = 90.0 }, { field = \"face_score\", lt = 50.0 }"),
    (SCORE, "{ field = \"scores_present\", eq = 3 }, { field = \"face_score\", exists = false }"),
    // Approved for what was not seen.
    (SCORE, "{ field = \"lowest_score\", ge = 90.0, missing = true }"),
    (SCORE, "{ not = { field = \"lowest_score\", lt = 90.0, missing = false } }"),
    (SCORE, "{ not = { field = \"lowest_score\", exists = true } }"),
    (SCORE, "{ field = \"scores_present\", eq = 0 }"),
    (SCORE, "{ field = \"has_face_image\", eq = false }"),
    // Written as in other languages.
    (SCORE, r#"{ field = "lowest_score", between = [60, 90] }"#),
    (SCORE, r#"{ field = "lowest_score", ">=" = 90 }"#),
    (SCORE, r#"{ field = "lowest_score", >= 90 }"#),
    (SCORE, r#"{ field = "lowest_score", ge = 60, lt = 90 }"#),
    (SCORE, r#"{ field = "lowest_score", min = 60, max = 90 }"#),
    (SCORE, r#"{ field = "lowest_score", min = 60 }"#),
    (SCORE, r#"{ field = "lowest_score", op = ">", value = 90 }"#),
    (SCORE, r"{ lowest_score = { gte = 90 } }"),
    (SCORE, r"{ lowestScore = 90 }"),
    (SCORE, r"{ lowest_score >= 90 }"),
    (SCORE, r#"{ field = "lowest_score", ge = "90" }"#),
    (SCORE, r#"{ field = "lowest_score", ge = "90%" }"#),
    (SCORE, r#"{ field = "lowest_score", eq = [90, 95] }"#),
    (SCORE, r#"{ field = "age", ge = 18 }"#),
    (SCORE, r#"{ field = "AgeYears", ge = 18 }"#),
    (SCORE, r#"{ field = "age_years", ge = "18" }"#),
    (SCORE, r#"{ field = "age_years", ge = 18.0 }"#),
    (SCORE, r#"{ field = "face_mask", eq = "false" }"#),
    (SCORE, r#"{ field = "face_mask", eq = 0 }"#),
    (SCORE, r#"{ field = "face_quality", ge = "normal" }"#),
    (SCORE, r#"{ field = "biz_type", eq = 7 }"#),
    (SCORE, r#"{ field = "biz_type", in = "demo" }"#),
    (SCORE, r#"{ and = [{ field = "face_mask", eq = false }] }"#),
    (SCORE, r#"{ all = { field = "face_mask", eq = false } }"#),
    (SCORE, r#"{ field = "attempt", ge = 3 }"#),
    (OTHERS, r#"when = [{ field = "status", ne = 1 }]"#),
    (OTHERS, r#"when = "status != 1""#),
    (OTHERS, "when = status != 1"),
    (OTHERS, r#"when = { field = "status", ne = "1" }"#),
    (OTHERS, r"when = { status = [2, 3] }"),
    (OTHERS, "when = { field = “status”, ne = 1 }"),
    (OTHERS, r#"if = { field = "status", ne = 1 }"#),
    ("id = \"others\"", "id = \"Other_Cases\""),
    ("outcome = \"approve\"", "outcome = \"accept\""),
    ("outcome = \"approve\"", "action = \"approve\""),
    ("reasons = [\"look\"]", "reasons = \"look\""),
    ("status = 7, authority_score", "verify_status = 7, score"),
    ("authority_score = 30.0", "authority_score = \"30\""),
    // Both products.
    (SCORE, r#"{ field = "verify_score", ge = "far-0.01%" }"#),
    (SCORE, r#"{ field = "attack_score", lt = 50 }"#),
    (SCORE, r#"{ field = "product", eq = "face verify" }"#),
    (SCORE, r#"{ field = "family", in = ["pass", "fail"] }"#),
    (SCORE, r#"{ field = "provider_outcome", gt = "passed" }"#),
    (SCORE, r#"{ field = "code", eq = 200 }"#),
    (SCORE, r#"{ field = "device_risk", in = ["ROOT"] }"#),
    (SCORE, r#"{ field = "device_risk", contains_any = ["root"] }"#),
    (SCORE, r#"{ field = "device_risk", contains_none = ["ROOT"], missing = true }"#),
    (SCORE, r#"{ field = "product", eq = "face-verify" }"#),
    (OTHERS, r#"when = { field = "family", in = ["identity-data", "face"] }"#),
    ("status = 7, authority_score", "status = 7, product = \"face-verify\", authority_score"),
    ("status = 7, authority_score", "code = \"204\", authority_score"),
    (
        "status = 7, authority_score",
        "product = \"face-verify\", code = \"204\", device_risk = \"ROOT\", authority_score",
    ),
    // Absent evidence, in an example.
    (
        OTHERS,
        r#"when = { all = [{ field = "status", ne = 1 }, { field = "age_years", lt = 18 }] }"#,
    ),
    // Characters that the database or a terminal cannot hold.
    ("name = \"small\"", "name = \"a\\u0000b\""),
    ("en = \"look\" }", "en = \"\\u001b[31mlook\" }"),
    (SCORE, "{ field = \"biz_type\", ne = \"a\\u0000b\" }"),
    (SCORE, "{ field = \"biz_type\", in = [\"good\", \"bell\\u0007\"] }"),
    (OTHERS, "when = { field = \"status\", in = [2, 3] }"),
    (OTHERS, "when = { field = \"status\", in = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] }"),
    ("outcome = \"review\"\nreasons", "outcome = \"reject\"\nreasons"),
    ("status = 7, ", ""),
    ("authority_score = 30.0", "lowest_score = 30.0"),
    ("[[rule]]\nid = \"others\"", "[rule]\nid = \"others\""),
    ("evidence = { status = 7", "evidence = { status = 7,, "),
];

#[test]
fn broken_policies_get_exactly_the_recorded_messages() {
    assert!(Policy::load(GOOD).is_ok_and(|policy| policy.warnings().is_empty()));
    let mut said = String::new();
    for (from, to) in BROKEN {
        assert_eq!(GOOD.matches(from).count(), 1, "{from:?} must stand in the good policy once");
        let text = GOOD.replace(from, to);
        let findings = Policy::load(&text).expect_err(to);
        let _ = write!(said, "──── {} → {}\n\n", from.escape_debug(), to.escape_debug());
        let _ = writeln!(said, "{}", render(&findings, &text, "small.toml"));
    }
    for (what, text) in [("nothing", String::new()), ("too long", " ".repeat(300_000))] {
        let findings = Policy::load(&text).expect_err(what);
        let _ = write!(said, "──── {what}\n\n{}\n", render(&findings, &text, "small.toml"));
    }
    // Valid, but suspicious.
    let stricter = GOOD.replace(
        "[[example]]",
        "[[rule]]\nid = \"shadowed\"\nreason = \"never\"\noutcome = \"retry\"\n\
         text = { zh = \"无\", en = \"never\" }\n\
         when = { all = [{ field = \"status\", ne = 1 }, { field = \"face_mask\", eq = true, missing = false }] }\n\
         [[example]]",
    );
    let dead = "{ any = [{ field = \"face_mask\", eq = false }, \
                { all = [{ field = \"face_score\", lt = 1 }, { field = \"face_score\", gt = 2 }] }] }";
    let other = |when: &str| {
        let rule = format!(
            "[[rule]]\nid = \"other\"\nreason = \"other\"\noutcome = \"review\"\n\
             text = {{ zh = \"无\", en = \"other\" }}\nwhen = {when}\n[[example]]"
        );
        GOOD.replace("[[example]]", &rule)
    };
    for odd in [
        stricter,
        GOOD.replace(SCORE, &format!("{SCORE}, {dead}")),
        other("{ field = \"lowest_score\", ge = 80.0 }"),
        other("{ field = \"authority_score\", ge = 60.0 }"),
    ] {
        let policy = Policy::load(&odd).expect("only warnings");
        let _ = writeln!(said, "──── odd\n\n{}", render(policy.warnings(), &odd, "small.toml"));
    }

    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_errors.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&table, &said).expect("written");
    }
    let known = std::fs::read_to_string(&table).unwrap_or_default();
    for (n, (known, said)) in known.lines().zip(said.lines()).enumerate() {
        assert_eq!(known, said, "line {} of policy_errors.txt", n + 1);
    }
    assert_eq!(known.lines().count(), said.lines().count(), "policy_errors.txt has other lines");
}
