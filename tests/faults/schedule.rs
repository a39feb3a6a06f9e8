//! The schedule of faults, drawn from a seed, so that a run can be repeated.

use std::fmt;
use std::time::Duration;

/// Services that run, by number: two that do everything, one that accepts, one that works.
pub const SERVICES: usize = 4;
/// Those that fetch.
pub const WORKERS: [usize; 3] = [0, 1, 3];

/// Numbers from a seed: `SplitMix64` (Steele, Lea, Flood 2014).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent generator.
    pub fn another(&mut self) -> Self {
        Self(self.roll())
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n` − 1.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).expect("a small number");
        usize::try_from(self.roll() % n).expect("a small number")
    }

    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll() % (to - from + 1))
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The kinds, named once: as a type and as a deck.
macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// The kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($kind),*
        }

        use Kind::*;

        /// Dealt like cards, so that even a short run has one of each.
        pub const DECK: &[Kind] = &[$($kind),*];
    };
}

kinds! {
    // A process of ours.
    Kill,
    StartDisturbed,
    Freeze,
    Terminate,
    // Postgres.
    PostgresRestartsFast,
    PostgresRestartsImmediately,
    BackendCrashes,
    AllBackendsTerminated,
    BackendTerminated,
    ConnectionsExhausted,
    // The network before it.
    DatabaseCut,
    DatabaseRefused,
    DatabaseDelayed,
    DatabaseStalled,
    AcceptanceUnanswered,
    CompletionUnanswered,
    StatementUnanswered,
    StatementLost,
    AcceptanceOutlivesItsSender,
    CompletionOutlivesItsSender,
    // While a verification is being started.
    KillDuringAStart,
    FreezeDuringAStart,
    PostgresRestartsDuringAStart,
    DatabaseCutDuringAStart,
    ProviderCutDuringAStart,
    StartUnanswered,
    StartedUnanswered,
    StartOutlivesItsSender,
    StartedOutlivesItsSender,
    InitUnanswered,
    // The network before the provider.
    ProviderCut,
    ProviderRefused,
    ProviderDelayed,
    ProviderStalled,
    ProviderUnanswered,
    // The provider.
    ProviderThrottles,
    ProviderFails,
    ProviderShowsAPage,
    ProviderTalksGarbage,
    ProviderIsEmpty,
    ProviderForgetsTheStatus,
    ProviderBreaksOff,
    ProviderHangsUp,
    ProviderSaysUnfinished,
    ProviderSaysUnderReview,
    ProviderRefusesUs,
    // The receivers of events.
    ReceiversHang,
    ReceiversFail,
    ReceiversCutTheAnswer,
    ReceiversAreSlow,
}

impl Kind {
    /// Whom it can strike, and for how many milliseconds.
    fn draw(self, dice: &mut Dice) -> (Target, Duration) {
        let network = |dice: &mut Dice, of: &[usize]| {
            if dice.percent(30) { Target::All } else { Target::Service(dice.one_of(of)) }
        };
        let every = [0, 1, 2, 3];
        match self {
            Kill => (Target::Service(dice.below(SERVICES)), dice.millis(50, 1500)),
            StartDisturbed => (Target::Service(dice.below(SERVICES)), dice.millis(200, 1000)),
            // Longer than a lease.
            Freeze => (Target::Service(dice.below(SERVICES)), dice.millis(2300, 3500)),
            KillDuringAStart => (starter(dice), dice.millis(50, 1000)),
            FreezeDuringAStart => (starter(dice), dice.millis(500, 3500)),
            PostgresRestartsDuringAStart => (Target::Postgres, dice.millis(10, 700)),
            DatabaseCutDuringAStart | ProviderCutDuringAStart => (starter(dice), Duration::ZERO),
            StartUnanswered
            | StartedUnanswered
            | StartOutlivesItsSender
            | StartedOutlivesItsSender
            | InitUnanswered => (starter(dice), dice.millis(1000, 2000)),
            Terminate => (Target::Service(dice.below(SERVICES)), dice.millis(50, 800)),
            PostgresRestartsFast | PostgresRestartsImmediately => {
                (Target::Postgres, dice.millis(10, 700))
            }
            BackendCrashes | AllBackendsTerminated | BackendTerminated => {
                (Target::Postgres, Duration::ZERO)
            }
            ConnectionsExhausted => (Target::Postgres, dice.millis(500, 1500)),
            DatabaseCut => (network(dice, &every), Duration::ZERO),
            DatabaseRefused => (network(dice, &every), dice.millis(100, 1500)),
            DatabaseDelayed => (network(dice, &every), dice.millis(500, 2500)),
            // Half of them longer than a lease and than the wait for a statement: what was sent
            // before arrives when its sender has long lost it.
            DatabaseStalled if dice.percent(50) => {
                (Target::Service(dice.one_of(&WORKERS)), dice.millis(2500, 4000))
            }
            DatabaseStalled => (network(dice, &every), dice.millis(300, 2000)),
            AcceptanceUnanswered => (Target::Service(dice.below(3)), dice.millis(1000, 2000)),
            CompletionUnanswered => {
                (Target::Service(dice.one_of(&WORKERS)), dice.millis(1000, 2000))
            }
            StatementUnanswered | StatementLost => {
                (Target::Service(dice.below(SERVICES)), dice.millis(1000, 2000))
            }
            // So late that others have done it by then.
            AcceptanceOutlivesItsSender => (Target::Service(dice.below(3)), dice.millis(200, 3000)),
            CompletionOutlivesItsSender => {
                (Target::Service(dice.one_of(&WORKERS)), dice.millis(2500, 4000))
            }
            ProviderCut => (network(dice, &WORKERS), Duration::ZERO),
            ProviderRefused | ProviderStalled => (network(dice, &WORKERS), dice.millis(200, 2500)),
            ProviderDelayed => (network(dice, &WORKERS), dice.millis(500, 2500)),
            ProviderUnanswered => (Target::Service(dice.one_of(&WORKERS)), dice.millis(500, 1500)),
            ReceiversHang | ReceiversFail | ReceiversCutTheAnswer | ReceiversAreSlow => {
                (Target::Receivers, dice.millis(200, 2000))
            }
            _ => (Target::Provider, dice.millis(100, 900)),
        }
    }
}

/// One of those that start verifications.
fn starter(dice: &mut Dice) -> Target {
    Target::Service(dice.below(3))
}

/// Whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process of that number, or its network.
    Service(usize),
    /// The networks of all.
    All,
    Postgres,
    Provider,
    /// Those that faults may strike.
    Receivers,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub number: usize,
    /// From the beginning of the run.
    pub at: Duration,
    pub kind: Kind,
    pub target: Target,
    pub lasts: Duration,
    /// By how much the network is slower, where that is the fault.
    pub delay: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:<4} +{:8.3} s  {:?}", self.number, self.at.as_secs_f64(), self.kind)?;
        match self.target {
            Target::Service(number) => write!(f, ", service {number}")?,
            Target::All => write!(f, ", all services")?,
            Target::Postgres | Target::Provider | Target::Receivers => {}
        }
        if !self.lasts.is_zero() {
            write!(f, ", {} ms", self.lasts.as_millis())?;
        }
        Ok(())
    }
}

/// The faults of a run, in order. Several may be under way at once.
pub fn draw(seed: u64, count: usize) -> Vec<Fault> {
    let mut dice = Dice::new(seed);
    let mut deck: Vec<Kind> = Vec::new();
    let mut at = Duration::from_secs(1);
    (1..=count)
        .map(|number| {
            if deck.is_empty() {
                deck.extend(DECK);
            }
            let kind = deck.swap_remove(dice.below(deck.len()));
            let (target, lasts) = kind.draw(&mut dice);
            let fault = Fault { number, at, kind, target, lasts, delay: dice.millis(20, 200) };
            // Short enough for several at once, long enough for work to be done in between.
            at += dice.millis(100, 700);
            fault
        })
        .collect()
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let drawn = |seed| format!("{:?}", draw(seed, 100));
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    let kinds: Vec<Kind> = draw(7, DECK.len()).iter().map(|fault| fault.kind).collect();
    assert!(DECK.iter().all(|kind| kinds.contains(kind)), "one of each");
}
