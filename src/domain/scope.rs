//! What an API key, or a person in the console, may do.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read verifications and their decisions.
    DecisionsRead,
    /// Read raw answers without personal data.
    ResultsRead,
    /// Read the person's data.
    MaterialRead,
    /// Read the person's images.
    ImagesRead,
    /// Decide as a person.
    ReviewsWrite,
    /// Start verifications and ask again.
    VerificationsWrite,
    /// Change policies.
    PoliciesWrite,
    /// Erase persons; it allows nothing else.
    ErasuresWrite,
    /// Read the event log.
    EventsRead,
    /// Manage webhook endpoints.
    WebhooksWrite,
    /// Invite and disable users of the console, and change their rights. Of people only.
    UsersWrite,
    /// Read the audit. Of people only.
    AuditRead,
    /// Read the state of the installation: backlog, dead letters, replicas. Of people only.
    OperationsRead,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 13] = [
        Self::DecisionsRead,
        Self::ResultsRead,
        Self::MaterialRead,
        Self::ImagesRead,
        Self::ReviewsWrite,
        Self::VerificationsWrite,
        Self::PoliciesWrite,
        Self::ErasuresWrite,
        Self::EventsRead,
        Self::WebhooksWrite,
        Self::UsersWrite,
        Self::AuditRead,
        Self::OperationsRead,
    ];

    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DecisionsRead => "decisions:read",
            Self::ResultsRead => "results:read",
            Self::MaterialRead => "material:read",
            Self::ImagesRead => "images:read",
            Self::ReviewsWrite => "reviews:write",
            Self::VerificationsWrite => "verifications:write",
            Self::PoliciesWrite => "policies:write",
            Self::ErasuresWrite => "erasures:write",
            Self::EventsRead => "events:read",
            Self::WebhooksWrite => "webhooks:write",
            Self::UsersWrite => "users:write",
            Self::AuditRead => "audit:read",
            Self::OperationsRead => "operations:read",
        }
    }

    /// The scope of that name. Keys made before the scope was renamed have `admin` stored.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "admin" => Some(Self::ErasuresWrite),
            _ => Self::ALL.into_iter().find(|scope| scope.as_str() == text),
        }
    }

    /// No call of the API needs it: an API key with it could do no more than without.
    pub const fn is_for_people_only(self) -> bool {
        matches!(self, Self::UsersWrite | Self::AuditRead | Self::OperationsRead)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
