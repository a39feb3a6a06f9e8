//! Scenarios that a `biz_id` scripts: the test cards of the simulated provider.
//!
//! A `biz_id` is read as dash-separated words, in any case, up to the first word that means
//! nothing; so anything may be appended to make it unique (`pass-97.5-u123`). An underscore ends
//! the script for certain (`status-7_20261123-001`). A `biz_id` that scripts nothing is a plain
//! pass with score 97.53. Progress is counted per (`biz_type`, `biz_id`).
//!
//! | `biz_id` begins with | Answer of `DescribeVerifyResult` |
//! |---|---|
//! | `pass` · `pass-88.5` · `pass-noscore` | status 1, score 97.53 · that score · none |
//! | `status-7` · `status-7-12.5` · `status-42` | that status (any number), score 41.27 · that score |
//! | `quit` · `unfinished` · `status--1` · `review` | status −1 · −1 · −1 · 0, and nothing else |
//! | `scores-97-96-91` | status 1 with the three scores: authority, face, card portrait |
//! | `throttled` | 400 `Throttling.User` with `x-acs-retry-after` |
//! | `error-Throttling.Api` · `http-503` | that error code · a JSON error with that HTTP status |
//! | `error200-NoPermission` | an error body under HTTP 200 |
//! | `expired` · `noperm` · `invalidbiz` · `unknown` | 410 `DataExpired` · 403 `NoPermission` · 400 `InvalidParam.InvalidBiz` · 404 `InvalidParam.RecordNotFound` |
//! | `html` · `html200` | an edge's HTML page with HTTP 502 · 200 |
//! | `garbage` · `empty` · `nostatus` | HTTP 200 with half a JSON object · no body · no `VerifyStatus` |
//! | `cut` · `torn` | the connection is closed without an answer · in the middle of one |
//! | `unfinished-3-then-status-7` · `throttled-2-then-pass` | the first so many times, then the rest; `then` may repeat |
//! | `status-7-x2-then-pass` | `xN`: that many times, after any of the above; `then` without a number: once |
//!
//! A number of times with no `then` is followed by a plain pass; no number means indefinitely. The
//! words below may stand before, between or after those above, and shape every answer:
//!
//! | Word | Meaning |
//! |---|---|
//! | `slow-300` | every answer takes so many milliseconds |
//! | `xml` · `data` · `envelope` | XML even if JSON was asked · a `Data` level · the `ResultObject` envelope |
//! | `strings` · `docspelling` | the 2019 document's form: numbers as text, its spelling, dashed dates · its spelling alone |
//! | `extra` · `badscore` | an unknown field · a score that is no number |
//! | `damaged-surrogate` · `damaged-control` · `damaged-byte` · `damaged-gbk` | JSON with a text that no strict parser reads |
//! | `damaged-trailing` · `damaged-second` · `damaged-denied` | JSON with a comment behind it · with a second answer behind it · with `Success: false` beside the status |
//! | `mask` · `quality-LOW` | face wears a mask · that face quality |
//! | `cardexpires-30` · `cardexpires--1` · `longterm` | the card's end date, in days from today · 长期 |
//! | `born-19881231` | the card's date of birth, which is 1900-01-01 otherwise |
//! | `namediffers` · `numberdiffers` | the card says otherwise than the request |
//! | `nocard` · `nomaterial` · `noimages` · `deadimages` | no card data · no material · no links · links that have already expired |
//! | `person-5` | the same invented person for everyone who says 5 |

use std::time::Duration;

use crate::damage::Damage;

/// Score of a pass that names none.
pub const PASS_SCORE: f64 = 97.53;
/// Score of a failure that names none.
pub const FAIL_SCORE: f64 = 41.27;
/// Longest `slow-…`: beyond it every client has given up.
const MAX_SLOW: u64 = 600_000;

/// Everything one `biz_id` scripts.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The steps in order; a last step without a number repeats indefinitely.
    pub steps: Vec<Step>,
    /// How the answer is written.
    pub shape: Shape,
    /// The person's data in the answer.
    pub person: Person,
    /// How long every answer takes.
    pub slow: Duration,
}

/// One behaviour and how often it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The behaviour of this step.
    pub behaviour: Behaviour,
    /// For how many queries; `None`: indefinitely.
    pub times: Option<u32>,
}

/// The behaviour of one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    /// A result with this `VerifyStatus`.
    Result {
        /// The status.
        status: i32,
        /// Authority, face and card-portrait scores.
        scores: [Option<f64>; 3],
    },
    /// A vendor error.
    Error {
        /// Its code.
        code: String,
        /// HTTP status.
        http_status: u16,
    },
    /// An HTML page, as an edge or a captive proxy would send.
    Html {
        /// HTTP status.
        http_status: u16,
    },
    /// HTTP 200 with half a JSON object.
    Garbage,
    /// HTTP 200 without a body.
    Empty,
    /// HTTP 200 with a `RequestId` and nothing else.
    NoStatus,
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed in the middle of the answer.
    Torn,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, one per word")]
pub struct Shape {
    /// XML whatever was asked for.
    pub xml: bool,
    /// A `Data` level around the result.
    pub data: bool,
    /// The envelope of API version 2020-11-12.
    pub envelope: bool,
    /// Numbers as text and dates with dashes.
    pub strings: bool,
    /// `AuthorityComparisonScore` instead of the wire's `AuthorityComparisionScore`.
    pub doc_spelling: bool,
    /// A field nobody knows.
    pub extra: bool,
    /// A score that is no number.
    pub bad_score: bool,
    /// The JSON is damaged.
    pub damage: Option<Damage>,
}

/// The person's data in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, one per word")]
pub struct Person {
    /// The invented person; by default each `biz_id` has one.
    pub identity: Option<String>,
    /// The face wears a mask.
    pub mask: bool,
    /// `FaceQuality`, in upper case.
    pub quality: Option<String>,
    /// When the card ends.
    pub card_end: CardEnd,
    /// Date of birth on the card, eight digits.
    pub birth: Option<String>,
    /// The card's name is another.
    pub name_differs: bool,
    /// The card's number is another.
    pub number_differs: bool,
    /// No `IdCardInfo`.
    pub no_card: bool,
    /// No `Material`.
    pub no_material: bool,
    /// No image links.
    pub no_images: bool,
    /// Links that have already expired.
    pub dead_images: bool,
}

/// End of a card's validity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardEnd {
    /// A fixed day far ahead.
    #[default]
    Far,
    /// So many days from today.
    Days(i32),
    /// 长期, "long-term".
    LongTerm,
}

impl Behaviour {
    /// Status 1 with the usual score.
    pub const PASS: Self = Self::Result { status: 1, scores: [Some(PASS_SCORE), None, None] };

    /// That status, with the score such a status usually has.
    pub const fn status(status: i32) -> Self {
        let score = match status {
            1 => Some(PASS_SCORE),
            -1 | 0 => None,
            _ => Some(FAIL_SCORE),
        };
        Self::Result { status, scores: [score, None, None] }
    }

    /// A vendor error with the HTTP status that its code usually has.
    pub fn error(code: &str) -> Self {
        let (code, http_status) = KNOWN_CODES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(code))
            .map_or((code, 400), |(known, status)| (*known, *status));
        Self::Error { code: code.to_owned(), http_status }
    }

    /// The usual vendor error for an HTTP status.
    pub fn http(http_status: u16) -> Self {
        let code = match http_status {
            400 => "InvalidParameter",
            401 | 403 => "Forbidden.RAM",
            404 => "InvalidApi.NotFound",
            410 => "DataExpired",
            429 => "Throttling.User",
            500 => "InternalError",
            _ => "ServiceUnavailable",
        };
        Self::Error { code: code.to_owned(), http_status }
    }
}

/// Codes in the vendor's tables, with their usual HTTP status; any other is sent with 400.
pub(crate) const KNOWN_CODES: [(&str, u16); 25] = [
    ("DataExpired", 410),
    ("NoPermission", 403),
    ("Error.NoPermissionAccess", 403),
    ("InvalidParam.InvalidBiz", 400),
    ("InvalidParam.ParamMissing", 400),
    ("InvalidParam.RecordNotFound", 404),
    ("Error.InternalError", 500),
    ("Throttling", 400),
    ("Throttling.User", 400),
    ("Throttling.Api", 400),
    ("Throttling.System", 400),
    ("ServiceUnavailable", 503),
    ("InternalError", 500),
    ("UnknownError", 500),
    ("SignatureNonceUsed", 400),
    ("InvalidTimeStamp.Expired", 400),
    ("SignatureDoesNotMatch", 400),
    ("InvalidAccessKeyId.NotFound", 404),
    ("InvalidAccessKeyId.Inactive", 400),
    ("InvalidSecurityToken.Expired", 400),
    ("Forbidden", 403),
    ("Forbidden.RAM", 403),
    ("Forbidden.RiskControl", 403),
    ("InvalidApi.NotFound", 404),
    ("NoSuchVersion", 400),
];

impl Default for Scenario {
    fn default() -> Self {
        Self::always(Behaviour::PASS)
    }
}

impl Scenario {
    /// The same at every query.
    pub fn always(behaviour: Behaviour) -> Self {
        Self {
            steps: vec![Step { behaviour, times: None }],
            shape: Shape::default(),
            person: Person::default(),
            slow: Duration::ZERO,
        }
    }

    /// Reads a `biz_id`. Everything is a scenario; most are a plain pass.
    pub fn parse(biz_id: &str) -> Self {
        let script = biz_id.split('_').next().unwrap_or_default();
        let mut reader = Reader {
            words: script.split('-').collect(),
            at: 0,
            scenario: Self { steps: Vec::new(), ..Self::default() },
        };
        while reader.word() {}
        let mut scenario = reader.scenario;
        if scenario.steps.last().is_none_or(|step| step.times.is_some()) {
            scenario.steps.push(Step { behaviour: Behaviour::PASS, times: None });
        }
        scenario
    }

    /// The behaviour of query number `n`, counted from 0.
    pub fn behaviour_at(&self, n: u32) -> &Behaviour {
        let mut left = n;
        for step in &self.steps {
            match step.times {
                Some(times) if left >= times => left -= times,
                _ => return &step.behaviour,
            }
        }
        &Behaviour::PASS
    }
}

struct Reader<'a> {
    words: Vec<&'a str>,
    at: usize,
    scenario: Scenario,
}

impl Reader<'_> {
    /// Reads one word with what belongs to it; false at the end or at a word without meaning.
    fn word(&mut self) -> bool {
        let Some(word) = self.words.get(self.at).map(|word| word.to_ascii_lowercase()) else {
            return false;
        };
        self.at += 1;
        if word == "then" {
            return self.then();
        }
        self.modifier(&word).or_else(|| self.step(&word)).is_some()
    }

    /// A step before `then` without a number happens once.
    fn then(&mut self) -> bool {
        match self.scenario.steps.last_mut() {
            Some(step) => {
                step.times.get_or_insert(1);
                true
            }
            None => false,
        }
    }

    fn step(&mut self, word: &str) -> Option<()> {
        // A second behaviour without `then` belongs to a caller's suffix.
        if self.scenario.steps.last().is_some_and(|step| step.times.is_none()) {
            let times = word.strip_prefix('x')?.parse().ok()?;
            self.scenario.steps.last_mut()?.times = Some(times);
            return Some(());
        }
        let behaviour = match word {
            "pass" => self.scored(1),
            "status" => {
                let status = self.number()?;
                self.scored(status)
            }
            "quit" | "unfinished" => Behaviour::status(-1),
            "review" => Behaviour::status(0),
            "scores" => {
                let scores = [self.score()?, self.score()?, self.score()?].map(Some);
                Behaviour::Result { status: 1, scores }
            }
            "throttled" => Behaviour::error("Throttling.User"),
            "error" => Behaviour::error(self.code()?),
            "error200" => {
                let Behaviour::Error { code, .. } = Behaviour::error(self.code()?) else {
                    return None;
                };
                Behaviour::Error { code, http_status: 200 }
            }
            "http" => {
                let status = self.number()?;
                Behaviour::http(u16::try_from(status).ok().filter(|s| (400..600).contains(s))?)
            }
            "expired" => Behaviour::error("DataExpired"),
            "noperm" => Behaviour::error("NoPermission"),
            "invalidbiz" => Behaviour::error("InvalidParam.InvalidBiz"),
            "unknown" => Behaviour::error("InvalidParam.RecordNotFound"),
            "html" => Behaviour::Html { http_status: 502 },
            "html200" => Behaviour::Html { http_status: 200 },
            "garbage" => Behaviour::Garbage,
            "empty" => Behaviour::Empty,
            "nostatus" => Behaviour::NoStatus,
            "cut" => Behaviour::Cut,
            "torn" => Behaviour::Torn,
            _ => return None,
        };
        // A number after a pass or a status is its score; after the rest, how many times.
        let counts = !matches!(word, "pass" | "status" | "scores");
        let times = if counts { self.number().and_then(|n| u32::try_from(n).ok()) } else { None };
        self.scenario.steps.push(Step { behaviour, times });
        Some(())
    }

    fn modifier(&mut self, word: &str) -> Option<()> {
        match word {
            "slow" => {
                let millis = u64::try_from(self.number()?).unwrap_or(0).min(MAX_SLOW);
                self.scenario.slow = Duration::from_millis(millis);
            }
            "quality" => self.scenario.person.quality = Some(self.code()?.to_ascii_uppercase()),
            "cardexpires" => self.scenario.person.card_end = CardEnd::Days(self.number()?),
            "born" => self.scenario.person.birth = Some(self.date()?),
            "damaged" => {
                let kind = Damage::parse(&self.words.get(self.at)?.to_ascii_lowercase())?;
                self.at += 1;
                self.scenario.shape.damage = Some(kind);
            }
            "longterm" => self.scenario.person.card_end = CardEnd::LongTerm,
            "person" => self.scenario.person.identity = Some(self.code()?.to_owned()),
            "strings" => {
                self.scenario.shape.strings = true;
                self.scenario.shape.doc_spelling = true;
            }
            _ => *self.switch(word)? = true,
        }
        Some(())
    }

    fn switch(&mut self, word: &str) -> Option<&mut bool> {
        let Scenario { shape, person, .. } = &mut self.scenario;
        Some(match word {
            "xml" => &mut shape.xml,
            "data" => &mut shape.data,
            "envelope" => &mut shape.envelope,
            "docspelling" => &mut shape.doc_spelling,
            "extra" => &mut shape.extra,
            "badscore" => &mut shape.bad_score,
            "mask" => &mut person.mask,
            "namediffers" => &mut person.name_differs,
            "numberdiffers" => &mut person.number_differs,
            "nocard" => &mut person.no_card,
            "nomaterial" => &mut person.no_material,
            "noimages" => &mut person.no_images,
            "deadimages" => &mut person.dead_images,
            _ => return None,
        })
    }

    /// A status with the score that follows, if one does.
    fn scored(&mut self, status: i32) -> Behaviour {
        if self.words.get(self.at).is_some_and(|word| word.eq_ignore_ascii_case("noscore")) {
            self.at += 1;
            return Behaviour::Result { status, scores: [None; 3] };
        }
        match self.score() {
            Some(score) => Behaviour::Result { status, scores: [Some(score), None, None] },
            None => Behaviour::status(status),
        }
    }

    /// The next word, if it is a score from 0 to 100, in at most six digits and dots: a part of a
    /// UUID such as `12e1` is none.
    fn score(&mut self) -> Option<f64> {
        let word = self.words.get(self.at)?;
        let plain = word.len() <= 6 && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let score = word.parse::<f64>().ok().filter(|s| plain && (0.0..=100.0).contains(s))?;
        self.at += 1;
        Some(score)
    }

    /// The next word, if it is a whole number; an empty word before it is its minus.
    fn number(&mut self) -> Option<i32> {
        let minus = self.words.get(self.at).is_some_and(|word| word.is_empty());
        let at = self.at + usize::from(minus);
        let number: i32 = self.words.get(at)?.parse().ok()?;
        self.at = at + 1;
        Some(if minus { -number } else { number })
    }

    /// The next word, if it is eight digits.
    fn date(&mut self) -> Option<String> {
        let word = *self.words.get(self.at)?;
        let fits = word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit());
        self.at += usize::from(fits);
        fits.then(|| word.to_owned())
    }

    /// The next word, if it is 1 to 64 letters, digits and dots, as all codes are.
    fn code(&mut self) -> Option<&str> {
        let word = *self.words.get(self.at)?;
        let fits = (1..=64).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        self.at += usize::from(fits);
        fits.then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviours(biz_id: &str, n: u32) -> Vec<Behaviour> {
        let scenario = Scenario::parse(biz_id);
        (0..n).map(|n| scenario.behaviour_at(n).clone()).collect()
    }

    #[test]
    fn what_scripts_nothing_is_a_plain_pass() {
        for id in
            ["", "39ecf51e-2f81-4dc5-90ee-ff86125be683", "order-1", "---", "then-quit", "订单"]
        {
            assert_eq!(Scenario::parse(id), Scenario::default(), "{id}");
        }
    }

    #[test]
    fn a_suffix_makes_a_script_unique_without_changing_it() {
        for (id, same) in [
            ("pass-97.5-u123", "pass-97.5"),
            ("PASS-97.5-1764-8", "pass-97.5"),
            ("status-7_20261123-001", "status-7"),
            ("quit-quit", "quit"),
            ("pass-12e1ab34-12e1", "pass"),
            ("pass-12e1", "pass"),
            ("xml-pass-60-run4-html", "xml-pass-60"),
        ] {
            assert_eq!(Scenario::parse(id), Scenario::parse(same), "{id}");
        }
    }

    #[test]
    fn steps_follow_each_other() {
        let (quit, pass) = (Behaviour::status(-1), Behaviour::PASS);
        let throttled = Behaviour::error("Throttling.User");
        assert_eq!(behaviours("unfinished-2", 3), [quit.clone(), quit.clone(), pass.clone()]);
        assert_eq!(
            behaviours("throttled-1-then-unfinished-1-then-status-7-x1-then-pass", 4),
            [throttled, quit.clone(), Behaviour::status(7), pass.clone()]
        );
        assert_eq!(behaviours("quit-then-status-7", 2), [quit.clone(), Behaviour::status(7)]);
        assert_eq!(behaviours("status--1", 2), [quit.clone(), quit]);
    }

    #[test]
    fn codes_get_their_usual_spelling_and_status() {
        assert_eq!(
            behaviours("error-forbidden.ram", 1),
            [Behaviour::Error { code: "Forbidden.RAM".into(), http_status: 403 }]
        );
        assert_eq!(
            behaviours("error200-dataexpired-1", 2),
            [Behaviour::Error { code: "DataExpired".into(), http_status: 200 }, Behaviour::PASS]
        );
        assert_eq!(behaviours("http-200", 1), [Behaviour::PASS]);
    }

    /// Every example of the tables above must script something, wholly.
    #[test]
    fn the_documented_words_mean_something() {
        let mut examples = 0;
        for row in include_str!("scenario.rs").lines().filter(|line| line.starts_with("//! | `")) {
            let first_column = row.split('|').nth(1).unwrap_or_default();
            for example in first_column.split('`').skip(1).step_by(2) {
                let scenario = Scenario::parse(example);
                if example != "pass" && example != "biz_id" {
                    assert_ne!(scenario, Scenario::default(), "{example}");
                }
                // A word after it is still read: nothing of the example was taken for a suffix.
                let longer = Scenario::parse(&format!("{example}-docspelling-extra-mask"));
                assert!(example == "biz_id" || longer != scenario, "{example}");
                examples += usize::from(example != "biz_id");
            }
        }
        assert!(examples > 40, "{examples}");
    }
}
