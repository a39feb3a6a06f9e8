//! Properties of every policy and every piece of evidence.

use proptest::prelude::*;

use super::*;
use crate::condition::{Bound, Condition, Leaf, Operator, Test};
use crate::contradiction::{Want, contradiction, follows};
use crate::effort::Effort;
use crate::evidence::FaceQuality;
use crate::field::{Field, Kind};
use crate::rule::Rule;
use crate::{Severity, check, field};

fn quality() -> impl Strategy<Value = FaceQuality> {
    prop::sample::select(vec![
        FaceQuality::Unqualified,
        FaceQuality::Low,
        FaceQuality::Normal,
        FaceQuality::High,
    ])
}

fn score() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(prop_oneof![
        6 => 0.0..=100.0,
        2 => Just(90.0),
        1 => prop::num::f64::ANY,
    ])
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let scores = (score(), score(), score());
    let card = (any::<Option<bool>>(), any::<Option<bool>>(), prop::option::of(-9_i64..99));
    let rest = (prop::option::of(quality()), any::<Option<bool>>(), any::<[bool; 4]>(), 0_usize..2);
    let status = prop_oneof![4 => Just(1), 4 => -2..15, 1 => any::<i32>()];
    let said = (status, any_face_verify());
    let person = (
        prop::option::of(-2_i64..99),
        0_i64..9,
        "[a-c]?",
        [(); 4].map(|()| prop::option::of(0_i64..9)),
    );
    (said, scores, card, rest, person).prop_map(|(said, (a, b, c), card, rest, person)| {
        let mut evidence = said.1.unwrap_or_else(|| evidence(said.0, [a, b, c]));
        (evidence.name_matches, evidence.number_matches, evidence.card_days_left) = card;
        (evidence.face_quality, evidence.face_mask) = (rest.0, rest.1);
        let [face, card_front, card_back, face_global] = rest.2;
        evidence.images = ImagesOffered { face, card_front, card_back, face_global };
        if evidence.product == Product::FaceVerify {
            (evidence.face_quality, evidence.face_mask) = (None, None);
            evidence.images.face_global = false;
        }
        evidence.malformed = vec!["x".to_owned(); rest.3];
        (evidence.age_years, evidence.attempts, evidence.biz_type) = (person.0, person.1, person.2);
        [evidence.callbacks, evidence.answers, evidence.earlier_1d, evidence.earlier_30d] =
            person.3;
        evidence
    })
}

/// An answer of the second product, or none.
fn any_face_verify() -> impl Strategy<Value = Option<Evidence>> {
    let code = prop::sample::select(vec!["200", "210", "201", "204", "220", "417", "208", "x"]);
    let said = prop_oneof![
        4 => Just((Some(true), Some("200"))),
        4 => (any::<Option<bool>>(), prop::option::of(code)),
    ];
    let scores = ([(); 4].map(|()| score()), prop::option::of(-0.1..1.1));
    let rest = ([(); 3].map(|()| any::<Option<bool>>()), prop::collection::vec(label(), 0..3));
    prop::option::of((said, scores, rest)).prop_map(|given| {
        let ((passed, code), ([verify, id_card, quality, risk], attack), (flags, labels)) = given?;
        let mut evidence = face_verify(passed, code);
        evidence.scores = Scores { verify, id_card, quality, attack, ..Scores::default() };
        evidence.guard_risk_score = risk;
        [evidence.face_occluded, evidence.face_attack, evidence.wear_hat] = flags;
        evidence.device_risk = labels;
        Some(evidence)
    })
}

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["ROOT".to_owned(), "VPN".to_owned(), "HOOK".to_owned()])
}

fn bound(field: Field) -> BoxedStrategy<Bound> {
    let text = |text: &str| Bound::Text(text.to_owned());
    match field.kind() {
        Kind::Fraction => (0.0..=1.0).prop_map(Bound::Score).boxed(),
        Kind::Word => prop::sample::select(field.words()).prop_map(text).boxed(),
        Kind::Labels => label().prop_map(Bound::Text).boxed(),
        Kind::Text if field == Field::Code => {
            prop::sample::select(vec!["1", "7", "200", "204", "208"]).prop_map(text).boxed()
        }
        Kind::Flag => any::<bool>().prop_map(Bound::Flag).boxed(),
        Kind::Whole => (-2_i64..15).prop_map(Bound::Whole).boxed(),
        Kind::Score => (0.0..=100.0).prop_map(Bound::Score).boxed(),
        Kind::Quality => quality().prop_map(Bound::Quality).boxed(),
        Kind::Text => "[a-c]?".prop_map(Bound::Text).boxed(),
    }
}

fn leaf() -> impl Strategy<Value = Condition> {
    let operators =
        vec![Operator::Eq, Operator::Ne, Operator::Lt, Operator::Le, Operator::Gt, Operator::Ge];
    (prop::sample::select(Field::ALL), prop::sample::select(operators)).prop_flat_map(
        |(field, operator)| {
            let labels = field.kind() == Kind::Labels;
            let many = (any::<bool>(), prop::collection::vec(bound(field), 1..4));
            let test = if labels { Test::Contains } else { Test::Member };
            let many = many.prop_map(move |(wanted, bounds)| test(wanted, bounds));
            let one = bound(field).prop_map(move |bound| Test::Compare(operator, bound));
            let compare = if labels { many.clone().boxed() } else { one.boxed() };
            let test = prop_oneof![
                4 => compare,
                1 => many,
                1 => any::<bool>().prop_map(Test::Exists),
            ];
            (test, any::<Option<bool>>())
                .prop_map(move |(test, missing)| Condition::Leaf(Leaf { field, test, missing }))
        },
    )
}

fn condition() -> impl Strategy<Value = Condition> {
    leaf().prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::Any),
            inner.prop_map(|part| Condition::Not(Box::new(part))),
        ]
    })
}

/// Over scores, of which some depend on others, with round bounds that meet.
fn scores_condition() -> impl Strategy<Value = Condition> {
    let scores = vec![Field::LowestScore, Field::FaceScore, Field::AuthorityScore];
    let bounds = prop::sample::select(vec![0.0, 60.0, 90.0, 100.0]);
    let operators = vec![Operator::Lt, Operator::Le, Operator::Gt, Operator::Ge, Operator::Eq];
    let score = (prop::sample::select(scores), prop::sample::select(operators), bounds)
        .prop_map(|(field, operator, bound)| (field, Test::Compare(operator, Bound::Score(bound))));
    let operators = vec![Operator::Lt, Operator::Ge, Operator::Eq];
    let count = (prop::sample::select(operators), 0_i64..4).prop_map(|(operator, bound)| {
        (Field::ScoresPresent, Test::Compare(operator, Bound::Whole(bound)))
    });
    let there = any::<bool>().prop_map(|wanted| (Field::FaceScore, Test::Exists(wanted)));
    let leaf = (prop_oneof![4 => score, 1 => count, 1 => there], any::<Option<bool>>())
        .prop_map(|((field, test), missing)| Condition::Leaf(Leaf { field, test, missing }));
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Condition::All),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Condition::Any),
            inner.prop_map(|part| Condition::Not(Box::new(part))),
        ]
    })
}

fn rules(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule>> {
    let one = (condition(), prop::sample::select(Outcome::ALL.to_vec()));
    prop::collection::vec(one, count).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        rules.map(|(index, (when, outcome))| rule(index, outcome, when)).collect()
    })
}

fn rule(index: usize, outcome: Outcome, when: Condition) -> Rule {
    let (id, reason) = (format!("rule-{index}"), format!("reason-{index}"));
    Rule { id, reason, outcome, texts: [].into(), when }
}

fn policy(rules: Vec<Rule>) -> Policy {
    let knows_products = rules.iter().any(Rule::knows_products);
    Policy { rules, knows_products, ..default_policy() }
}

/// Every way to take one thing out of the evidence, or all scores.
fn removals(evidence: &Evidence) -> Vec<Evidence> {
    let without = |change: &dyn Fn(&mut Evidence)| {
        let mut less = evidence.clone();
        change(&mut less);
        less
    };
    vec![
        without(&|e| e.scores = Scores::default()),
        without(&|e| e.face_quality = None),
        without(&|e| e.face_mask = None),
        without(&|e| e.face_occluded = None),
        without(&|e| e.face_attack = None),
        without(&|e| e.wear_hat = None),
        without(&|e| e.guard_risk_score = None),
        without(&|e| e.device_risk = Vec::new()),
        without(&|e| e.images = ImagesOffered::default()),
        without(&|e| e.name_matches = None),
        without(&|e| e.number_matches = None),
        without(&|e| e.card_days_left = None),
        without(&|e| e.age_years = None),
    ]
}

fn rule_about_products() -> Rule {
    let bound = Bound::Text("face-verify".to_owned());
    let test = Test::Compare(Operator::Eq, bound);
    rule(1, Outcome::Review, Condition::Leaf(Leaf { field: Field::Product, test, missing: None }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_called_contradictory_never_holds(
        parts in prop::collection::vec(condition(), 1..4), evidence in any_evidence(),
    ) {
        let condition = Condition::All(parts);
        if contradiction(&condition, &Effort::default()).is_some() {
            let truth = condition.judge(&|field: Field| field.read(&evidence));
            prop_assert_ne!(truth, Truth::True, "{:?}", condition);
        }
    }

    #[test]
    fn what_is_said_to_follow_does(
        parts in prop::collection::vec(leaf(), 1..4), more in leaf(), evidence in any_evidence(),
    ) {
        let weaker = Condition::All(parts.clone());
        let stronger = Condition::All(parts.into_iter().chain([more]).collect());
        prop_assert!(follows(&weaker, Want::True, &stronger, &Effort::default()));
        let judge = |condition: &Condition| condition.judge(&|field: Field| field.read(&evidence));
        if judge(&stronger) == Truth::True {
            prop_assert_eq!(judge(&weaker), Truth::True);
        }
    }

    // Of few fields, so that something does follow now and then.
    #[test]
    fn what_is_said_to_follow_of_any_two_does(
        one in scores_condition(), other in scores_condition(), evidence in any_evidence(),
    ) {
        let judge = |condition: &Condition| condition.judge(&|field: Field| field.read(&evidence));
        if judge(&one) == Truth::True {
            for want in [Want::True, Want::NotFalse, Want::False, Want::NotTrue] {
                if follows(&other, want, &one, &Effort::default()) {
                    prop_assert!(want.accepts(judge(&other)), "{:?} {:?} {:?}", one, want, other);
                }
            }
        }
    }

    // For checked policies: removing evidence never makes an approving rule match.
    #[test]
    fn checked_approval_never_rests_on_missing_evidence(
        when in condition(), evidence in any_evidence(),
    ) {
        let rule = rule(0, Outcome::Approve, when);
        let evidence = match evidence.product {
            Product::VerifyResult => Evidence { verify_status: Some(1), ..evidence },
            Product::FaceVerify => {
                Evidence { passed: Some(true), code: Some("210".to_owned()), ..evidence }
            }
        };
        let cases = crate::case::cases(&[rule.clone(), rule_about_products()]);
        let passed: Vec<_> = cases.iter().filter(|case| case.has_passed()).collect();
        let absences = check::absences(&rule, &passed);
        if absences.is_empty() && field::malformed_fields(&evidence) == 0 {
            let judge = |evidence: &Evidence| rule.when.judge(&|field: Field| field.read(evidence));
            for less in removals(&evidence) {
                let earned = judge(&less) != Truth::True
                    || judge(&evidence) == Truth::True;
                prop_assert!(earned, "{:?} {:?}", rule.when, less);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_rules_does_not_matter(
        rules in rules(0..6).prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        evidence in any_evidence(),
    ) {
        let (rules, shuffled) = rules;
        prop_assert_eq!(decide(&policy(rules), &evidence), decide(&policy(shuffled), &evidence));
    }

    // Except the first rule of a policy: before it, everything goes to review.
    #[test]
    fn one_more_rule_never_makes_the_outcome_milder(
        rules in rules(0..5), when in condition(), evidence in any_evidence(),
        outcome in prop::sample::select(Outcome::ALL.to_vec()),
    ) {
        let before = decide(&policy(rules.clone()), &evidence);
        let mut more = rules;
        more.push(rule(more.len(), outcome, when));
        let after = decide(&policy(more), &evidence);
        let silent = before.reasons.iter().any(|reason| reason.code == NO_RULE_MATCHED);
        prop_assert!(silent || after.outcome >= before.outcome, "{:?} {:?}", before, after);
    }

    #[test]
    fn the_same_two_always_give_the_same_and_a_reason_for_it(
        rules in rules(0..6), evidence in any_evidence(),
    ) {
        let policy = policy(rules);
        let decision = decide(&policy, &evidence);
        prop_assert_eq!(&decision, &decide(&policy, &evidence));
        let strictest = decision.reasons.iter().map(|reason| reason.outcome).max();
        prop_assert_eq!(Some(decision.outcome), strictest);
    }

    #[test]
    fn no_policy_approves_an_answer_with_a_malformed_field(
        rules in rules(0..6), evidence in any_evidence(),
    ) {
        let nonsense = |score: f64| !(0.0..=100.0).contains(&score);
        let others = [evidence.scores.verify, evidence.scores.quality, evidence.guard_risk_score];
        let scores = evidence.scores.present().chain(others.into_iter().flatten());
        if !evidence.malformed.is_empty() || scores.into_iter().any(nonsense) {
            prop_assert!(decide(&policy(rules), &evidence).outcome >= Outcome::Review);
        }
    }

    // Nothing but status 1 and high scores, or T with 200 or 210, under the default policy.
    #[test]
    fn an_approval_is_always_earned(evidence in any_evidence()) {
        let well = match evidence.product {
            Product::VerifyResult => evidence.verify_status == Some(1)
                && evidence.scores.present().count() > 0
                && evidence.scores.present().all(|score| (90.0..=100.0).contains(&score)),
            Product::FaceVerify => evidence.passed == Some(true)
                && ["200", "210"].contains(&evidence.code.as_deref().unwrap_or_default()),
        };
        let earned = well && field::malformed_fields(&evidence) == 0;
        let approved = decide(&default_policy(), &evidence).outcome == Outcome::Approve;
        prop_assert_eq!(approved, earned);
    }

    #[test]
    fn less_evidence_never_earns_an_approval(evidence in any_evidence()) {
        let policy = default_policy();
        let before = decide(&policy, &evidence).outcome;
        // What makes no sense may go: the second product is approved without scores.
        if field::malformed_fields(&evidence) == 0 {
            for less in removals(&evidence) {
                let after = decide(&policy, &less).outcome;
                prop_assert!(before == Outcome::Approve || after != Outcome::Approve, "{:?}", less);
            }
        }
    }

    // Only the bad score itself can hide: the policy asks for "every score that is present".
    #[test]
    fn losing_a_good_score_never_earns_an_approval(
        evidence in any_evidence(), which in 0_usize..3,
    ) {
        let policy = default_policy();
        let mut less = evidence.clone();
        let scores = &mut less.scores;
        let slots = [&mut scores.authority, &mut scores.face, &mut scores.id_card_face];
        let lost = slots.into_iter().nth(which).and_then(Option::take);
        if lost.is_none_or(|score| (90.0..=100.0).contains(&score)) {
            let before = decide(&policy, &evidence).outcome;
            let after = decide(&policy, &less).outcome;
            prop_assert!(before == Outcome::Approve || after != Outcome::Approve, "{:?}", less);
        }
    }

    #[test]
    fn the_loader_answers_any_text(text in "(?s).{0,200}") {
        let _ = Policy::load(&text);
    }

    // A text near a good one reaches further in than noise does.
    #[test]
    fn the_loader_answers_any_damaged_policy(
        from in any::<prop::sample::Index>(), length in 0_usize..80, instead in "[\\[\\]{}=\",a-z0-9.\n ]{0,12}",
    ) {
        let chars: Vec<char> = DEFAULT.chars().collect();
        // The header is all comment; damage what follows.
        let start = DEFAULT.find("name = \"default\"").map_or(0, |at| DEFAULT[..at].chars().count());
        let from = start + from.index(chars.len() - start);
        let to = (from + length).min(chars.len());
        let damaged: String = chars[..from].iter().copied().chain(instead.chars())
            .chain(chars[to..].iter().copied()).collect();
        if let Err(findings) = Policy::load(&damaged) {
            prop_assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
        }
    }
}
