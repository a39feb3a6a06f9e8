//! The work that one check of a policy may do, counted in steps, so that the bound is the same on
//! every machine.

use std::cell::Cell;

/// Steps of one check. A step is about one comparison; the default policy takes some thousands.
const MOST_STEPS: usize = 8_000_000;

/// A budget of steps. When it is used up, every part of a check stops where it is and reports
/// nothing more; the loader then reports the budget itself.
#[derive(Debug)]
pub struct Effort {
    left: Cell<usize>,
    used: Cell<usize>,
    spent: Cell<bool>,
}

impl Default for Effort {
    fn default() -> Self {
        Self::of(MOST_STEPS)
    }
}

impl Effort {
    /// A budget of this many steps.
    pub const fn of(steps: usize) -> Self {
        Self { left: Cell::new(steps), used: Cell::new(0), spent: Cell::new(false) }
    }

    /// Takes steps from the budget; `false` where it does not have them, from then on always.
    pub fn spend(&self, steps: usize) -> bool {
        match self.left.get().checked_sub(steps) {
            Some(left) if !self.spent.get() => {
                self.left.set(left);
                self.used.set(self.used.get() + steps);
                true
            }
            _ => {
                self.spent.set(true);
                false
            }
        }
    }

    /// Whether the budget is used up, so that findings are incomplete.
    pub fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// Steps taken so far.
    pub fn used(&self) -> usize {
        self.used.get()
    }
}
