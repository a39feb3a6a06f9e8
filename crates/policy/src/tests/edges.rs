//! Comparisons of `card_days_left`: by published edges only, and what was stored before is read as
//! it was.

use super::*;
use crate::card_days::CARD_DAYS_EDGES;

/// The default policy with one more rule, without its examples, whose evidence has no card.
fn with(condition: &str) -> String {
    let rules = DEFAULT.split("[[example]]").next().unwrap_or(DEFAULT);
    format!(
        "{rules}\n[[rule]]\nid = \"card\"\nreason = \"card-ends\"\noutcome = \"review\"\n\
         text = {{ zh = \"证\", en = \"card\" }}\nwhen = {condition}\n"
    )
}

fn comparison(rest: &str) -> String {
    with(&format!(
        "{{ all = [{{ field = \"status\", eq = 1 }}, {{ field = \"card_days_left\", {rest}, missing = false }}] }}"
    ))
}

fn messages(text: &str) -> Vec<String> {
    let findings = match Policy::load(text) {
        Ok(policy) => policy.warnings().to_vec(),
        Err(findings) => findings,
    };
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bound_that_is_no_edge_is_an_error_with_its_neighbours() {
    for (rest, named) in [
        ("lt = 45", "45 is no edge: use 30 or 60"),
        ("ge = 1", "1 is no edge: use 0 or 7"),
        ("le = -1", "-1 is no edge: use -7 or 0"),
        ("in = [30, 31]", "31 is no edge: use 30 or 60"),
        ("gt = 100000", "100000 is no edge: use 3650"),
        ("eq = -100000", "-100000 is no edge: use -36500"),
    ] {
        let text = comparison(rest);
        assert!(Policy::load(&text).is_err(), "{rest}");
        let said = messages(&text).join("\n");
        assert!(said.contains("error in line") && said.contains(named), "{rest}: {said}");
    }
}

#[test]
fn every_edge_is_a_bound() {
    for edge in CARD_DAYS_EDGES {
        for operator in ["lt", "ge"] {
            let text = comparison(&format!("{operator} = {edge}"));
            assert_eq!(messages(&text), [""; 0], "{operator} {edge}");
        }
    }
}

#[test]
fn an_operator_that_means_more_days_than_it_says_is_warned_of() {
    for rest in ["le = 30", "gt = 30", "eq = 30", "ne = 30"] {
        let said = messages(&comparison(rest)).join("\n");
        assert!(said.contains("30 stands for 30 to 59 days"), "{rest}: {said}");
        assert!(Policy::load(&comparison(rest)).is_ok(), "{rest}");
    }
    let said = messages(&comparison("in = [30, 60]")).join("\n");
    assert!(said.contains("compare with `lt` and `ge`"), "{said}");
}

#[test]
fn what_was_stored_before_the_edges_still_decides_as_it_did() {
    let old = Policy::load_stored(&comparison("lt = 45")).expect("stored policies still load");
    let answer = |days| {
        let mut evidence = evidence(1, [Some(97.0), None, None]);
        evidence.card_days_left = Some(days);
        evidence
    };
    assert!(old.compares_between_edges());
    assert!(!Policy::load_stored(&comparison("lt = 30")).unwrap().compares_between_edges());
    // With exact numbers, as they were stored then.
    let codes = |days| decide(&old, &answer(days)).codes();
    assert!(codes(44).contains(&"card-ends".to_owned()));
    assert!(!codes(45).contains(&"card-ends".to_owned()));
    let stored = serde_json::to_value(answer(44)).unwrap();
    let read: Evidence = serde_json::from_value(stored).unwrap();
    assert_eq!(read.card_days_left, Some(44));
}

#[test]
fn an_example_may_give_any_number_of_days() {
    let text = format!(
        "{}\n[[example]]\nname = \"card ends in 20 days\"\nevidence = {{ status = 1, face_score = 97, card_days_left = 20 }}\n\
         outcome = \"review\"\nreasons = [\"card-ends\", \"provider-passed\"]\n",
        comparison("lt = 30")
    );
    assert_eq!(messages(&text), [""; 0]);
    let Ok(policy) = Policy::load(&text) else { panic!() };
    let mut answer = evidence(1, [Some(97.0), None, None]);
    answer.card_days_left = Some(14);
    let seen = decide(&policy, &answer);
    assert!(
        seen.reasons
            .iter()
            .flat_map(|reason| &reason.observed)
            .any(|o| o.field == "card_days_left")
    );
}
