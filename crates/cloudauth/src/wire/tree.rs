//! The one tree that JSON and XML are read into.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Deepest nesting that is followed. Real answers have four levels.
pub(super) const MAX_DEPTH: usize = 64;

/// A node. Numbers are kept as text, since the provider writes `97` and `"97"` alike. Text may be
/// a name or an ID number, so it is wiped when dropped and there is no `Debug`.
pub(super) enum Node {
    Null,
    Flag(bool),
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// The member of that name, if this is a map that has one.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.get(name),
            _ => None,
        }
    }

    /// The same, ignoring case: gateways write `code` where the service writes `Code`.
    pub(super) fn member_of_any_case(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members.get(name).or_else(|| {
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, node)| node)
        })
    }

    /// Adds a member. One that repeats becomes a list: that is how XML writes lists, and in JSON
    /// it leaves no doubt that a field said two things.
    pub(super) fn add(members: &mut BTreeMap<String, Self>, name: String, node: Self) {
        match members.remove(&name) {
            None => members.insert(name, node),
            Some(Self::List(mut nodes)) => {
                nodes.push(node);
                members.insert(name, Self::List(nodes))
            }
            Some(first) => members.insert(name, Self::List(vec![first, node])),
        };
    }
}
