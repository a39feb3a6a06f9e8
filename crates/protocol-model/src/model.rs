//! A model: its size, and what is wrong with it.

use crate::defect::Defect;
use crate::state::Sizes;

#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub sizes: Sizes,
    /// `None`: the protocol as it is.
    pub defect: Option<Defect>,
}

impl Model {
    pub const fn new(sizes: Sizes) -> Self {
        Self { sizes, defect: None }
    }

    pub const fn with(sizes: Sizes, defect: Defect) -> Self {
        Self { sizes, defect: Some(defect) }
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}
