//! A head of a log as the text of a note: origin, size and root, a line each.

use std::fmt;

use crate::hash::NodeHash;

/// The content of a log at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The name of the log, which no other has.
    pub origin: String,
    /// How many leaves it had.
    pub size: u64,
    /// The hash over all of them.
    pub root: NodeHash,
}

impl TreeHead {
    /// Reads the text of a note. Lines behind the third are of others, and are passed over. `None`: the
    /// text is no head.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let fits = !origin.is_empty() && lines.all(|line| !line.is_empty());
        let size = decimal(size).filter(|_| fits)?;
        Some(Self { origin: origin.to_owned(), size, root: NodeHash::from_base64(root)? })
    }

    /// Size and root.
    pub fn place(&self) -> (u64, NodeHash) {
        (self.size, self.root)
    }
}

/// The text of a note.
impl fmt::Display for TreeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root } = self;
        writeln!(f, "{origin}\n{size}\n{}", root.to_base64())
    }
}

/// A number without a sign and without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
