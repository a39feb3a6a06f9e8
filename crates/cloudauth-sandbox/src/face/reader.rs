//! Reads a script, word by word: the grammar that `script` documents.

use std::time::Duration;

use super::product::Product;
use super::script::{Answer, CallbackForm, Finding, Form, Member, Score, Script, Step};
use crate::damage::Damage;
use crate::scenario::{self, Behaviour, CardEnd};

/// Longest `slow…`: beyond it every client has given up.
const MAX_SLOW: u64 = 600_000;

/// All words. The longest one that fits is taken: `submits` before `sub`.
const WORDS: &str = "
    pass sub true false unfinished quit code noresult nullresult nothing throttled noperm http
    error html garbage empty cut torn refused x then fv shafv init main search delete waits
    submits processing unlisted nourl callbacknone callbacklower callbacksub callbacktf headprobe slow ashttp
    numbers strings booleans nopassed badpassed nosub badsub materialobject materialnull
    materialnulltext materialempty nomaterial materialcut materialgarbage userinfo
    userinfoobject userinfocut identityinfo degrade extra xml damagedsurrogate damagedcontrol
    damagedbyte damagedgbk damagedtrailing damagedsecond damageddenied score noscore badscore
    cardscore quality attack faceattack occluded wearhat risk riskodd guard minimal full video
    nopictures deadpictures idplus pvfv lrfr mfvc nocard namediffers numberdiffers cardexpires
    cardexpired longterm born person
";

/// For which call a step is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Describe,
    Init,
    Delete,
    Search,
    Main,
}

struct Reader<'a> {
    rest: &'a str,
    /// Three digits alone are a code.
    bare: bool,
    /// The next step is for this call.
    next: Call,
    /// The newest step is for this call.
    last: Call,
    script: Script,
}

impl Script {
    /// Reads a text; `None` where it scripts nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader {
            rest: text.split('_').next().unwrap_or_default(),
            bare: false,
            next: Call::Describe,
            last: Call::Describe,
            script: Self::default(),
        };
        while reader.word().is_some() {}
        let script = reader.script;
        (script != Self::default()).then_some(script)
    }
}

impl<'a> Reader<'a> {
    /// Reads one word with what belongs to it; `None` at the end or where it means nothing.
    fn word(&mut self) -> Option<()> {
        if (self.bare || self.next != Call::Describe)
            && let Some(code) = self.number(|n| (100..1000).contains(n))
        {
            return self.push(coded(code), None);
        }
        let rest = self.skip_dashes();
        let fits =
            |word: &&str| rest.get(..word.len()).is_some_and(|r| r.eq_ignore_ascii_case(word));
        let word = WORDS.split_ascii_whitespace().filter(fits).max_by_key(|word| word.len())?;
        let before = self.rest;
        self.rest = rest.get(word.len()..)?;
        let done = match word {
            "fv" | "shafv" => self.introduce(before.len() == rest.len()),
            "then" => self.then(),
            "x" => self.times(),
            _ => self
                .aim(word)
                .or_else(|| self.person(word))
                .or_else(|| self.shape(word))
                .or_else(|| self.material(word))
                .or_else(|| self.step(word)),
        };
        if done.is_none() {
            self.rest = before;
        }
        done
    }

    /// Only at the very beginning.
    fn introduce(&mut self, no_dash: bool) -> Option<()> {
        let first = no_dash && !self.bare && self.script == Script::default();
        self.bare = first;
        first.then_some(())
    }

    fn aim(&mut self, word: &str) -> Option<()> {
        self.next = match word {
            "init" => Call::Init,
            "main" => Call::Main,
            "delete" => Call::Delete,
            "search" => Call::Search,
            _ => return None,
        };
        Some(())
    }

    /// A step before `then` without a number happens once.
    fn then(&mut self) -> Option<()> {
        let last = self.last;
        self.steps(last).last_mut()?.times.get_or_insert(1);
        self.bare = true;
        Some(())
    }

    /// `x3`: that many times.
    fn times(&mut self) -> Option<()> {
        let last = self.last;
        if self.steps(last).last()?.times.is_some() {
            return None;
        }
        let times = self.number(|_: &u32| true)?;
        self.steps(last).last_mut()?.times = Some(times);
        Some(())
    }

    fn step(&mut self, word: &str) -> Option<()> {
        let answer = match word {
            "pass" => {
                let score = self.number(|n: &f64| *n <= 100.0);
                Answer::Result(Finding { score, ..Finding::PASS })
            }
            "sub" => Answer::Result(Finding::of(self.number(|_| true)?)),
            "true" => {
                Answer::Result(Finding { passed: true, ..Finding::of(self.number(|_| true)?) })
            }
            "false" => {
                Answer::Result(Finding { passed: false, ..Finding::of(self.number(|_| true)?) })
            }
            "unfinished" | "quit" => Answer::Code(424),
            "code" => Answer::Code(self.number(|_| true)?),
            "noresult" => Answer::NoResult,
            "nullresult" => Answer::NullResult,
            "nothing" => Answer::Nothing,
            "refused" if self.next == Call::Delete => Answer::Refused,
            _ => Answer::Fault(self.fault(word)?),
        };
        // A number after a fault says how many times; after the rest it is the code or the score.
        let counts = matches!(
            answer,
            Answer::Fault(_) | Answer::NoResult | Answer::NullResult | Answer::Nothing
        ) || matches!(word, "unfinished" | "quit");
        let times = if counts { self.number(|_| true) } else { None };
        self.push(answer, times)
    }

    fn fault(&mut self, word: &str) -> Option<Behaviour> {
        Some(match word {
            "throttled" => Behaviour::error("Throttling.User"),
            "noperm" => Behaviour::error("Forbidden.RAM"),
            "error" => Behaviour::error(&self.error_code()?),
            "http" => Behaviour::http(self.number(|n| (400..600).contains(n))?),
            "html" => {
                let http_status = self.number(|n| (100..600).contains(n)).unwrap_or(502);
                Behaviour::Html { http_status }
            }
            "garbage" => Behaviour::Garbage,
            "empty" => Behaviour::Empty,
            "cut" => Behaviour::Cut,
            "torn" => Behaviour::Torn,
            _ => return None,
        })
    }

    /// Letters, digits and dots, as all codes are; the dots may be left out.
    fn error_code(&mut self) -> Option<String> {
        let rest = self.skip_dashes();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        let (code, after) = rest.split_at(end);
        let plain = |text: &str| text.replace('.', "").to_ascii_lowercase();
        let known = scenario::KNOWN_CODES.iter().find(|(known, _)| plain(known) == plain(code));
        (1..=64).contains(&end).then(|| {
            self.rest = after;
            known.map_or(code, |(known, _)| known).to_owned()
        })
    }

    fn push(&mut self, answer: Answer, times: Option<u32>) -> Option<()> {
        let call = self.next;
        // A second step without `then` belongs to a caller's suffix.
        if self.steps(call).last().is_some_and(|step| step.times.is_none()) {
            return None;
        }
        self.steps(call).push(Step { answer, times });
        self.last = call;
        self.next = Call::Describe;
        Some(())
    }

    fn steps(&mut self, call: Call) -> &mut Vec<Step> {
        match call {
            Call::Describe => &mut self.script.describe,
            Call::Init => &mut self.script.init,
            Call::Delete => &mut self.script.delete,
            Call::Search => &mut self.script.search,
            Call::Main => &mut self.script.main,
        }
    }

    fn person(&mut self, word: &str) -> Option<()> {
        match word {
            "waits" => self.script.person.waits = true,
            "submits" => {
                let millis = self.number(|_| true).unwrap_or(0);
                self.script.person.submits = Some(Duration::from_millis(millis));
            }
            "processing" => self.script.person.processing = self.number(|_| true)?,
            "unlisted" => self.script.person.unlisted = true,
            "nourl" => self.script.person.no_url = true,
            "callbacknone" => self.script.person.callback = CallbackForm::Never,
            "callbacklower" => self.script.person.callback = CallbackForm::LowerCase,
            "callbacksub" => self.script.person.callback = CallbackForm::SubCode,
            "callbacktf" => self.script.person.callback = CallbackForm::Letters,
            "headprobe" => self.script.person.head_probe = true,
            _ => return None,
        }
        Some(())
    }

    fn shape(&mut self, word: &str) -> Option<()> {
        let shape = &mut self.script.shape;
        match word {
            "slow" => {
                let millis: u64 = self.number(|_| true)?;
                self.script.slow = Duration::from_millis(millis.min(MAX_SLOW));
            }
            "ashttp" => shape.as_http = true,
            "numbers" => shape.numbers = true,
            "strings" => shape.strings = true,
            "booleans" => shape.booleans = true,
            "nopassed" => shape.passed = Member::Missing,
            "badpassed" => shape.passed = Member::Odd,
            "nosub" => shape.sub_code = Member::Missing,
            "badsub" => shape.sub_code = Member::Odd,
            "materialobject" => shape.material = Form::Object,
            "materialnull" => shape.material = Form::Null,
            "materialnulltext" => shape.material = Form::NullText,
            "materialempty" => shape.material = Form::Empty,
            "nomaterial" => shape.material = Form::Missing,
            "materialcut" => shape.material = Form::Cut,
            "materialgarbage" => shape.material = Form::Garbage,
            "userinfo" => shape.user_info = Some(Form::Text),
            "userinfoobject" => shape.user_info = Some(Form::Object),
            "userinfocut" => shape.user_info = Some(Form::Cut),
            "identityinfo" => shape.identity_info = true,
            "degrade" => shape.degrade = true,
            "extra" => shape.extra = true,
            "xml" => shape.xml = true,
            _ => shape.damage = Some(Damage::parse(word.strip_prefix("damaged")?)?),
        }
        Some(())
    }

    fn material(&mut self, word: &str) -> Option<()> {
        let score = |n: &f64| *n <= 1000.0;
        match word {
            "score" => self.script.material.score = Score::Given(self.number(score)?),
            "cardscore" => self.script.material.card_score = Some(self.number(score)?),
            "quality" => self.script.material.quality = Some(self.number(score)?),
            "attack" => self.script.material.attack = Some(self.number(score)?),
            "guard" => self.script.material.guard = Some(self.number(score)?),
            "cardexpires" => {
                self.script.material.card_end = CardEnd::Days(self.number(|n| *n < 100_000)?);
            }
            "born" => {
                let date: u32 = self.number(|n| (10_000_000..100_000_000).contains(n))?;
                self.script.material.birth = Some(date.to_string());
            }
            "person" => {
                let person: u64 = self.number(|_| true)?;
                self.script.material.identity = Some(person.to_string());
            }
            _ => return self.switch(word),
        }
        Some(())
    }

    fn switch(&mut self, word: &str) -> Option<()> {
        let material = &mut self.script.material;
        match word {
            "noscore" => material.score = Score::None,
            "badscore" => material.score = Score::Bad,
            "faceattack" => material.face_attack = true,
            "occluded" => material.occluded = true,
            "wearhat" => material.wear_hat = true,
            "risk" => material.risk = Some("ROOT,VPN,HOOK"),
            "riskodd" => material.risk = Some(" root, vpn ,HOOK,,x/y,ROOT"),
            "minimal" => material.minimal = true,
            "full" => material.full = true,
            "video" => material.video = true,
            "nopictures" => material.no_pictures = true,
            "deadpictures" => material.dead_pictures = true,
            "idplus" => material.product = Some(Product::IdPlus),
            "pvfv" => material.product = Some(Product::PvFv),
            "lrfr" => material.product = Some(Product::LrFr),
            "mfvc" => material.product = Some(Product::Mfvc),
            "nocard" => material.no_card = true,
            "namediffers" => material.name_differs = true,
            "numberdiffers" => material.number_differs = true,
            "cardexpired" => material.card_end = CardEnd::Days(-1),
            "longterm" => material.card_end = CardEnd::LongTerm,
            _ => return None,
        }
        Some(())
    }

    /// What follows the dashes.
    fn skip_dashes(&self) -> &'a str {
        self.rest.trim_start_matches('-')
    }

    /// The number that follows, if it fits; `p` is a decimal point between digits.
    fn number<T: std::str::FromStr>(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let rest = self.skip_dashes();
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        let mut text = rest.get(..whole)?.to_owned();
        let mut end = whole;
        if let Some(after) = rest.get(whole..).and_then(|r| r.strip_prefix(['.', 'p', 'P'])) {
            let fraction = digits(after);
            if whole > 0 && fraction > 0 {
                text = format!("{text}.{}", after.get(..fraction)?);
                end = whole + 1 + fraction;
            }
        }
        let number = text.parse().ok().filter(fits)?;
        self.rest = self.rest.get(self.rest.len() - rest.len() + end..)?;
        Some(number)
    }
}

/// A bare code: 2xx is a `SubCode`, anything else a body `Code`.
fn coded(code: u32) -> Answer {
    if (200..300).contains(&code) {
        return Answer::Result(Finding::of(code));
    }
    Answer::Code(code)
}

#[cfg(test)]
mod tests {
    use super::super::script::answer_at;
    use super::*;

    fn script(text: &str) -> Script {
        Script::parse(text).unwrap_or_else(|| panic!("{text} scripts nothing"))
    }

    fn answers(text: &str, n: u32) -> Vec<Option<Answer>> {
        let script = script(text);
        (0..n).map(|n| answer_at(&script.describe, n).cloned()).collect()
    }

    fn sub(code: u32) -> Answer {
        Answer::Result(Finding::of(code))
    }

    #[test]
    fn most_texts_script_nothing() {
        for text in [
            "",
            "-",
            "_pass",
            "vd0000000000000000000000000000a1",
            "20261127000123",
            "204",
            "sha0000000000000000000000000000a",
            "39ecf51e2f814dc590eeff86125be683",
            "x3",
            "then204",
            "sub",
            "code",
            "订单",
            "测试甲乙",
        ] {
            assert_eq!(Script::parse(text), None, "{text}");
        }
    }

    #[test]
    fn dashes_and_suffixes_change_nothing() {
        for (text, same) in [
            ("fv-204-u12", "sub204"),
            ("FV204u12", "sub204"),
            ("shafv204u00000000000000000000000", "sub204"),
            ("fv-200-123", "pass"),
            ("pass-97.5-123", "pass97p5"),
            ("pass97_score3", "pass97"),
            ("sub-204-score-12.5-u1", "sub204score12p5"),
            ("pass9fv", "pass9"),
            ("passpass", "pass"),
            ("unfinished3thensub204u7", "fv-424-x3-then-204"),
            ("errorThrottlingApi", "error-Throttling.Api"),
        ] {
            assert_eq!(script(text), script(same), "{text}");
        }
    }

    #[test]
    fn steps_follow_each_other() {
        let code = |code| Some(Answer::Code(code));
        assert_eq!(
            answers("fv-424-x2-then-204", 4),
            [code(424), code(424), Some(sub(204)), Some(sub(204))]
        );
        assert_eq!(answers("code500x1", 2), [code(500), None]);
        assert_eq!(answers("fv-403-then-210", 2), [code(403), Some(sub(210))]);
        assert_eq!(answers("throttled2thensub207", 3)[2], Some(sub(207)));
        assert_eq!(answers("strings-fv-204", 1), [None], "fv only at the beginning");
        let contradiction = Finding { passed: true, sub_code: 205, score: None };
        assert_eq!(answers("true205", 1), [Some(Answer::Result(contradiction))]);
    }

    #[test]
    fn each_call_has_steps_of_its_own() {
        let script = script("init500x1main500delete500x2sub204");
        assert_eq!(script.init, [Step { answer: Answer::Code(500), times: Some(1) }]);
        assert_eq!(script.main, [Step { answer: Answer::Code(500), times: None }]);
        assert_eq!(script.delete, [Step { answer: Answer::Code(500), times: Some(2) }]);
        assert_eq!(
            script.describe,
            [Step { answer: Answer::Result(Finding::of(204)), times: None }]
        );
    }

    /// Every example of the tables must script something, wholly.
    #[test]
    fn the_documented_words_mean_something() {
        let mut examples = 0;
        for row in include_str!("script.rs").lines().filter(|line| line.starts_with("//! | `")) {
            let first_column = row.split('|').nth(1).unwrap_or_default();
            for example in first_column.split('`').skip(1).step_by(2) {
                let alone = script(example);
                // A word after it is still read: nothing of the example was taken for a suffix.
                let longer = script(&format!("{example}-born19770101"));
                assert_ne!(longer, alone, "{example}");
                assert_eq!(
                    Script { material: alone.material.clone(), ..longer },
                    alone,
                    "{example}"
                );
                examples += 1;
            }
        }
        assert!(examples > 90, "{examples}");
    }

    #[test]
    fn every_word_is_documented() {
        let table = include_str!("script.rs");
        let special = ["x", "then", "fv", "shafv", "refused"];
        for word in WORDS.split_ascii_whitespace().filter(|word| !special.contains(word)) {
            assert!(table.contains(&format!("`{word}")), "{word}");
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        let pieces = ["-", "_", "0", "7", "204", "88p5", ".", "p", "x", "é", "订", "4294967296"];
        let words: Vec<&str> = WORDS.split_ascii_whitespace().chain(pieces).collect();
        for one in &words {
            for two in &words {
                for text in
                    [format!("{one}{two}"), format!("fv{one}-{two}"), format!("é{one}{two}")]
                {
                    let _ = Script::parse(&text);
                }
            }
        }
    }

    /// `docs/sandbox.md` has the same tables.
    #[test]
    fn the_documentation_has_every_row() {
        let documented = include_str!("../../../../docs/sandbox.md");
        for row in include_str!("script.rs").lines().filter_map(|line| line.strip_prefix("//! | `"))
        {
            let first_column = row.split('|').next().unwrap_or_default();
            assert!(documented.contains(&format!("\n| `{first_column}|")), "{first_column}");
        }
    }
}
