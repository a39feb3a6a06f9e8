//! All texts of the pages, in English and Chinese: one file for each page.

#[macro_use]
mod phrase;

mod audit;
mod case;
pub mod comparison;
mod facts;
mod frame;
mod operations;
mod persons;
mod policies;
mod queue;
pub mod refusals;
mod reviewers;
mod verification;
mod sessions;
mod sign_in;
mod users;
mod words;

use crate::domain::user::Language;

pub use phrase::{Filled, Phrase};

/// Puts the texts of the pages together.
macro_rules! pages {
    ($($page:ident: $Texts:path;)*) => {
        /// The texts of every page in one language.
        #[derive(Debug)]
        pub struct Texts {
            $(pub $page: $Texts,)*
        }

        impl Texts {
            const EN: Self = Self { $($page: <$Texts>::EN,)* };
            const ZH: Self = Self { $($page: <$Texts>::ZH,)* };
        }

        #[cfg(test)]
        const PAIRS: &[(&str, &[(&str, &str, &str)])] =
            &[$((stringify!($page), <$Texts>::PAIRS),)*];
    };
}

pages! {
    frame: frame::Frame;
    words: words::Words;
    queue: queue::Queue;
    case: case::Case;
    facts: facts::Facts;
    comparison: comparison::Comparison;
    reviewers: reviewers::Reviewers;
    verification: verification::Verification;
    persons: persons::Persons;
    policies: policies::Policies;
    operations: operations::Operations;
    audit: audit::Audit;
    refusals: refusals::Refusals;
    sign_in: sign_in::SignIn;
    sessions: sessions::Sessions;
    users: users::Users;
}

impl Texts {
    pub const fn of(language: Language) -> &'static Self {
        const EN: &Texts = &Texts::EN;
        const ZH: &Texts = &Texts::ZH;
        match language {
            Language::En => EN,
            Language::Zh => ZH,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split(['}', '|']).next()).collect()
    }

    /// Placeholders for counts.
    const COUNTS: [&str; 19] = [
        "n",
        "of",
        "seen",
        "total",
        "hits",
        "errors",
        "warnings",
        "keys",
        "answers",
        "material",
        "callbacks",
        "images",
        "checkpoints",
        "behind",
        "kinds",
        "decisions",
        "flips",
        "seconds",
        "h",
    ];

    /// A noun in the plural, or a verb that goes with one, behind a 1.
    fn plural_after_one<'t>(text: &'t str) -> Option<&'t str> {
        const PLURAL: [&str; 6] = ["are", "were", "have", "people", "match", "become"];
        const SINGULAR: [&str; 8] = ["s", "is", "was", "has", "this", "as", "matches", "becomes"];
        let clauses = text.split([',', '.', ':', ';', '(', ')']);
        let after = clauses.filter_map(|clause| {
            let (before, after) = clause.rsplit_once('1')?;
            (before.is_empty() || before.ends_with(' ')).then_some(after)
        });
        // Up to the next number, which counts another noun.
        let is_word = |word: &&str| !word.starts_with(|letter: char| letter.is_ascii_digit());
        let words = |after: &'t str| after.split_whitespace().take(3).take_while(is_word);
        after
            .flat_map(words)
            .find(|word| PLURAL.contains(word) || (word.ends_with('s') && !SINGULAR.contains(word)))
    }

    #[test]
    fn one_of_anything_is_in_the_singular() {
        let mut counted = 0;
        for (page, pairs) in PAIRS {
            for (key, en, _) in *pairs {
                let counts: Vec<&str> =
                    placeholders(en).into_iter().filter(|name| COUNTS.contains(name)).collect();
                let filled = |many: &str| {
                    let text = Phrase::new(en).with(many, 1);
                    counts.iter().fold(text, |text, name| text.with(name, 1)).to_string()
                };
                // Each of them alone is 1 as well: the others are many.
                for name in &counts {
                    counted += 1;
                    let others = counts.iter().filter(|other| *other != name);
                    let alone = others
                        .fold(Phrase::new(en).with(name, 1), |text, other| text.with(other, 7));
                    for said in [filled(name), alone.to_string()] {
                        assert_eq!(plural_after_one(&said), None, "{page}.{key}: {said}");
                        assert!(
                            !said.contains(['{', '|']) || counts.len() < placeholders(en).len()
                        );
                    }
                }
            }
        }
        assert!(counted > 40, "only {counted} counts");
    }

    #[test]
    fn plural_behind_a_one_is_found() {
        for wrong in [
            "1 errors",
            "1 verifications are due",
            "1 of 1 people would",
            "all 1 decisions",
            "1 equal lines",
        ] {
            assert!(plural_after_one(wrong).is_some(), "{wrong}");
        }
        for right in ["1 error", "21 errors", "1 s", "1 row, 7 rows", "By 1 day", "1 of 7 people"] {
            assert_eq!(plural_after_one(right), None, "{right}");
        }
    }

    #[test]
    fn every_text_has_both_languages_with_the_same_placeholders() {
        let mut seen = 0;
        for (page, pairs) in PAIRS {
            for (key, en, zh) in *pairs {
                seen += 1;
                assert!(!en.trim().is_empty() && !zh.trim().is_empty(), "{page}.{key} is empty");
                assert_eq!(placeholders(en), placeholders(zh), "{page}.{key}");
                assert_eq!((en.trim(), zh.trim()), (*en, *zh), "{page}.{key} has outer spaces");
                let is_chinese = zh.chars().any(|letter| letter >= '\u{2e80}');
                let same_on_purpose = SAME_IN_BOTH.contains(&(*page, *key));
                assert!(is_chinese || same_on_purpose, "{page}.{key} is not in Chinese");
                assert!(en.is_ascii() || !en.chars().any(|c| c >= '\u{2e80}'), "{page}.{key}");
            }
        }
        assert!(seen > 100, "only {seen} texts");
    }

    /// Names that are written alike in both languages.
    const SAME_IN_BOTH: [(&str, &str); 4] = [
        ("frame", "product"),
        ("case", "overlay"),
        ("verification", "biz_id"),
        ("verification", "certify_id"),
    ];

    #[test]
    fn a_filled_text_keeps_what_was_not_named() {
        let text = Phrase::new("{a} of {b}");
        assert_eq!(text.with("a", 1).to_string(), "1 of {b}");
        assert_eq!(text.with("a", 1).with("b", 2).to_string(), "1 of 2");
        let text = Phrase::new("{a|one row is|all {a} rows are} {b} of {a|1|{a}}");
        assert_eq!(text.with("a", 1).with("b", "it").to_string(), "one row is it of 1");
        assert_eq!(text.with("a", "1,001").to_string(), "all 1,001 rows are {b} of 1,001");
    }
}
