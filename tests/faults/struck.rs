//! How often each kind of fault was injected, and how often it struck.

use std::fmt::Write;
use std::sync::Mutex;

use super::reckoning::Reckoning;
use super::schedule::{DECK, Kind};

/// After so many injections a kind that never struck is a fault of this harness: its code path was
/// not reached, so the run proves nothing about it. A short run only tells.
const ENOUGH: usize = 8;

/// Each injected fault, and whether it struck.
#[derive(Default)]
pub struct Struck(Mutex<Vec<(Kind, bool)>>);

impl Struck {
    pub fn note(&self, kind: Kind, struck: bool) {
        self.0.lock().expect("not poisoned").push((kind, struck));
    }

    /// Injections of this kind, and how many of them struck.
    fn of(&self, kind: Kind) -> (usize, usize) {
        let noted = self.0.lock().expect("not poisoned");
        let of_kind = noted.iter().filter(|(noted, _)| *noted == kind);
        of_kind.fold((0, 0), |(all, struck), (_, is_struck)| {
            (all + 1, struck + usize::from(*is_struck))
        })
    }

    /// One line for each kind.
    pub fn table(&self) -> String {
        let mut table = format!("  {:<64} {:>8} {:>8}\n", "kind of fault", "injected", "struck");
        for kind in DECK {
            let (injected, struck) = self.of(*kind);
            // Writing to a string cannot fail.
            let _ = writeln!(table, "  {:<64} {injected:>8} {struck:>8}", format!("{kind:?}"));
        }
        table
    }

    pub fn reckon(&self, reckoning: &mut Reckoning) {
        let never = DECK.iter().filter(|kind| matches!(self.of(**kind), (ENOUGH.., 0)));
        let never = never.map(|kind| format!("{kind:?}")).collect();
        reckoning.zero("kinds of fault that never struck", never);
    }
}

#[test]
fn kind_that_never_struck_breaks_a_long_run() {
    let struck = Struck::default();
    let broken = |struck: &Struck| {
        let mut reckoning = Reckoning::default();
        struck.reckon(&mut reckoning);
        reckoning.broken()
    };
    for _ in 1..ENOUGH {
        struck.note(Kind::Freeze, false);
    }
    assert_eq!(broken(&struck), 0, "a short run");
    struck.note(Kind::Freeze, false);
    assert_eq!(broken(&struck), 1);
    struck.note(Kind::Freeze, true);
    assert_eq!(broken(&struck), 0);
    assert!(
        struck
            .table()
            .lines()
            .any(|line| { line.split_whitespace().eq(["Freeze", &(ENOUGH + 1).to_string(), "1"]) })
    );
}
