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
        text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
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
    }
}
