//! What a script of the product face-verify says, and its grammar.
//!
//! The order number (`OuterOrderNo`) of a start is the script of its verification, else its
//! `CertName`. A `CertifyId` that was made elsewhere is its own script. One that scripts nothing is
//! unknown: body code 406.
//!
//! A script is read word by word, in any case, up to the first unknown word. A word is letters, then
//! perhaps a number. Dashes between them are optional, because an order number has only letters and
//! digits; an underscore ends the script. So anything may be appended to make it unique, best after
//! a `u`: `pass97u0001`, `fv-204-u17`. Decimals are written `88.5`, or `88p5` in an order number.
//! `fv` may stand first, or `shafv` in a `CertifyId`. After it, after `then` and after `init`,
//! `main`, `search` and `delete`, three digits alone are a code: 2xx is a `SubCode`, others a body
//! `Code`.
//!
//! | Script begins with | Answer of `DescribeFaceVerify` |
//! |---|---|
//! | `pass` · `pass97` · `pass88p5` | T with 200, verifyScore 97.53 · that score |
//! | `sub204` · `fv-204` · `fv-210` · `sub299` | that `SubCode`: T for 200 and 210, F for any other |
//! | `true205` · `false200` | a contradiction: T with that `SubCode` · F with it |
//! | `unfinished` · `quit` · `fv-424` · `code403` | body code 424 · 424 · 424 · 403 |
//! | `code500` · `fv-406` · `code99999` | that body code, with HTTP status 200 |
//! | `noresult` · `nullresult` · `nothing` | code 200 without `ResultObject` · with null · only a `RequestId` |
//! | `throttled` · `noperm` · `http503` · `error-Throttling.Api` | gateway errors: `Throttling.User` · `Forbidden.RAM` · that HTTP status · that code |
//! | `html` · `html200` · `garbage` · `empty` | an edge's page with HTTP 502 · 200 · half a JSON object · no body |
//! | `cut` · `torn` | the connection is closed without an answer · in the middle of one |
//! | `unfinished3thensub204` · `fv-424-x3-then-204` | the first answer that many times, then the rest; `then` may repeat |
//! | `code500x2` · `throttled2` | so many times, then T with 200; without a number: always |
//!
//! These go before or after, and choose for which call the next step is:
//!
//! | Word | Meaning |
//! |---|---|
//! | `init417` · `init500x1` · `initthrottled1` | `InitFaceVerify` for this order number answers so: no `CertifyId` is made |
//! | `initcut` · `inittorn` · `initgarbage` · `initempty` | the start has worked, but its answer is lost |
//! | `main500` · `mainhttp503x1` · `maincut` | only the main region answers so, to all calls; see `Sandbox::spare` |
//! | `searchnoperm` · `search500x1` · `searchcut` | `DescribeVerifySearchPageList` for this order number answers so |
//! | `delete500` · `delete500x1` · `deleterefused` | `DeleteFaceVerifyResult` answers so · `DeleteResult` N with an undocumented reason |
//!
//! How the person behaves, where the verification was started here:
//!
//! | Word | Meaning |
//! |---|---|
//! | `waits` | 424 until it is submitted, as with a page |
//! | `submits` · `submits300` | the person submits at once · after so many milliseconds; then the callback goes out |
//! | `processing2` | the first so many queries after the submission still answer 424 |
//! | `unlisted` | `DescribeVerifySearchPageList` does not find it |
//! | `nourl` | no `CertifyUrl`, as with an unusable `MetaInfo` |
//! | `callbacknone` · `callbacklower` · `callbacksub` · `callbacktf` | no callback at all · `certifyid` and `subcode` in lower case · `subCode` in place of `passed` · `passed` is T or F |
//! | `headprobe` | the probe of the callback is a HEAD |
//!
//! These shape every answer of `DescribeFaceVerify`:
//!
//! | Word | Meaning |
//! |---|---|
//! | `slow300` | every answer takes so many milliseconds |
//! | `ashttp` | the body code is also the HTTP status: 424 as HTTP 424 |
//! | `numbers` · `strings` · `booleans` | `Code` and `SubCode` as numbers · numbers of the material as text · T and F as true and false |
//! | `nopassed` · `badpassed` · `nosub` · `badsub` | that deciding member is missing · is "maybe" · is missing · is "2 hundred" |
//! | `materialobject` · `materialnull` · `materialnulltext` · `materialempty` · `nomaterial` | `MaterialInfo` is an object · null · "null" · "" · not there |
//! | `materialcut` · `materialgarbage` | it is cut off · it is no JSON |
//! | `userinfo` · `userinfoobject` · `userinfocut` | `UserInfo` as text, as an object, cut off |
//! | `identityinfo` · `degrade` · `extra` · `xml` | an object in `IdentityInfo` · `DegradeInfo` · a member nobody knows · XML whatever was asked |
//! | `damagedsurrogate` · `damagedcontrol` · `damagedbyte` · `damagedgbk` · `damagedtrailing` · `damagedsecond` · `damageddenied` | JSON that no strict parser reads, as for the first product |
//! | `score12p5` · `noscore` · `badscore` | verifyScore of every result · none · one that is no number |
//! | `cardscore31` · `quality40` · `attack0p93` | `idCardVerifyScore` · `qualityScore` · `faceAttackScore` (0 to 1) |
//! | `faceattack` · `occluded` · `wearhat` | these flags are T |
//! | `risk` · `riskodd` · `guard77` | `DeviceRisk` ROOT,VPN,HOOK · in odd spelling · `guardRiskScore` |
//! | `minimal` · `full` · `video` | the documented minimum of the material · all known members · a film |
//! | `nopictures` · `deadpictures` | the scene keeps no pictures · links that have already expired |
//! | `idplus` · `pvfv` · `lrfr` · `mfvc` | the material of that product code; a start has its own |
//! | `nocard` · `namediffers` · `numberdiffers` | ID_PLUS without card data · another name · another number on the card |
//! | `cardexpires30` · `cardexpired` · `longterm` · `born19881231` | the card's end in days from today · yesterday · 长期 · the date of birth |
//! | `person5` | the same invented person for everyone who says 5 |

use std::time::Duration;

use super::product::Product;
use crate::damage::Damage;
use crate::scenario::{Behaviour, CardEnd};

/// Everything that one text scripts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Answers of `DescribeFaceVerify`, in order.
    pub describe: Vec<Step>,
    /// Answers of `InitFaceVerify`.
    pub init: Vec<Step>,
    /// Answers of `DeleteFaceVerifyResult`.
    pub delete: Vec<Step>,
    /// Answers of `DescribeVerifySearchPageList`.
    pub search: Vec<Step>,
    /// Answers of the main region to any of them.
    pub main: Vec<Step>,
    /// How the person behaves.
    pub person: Behaving,
    /// How an answer is written.
    pub shape: Shape,
    /// What the material says.
    pub material: Material,
    /// How long every answer takes.
    pub slow: Duration,
}

/// One answer, and how often it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The answer.
    pub answer: Answer,
    /// For how many calls; `None`: always.
    pub times: Option<u32>,
}

/// The answer to one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A result.
    Result(Finding),
    /// A body code other than 200.
    Code(u32),
    /// Body code 200 without a `ResultObject`.
    NoResult,
    /// Body code 200 with a null `ResultObject`.
    NullResult,
    /// A `RequestId` and nothing else.
    Nothing,
    /// `DeleteFaceVerifyResult`: N, for a reason that the vendor does not document.
    Refused,
    /// A fault of the gateway or the line.
    Fault(Behaviour),
}

/// What the provider has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `Passed` is T.
    pub passed: bool,
    /// `SubCode`.
    pub sub_code: u32,
    /// `verifyScore`, in place of the usual one.
    pub score: Option<f64>,
}

impl Finding {
    /// T with 200.
    pub const PASS: Self = Self { passed: true, sub_code: 200, score: None };

    /// That `SubCode`, with the `Passed` that goes with it.
    pub const fn of(sub_code: u32) -> Self {
        Self { passed: matches!(sub_code, 200 | 210), sub_code, score: None }
    }
}

/// How the person behaves.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, one per word")]
pub struct Behaving {
    /// No result before it is submitted.
    pub waits: bool,
    /// Submits so long after the start.
    pub submits: Option<Duration>,
    /// So many queries after the submission find nothing yet.
    pub processing: u32,
    /// A search does not find it.
    pub unlisted: bool,
    /// No `CertifyUrl`.
    pub no_url: bool,
    /// How the callback is written.
    pub callback: CallbackForm,
    /// The probe is a HEAD.
    pub head_probe: bool,
}

/// How the callback is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallbackForm {
    /// `callbackToken`, `certifyId`, `passed` with the `SubCode`.
    #[default]
    Documented,
    /// It never comes.
    Never,
    /// `certifyid`, `passed` with T or F, `subcode`.
    LowerCase,
    /// `subCode` in place of `passed`.
    SubCode,
    /// `passed` with T or F.
    Letters,
}

/// How an answer is written.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, one per word")]
pub struct Shape {
    /// The body code is the HTTP status, too.
    pub as_http: bool,
    /// `Code` and `SubCode` are numbers.
    pub numbers: bool,
    /// Numbers of the material are text.
    pub strings: bool,
    /// T and F are true and false.
    pub booleans: bool,
    /// `Passed`.
    pub passed: Member,
    /// `SubCode`.
    pub sub_code: Member,
    /// `MaterialInfo`.
    pub material: Form,
    /// `UserInfo`.
    pub user_info: Option<Form>,
    /// An object in `IdentityInfo`.
    pub identity_info: bool,
    /// `DegradeInfo`.
    pub degrade: bool,
    /// A member nobody knows.
    pub extra: bool,
    /// XML whatever was asked for.
    pub xml: bool,
    /// The JSON is damaged.
    pub damage: Option<Damage>,
}

/// How a deciding member is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Member {
    /// As documented.
    #[default]
    Right,
    /// Not there.
    Missing,
    /// With a value that nobody knows.
    Odd,
}

/// How JSON inside a member is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As text.
    #[default]
    Text,
    /// As an object.
    Object,
    /// As null.
    Null,
    /// As the text `null`.
    NullText,
    /// As the empty text.
    Empty,
    /// Not at all.
    Missing,
    /// As text that is cut off.
    Cut,
    /// As text that is no JSON.
    Garbage,
}

/// What the material says.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, one per word")]
pub struct Material {
    /// The product code whose material it is.
    pub product: Option<Product>,
    /// `verifyScore`.
    pub score: Score,
    /// `idCardVerifyScore`.
    pub card_score: Option<f64>,
    /// `qualityScore`.
    pub quality: Option<f64>,
    /// `faceAttackScore`.
    pub attack: Option<f64>,
    /// `guardRiskScore`.
    pub guard: Option<f64>,
    /// `faceAttack` is T.
    pub face_attack: bool,
    /// `faceOcclusion` is T.
    pub occluded: bool,
    /// `qualityWearHat` is T.
    pub wear_hat: bool,
    /// `DeviceRisk`.
    pub risk: Option<&'static str>,
    /// Only what is documented in the shortest example.
    pub minimal: bool,
    /// All known members.
    pub full: bool,
    /// A film.
    pub video: bool,
    /// No pictures.
    pub no_pictures: bool,
    /// Links that have expired.
    pub dead_pictures: bool,
    /// No card data.
    pub no_card: bool,
    /// Another name on the card.
    pub name_differs: bool,
    /// Another number on the card.
    pub number_differs: bool,
    /// When the card ends.
    pub card_end: CardEnd,
    /// Date of birth on the card, eight digits.
    pub birth: Option<String>,
    /// The invented person.
    pub identity: Option<String>,
}

/// The `verifyScore` of a script.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Score {
    /// What the `SubCode` usually has.
    #[default]
    Usual,
    /// That one.
    Given(f64),
    /// None.
    None,
    /// One that is no number.
    Bad,
}

/// The step of call number `n`, counted from 0; `None` after the last one.
pub fn answer_at(steps: &[Step], n: u32) -> Option<&Answer> {
    let mut left = n;
    for step in steps {
        match step.times {
            Some(times) if left >= times => left -= times,
            _ => return Some(&step.answer),
        }
    }
    None
}

impl Script {
    /// The same answer to every query.
    pub fn always(answer: Answer) -> Self {
        Self { describe: vec![Step { answer, times: None }], ..Self::default() }
    }

    /// What a submission by the person finds: the first result of the script.
    pub fn finding(&self) -> Finding {
        let results = self.describe.iter().filter_map(|step| match &step.answer {
            Answer::Result(finding) => Some(finding.clone()),
            _ => None,
        });
        results.into_iter().next().unwrap_or(Finding::PASS)
    }
}
