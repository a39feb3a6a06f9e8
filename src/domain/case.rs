//! A case: a verification whose current decision is `review`, and what a reviewer does with it.

mod rate;
mod reason;

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::ids::Ids;

pub use rate::Rate;
pub use reason::{Choice, Purpose, Reason, Reasons};

/// How people work on cases, as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    pub reasons: Reasons,
    pub targets: Targets,
    /// The share of golden pairs among the cases that a reviewer gets.
    pub golden_share: f64,
    /// The share of decided cases that are judged again.
    pub again_share: f64,
    /// How long a reviewer has a case, unless the open page renews it.
    pub claim: Duration,
    /// How long a verdict can be undone.
    pub undo: Duration,
    /// Why a person's data may be revealed.
    pub reveal_purposes: Vec<Purpose>,
}

/// What a reviewer says of two faces before anything else is shown.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::EnumString,
)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[repr(i16)]
pub enum Judgement {
    CertainlySame = 1,
    ProbablySame = 2,
    Unsure = 3,
    ProbablyDifferent = 4,
    CertainlyDifferent = 5,
}

impl Judgement {
    pub const ALL: [Self; 5] = [
        Self::CertainlySame,
        Self::ProbablySame,
        Self::Unsure,
        Self::ProbablyDifferent,
        Self::CertainlyDifferent,
    ];

    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// From 1, certainly the same person, to 5, certainly different persons.
    pub const fn number(self) -> i16 {
        self as i16
    }

    pub fn of(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|judgement| judgement.number() == number)
    }

    /// The number, as a form sends it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::ALL
            .into_iter()
            .find(|judgement| judgement.number().to_string() == text)
            .ok_or("must be a number from 1 to 5")
    }

    /// Whether both faces are of one person; `None`: the reviewer is not sure.
    pub const fn says_same(self) -> Option<bool> {
        match self {
            Self::CertainlySame | Self::ProbablySame => Some(true),
            Self::Unsure => None,
            Self::ProbablyDifferent | Self::CertainlyDifferent => Some(false),
        }
    }
}

/// What a reviewer has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Kind {
    /// An open case.
    Review,
    /// A pair of pictures whose answer is known.
    Golden,
    /// A decided case, judged once more without consequences.
    Again,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The kind to try first, and which of several to take. Where there is none of that kind, the
/// reviewer gets the open case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    pub kind: Kind,
    /// From 0 to 1: a place among those that could be taken.
    pub place: f64,
}

impl Mix {
    /// Never anything but open cases.
    pub const NOTHING: Self = Self { kind: Kind::Review, place: 0.0 };

    pub fn draw(settings: &Settings, ids: &Ids) -> Self {
        Self::of(settings, ids.fraction(), ids.fraction())
    }

    fn of(settings: &Settings, draw: f64, place: f64) -> Self {
        let kind = if draw < settings.golden_share {
            Kind::Golden
        } else if draw < settings.golden_share + settings.again_share {
            Kind::Again
        } else {
            Kind::Review
        };
        Self { kind, place }
    }
}

/// How an assignment ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Ended {
    /// The verdict is the current decision.
    Decided,
    /// The verdict waits for a second person.
    Proposed,
    /// The case was decided otherwise before the verdict was committed.
    DecisionChanged,
    /// The person was erased.
    Erased,
    /// A golden pair, or a decided case, was judged.
    Judged,
    Skipped,
    Released,
    Escalated,
    /// The lease ended, or the reviewer lost the right to decide.
    Lapsed,
}

impl Ended {
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// How a case's age compares with the target of its scene.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::EnumString,
)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Standing {
    OnTime,
    /// Three quarters of the target are over.
    Soon,
    Late,
}

impl Standing {
    pub const ALL: [Self; 3] = [Self::OnTime, Self::Soon, Self::Late];

    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// How long a case may wait for its decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    pub general: Duration,
    /// By scene, in place of `general`.
    pub scenes: BTreeMap<String, Duration>,
}

impl Targets {
    pub fn of(&self, scene: &str) -> Duration {
        self.scenes.get(scene).copied().unwrap_or(self.general)
    }

    pub fn standing(
        &self,
        scene: &str,
        opened_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Standing {
        let target = self.of(scene);
        if opened_at <= before(now, target) {
            Standing::Late
        } else if opened_at <= before(now, soon(target)) {
            Standing::Soon
        } else {
            Standing::OnTime
        }
    }

    /// The time that is left; negative: how late it is.
    pub fn left(
        &self,
        scene: &str,
        opened_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> time::Duration {
        opened_at - before(now, self.of(scene))
    }

    /// Cases opened at this time or before have this standing or a worse one.
    pub fn cutoffs(&self, standing: Standing, now: OffsetDateTime) -> Cutoffs {
        let cutoff = |target| match standing {
            Standing::OnTime => now,
            Standing::Soon => before(now, soon(target)),
            Standing::Late => before(now, target),
        };
        let scenes = self.scenes.iter().map(|(scene, target)| (scene.clone(), cutoff(*target)));
        let (scenes, times) = scenes.unzip();
        Cutoffs { general: cutoff(self.general), scenes, times }
    }
}

/// A time for each scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Of every scene that is not named.
    pub general: OffsetDateTime,
    pub scenes: Vec<String>,
    /// In the order of `scenes`.
    pub times: Vec<OffsetDateTime>,
}

fn soon(target: Duration) -> Duration {
    target / 4 * 3
}

fn before(now: OffsetDateTime, ago: Duration) -> OffsetDateTime {
    let ago = time::Duration::try_from(ago).unwrap_or(time::Duration::MAX);
    now.checked_sub(ago).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::VariantArray;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);
    const MINUTE: time::Duration = time::Duration::MINUTE;

    fn targets() -> Targets {
        let scenes = BTreeMap::from([("fast".to_owned(), Duration::from_mins(4))]);
        Targets { general: Duration::from_hours(4), scenes }
    }

    #[test]
    fn age_is_judged_by_the_target_of_the_scene() {
        let targets = targets();
        for (scene, minutes, standing) in [
            ("any", 0, Standing::OnTime),
            ("any", 179, Standing::OnTime),
            ("any", 180, Standing::Soon),
            ("any", 239, Standing::Soon),
            ("any", 240, Standing::Late),
            ("fast", 2, Standing::OnTime),
            ("fast", 3, Standing::Soon),
            ("fast", 4, Standing::Late),
            // A replica's clock may be ahead of this one's.
            ("fast", -5, Standing::OnTime),
        ] {
            let opened_at = NOW - MINUTE * minutes;
            assert_eq!(targets.standing(scene, opened_at, NOW), standing, "{scene} {minutes}");
        }
        assert_eq!(targets.left("fast", NOW - MINUTE, NOW), MINUTE * 3);
        assert_eq!(targets.left("fast", NOW - MINUTE * 5, NOW), -MINUTE);
    }

    #[test]
    fn cutoffs_and_standing_agree_to_the_microsecond() {
        let targets = targets();
        for standing in Standing::ALL {
            let cutoffs = targets.cutoffs(standing, NOW);
            for (scene, cutoff) in [("any", cutoffs.general), ("fast", cutoffs.times[0])] {
                let after = cutoff + time::Duration::MICROSECOND;
                assert!(targets.standing(scene, cutoff, NOW) >= standing);
                assert!(
                    standing == Standing::OnTime || targets.standing(scene, after, NOW) < standing
                );
            }
        }
    }

    #[test]
    fn judgements_are_five_steps() {
        assert_eq!(Judgement::ALL.map(Judgement::number), [1, 2, 3, 4, 5]);
        for judgement in Judgement::ALL {
            assert_eq!(Judgement::of(judgement.number()), Some(judgement));
            assert_eq!(Judgement::parse(&judgement.number().to_string()), Ok(judgement));
        }
        for wrong in ["", "0", "6", "01", "+1", "1 ", "one"] {
            assert!(Judgement::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            Judgement::ALL.map(Judgement::says_same),
            [Some(true), Some(true), None, Some(false), Some(false)]
        );
    }

    #[test]
    fn words_are_those_of_the_database() {
        let words: Vec<&str> = Ended::VARIANTS.iter().map(|ended| ended.as_str()).collect();
        assert_eq!(
            words.join(" "),
            "decided proposed decision-changed erased judged skipped released escalated lapsed"
        );
        assert_eq!(
            [Kind::Review, Kind::Golden, Kind::Again].map(Kind::as_str),
            ["review", "golden", "again"]
        );
        assert_eq!("on-time".parse(), Ok(Standing::OnTime));
    }

    fn settings(golden_share: f64, again_share: f64) -> Settings {
        Settings {
            reasons: Reasons::default(),
            targets: Targets { general: Duration::from_secs(1), scenes: BTreeMap::new() },
            golden_share,
            again_share,
            claim: Duration::from_secs(1),
            undo: Duration::from_secs(1),
            reveal_purposes: Vec::new(),
        }
    }

    #[test]
    fn shares_are_kept_and_zero_means_never() {
        let count = |golden, again| {
            let settings = settings(golden, again);
            let ids = Ids::counted(1);
            let kinds: Vec<Kind> = (0..10_000).map(|_| Mix::draw(&settings, &ids).kind).collect();
            [Kind::Golden, Kind::Again, Kind::Review]
                .map(|kind| kinds.iter().filter(|drawn| **drawn == kind).count())
        };
        assert_eq!(count(0.0, 0.0), [0, 0, 10_000]);
        let [golden, again, review] = count(0.05, 0.02);
        assert!((400..600).contains(&golden) && (120..280).contains(&again), "{golden} {again}");
        assert_eq!(golden + again + review, 10_000);
        assert_eq!(Mix::of(&settings(0.5, 0.5), 0.999, 0.0).kind, Kind::Again);
    }
}
