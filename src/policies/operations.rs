//! Operations on policies, shared by the API and the command line.

use std::sync::Arc;

use policy::decision::Decision;
use policy::evidence::Evidence;
use policy::{Diagnostic, Policy};
use thiserror::Error;

use crate::domain::proposal::Call;
use crate::domain::scenes::Scenes;
use crate::lanes::{self, policy_work, requested_policy_work};
use crate::store::audit::AuditContext;
use crate::store::policies::{
    Activation, Agreed, Changed, PolicyRow, PolicyText, ShadowCount, Use,
};
use crate::store::policy_history::InUseSince;
use crate::store::{self, Store};

/// Why an operation on policies came to nothing.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The text is no policy that may decide. Warnings are among the diagnostics.
    #[error("{}", error_lines(.0))]
    Refused(Vec<Diagnostic>),
    /// No policy has that digest.
    #[error("there is no such policy: see `verdict policy list`")]
    Unknown,
    /// Nothing is in use that the change could act upon.
    #[error("there is nothing to change")]
    NothingToChange,
    /// The proposal that two persons agreed on does not count any more.
    #[error("the proposal is closed")]
    ProposalClosed,
    /// Too many others wait for their turn to compute.
    #[error("too many checks and comparisons wait already")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<lanes::Busy> for PolicyError {
    fn from(lanes::Busy: lanes::Busy) -> Self {
        Self::Busy
    }
}

/// Whether a caller waits for its turn to compute, however many wait before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A person at a terminal does.
    Wait,
    /// A request is refused where many wait.
    RefuseIfBusy,
}

impl Turn {
    /// Computes off the runtime, one piece at a time in a process.
    pub(super) async fn compute<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, lanes::Busy> {
        match self {
            Self::Wait => Ok(policy_work(work).await),
            Self::RefuseIfBusy => requested_policy_work(work).await,
        }
    }
}

/// A text, and what loading it came to.
#[derive(Debug)]
pub struct Checked {
    /// As it was given.
    pub text: String,
    /// The policy, or the diagnostics that refuse it.
    pub policy: Result<Policy, Vec<Diagnostic>>,
}

impl Checked {
    /// Errors and warnings, in the order of the text.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        self.policy.as_ref().map_or_else(Vec::as_slice, Policy::warnings)
    }
}

/// A policy that was added.
#[derive(Debug)]
pub struct Added {
    /// With its warnings.
    pub policy: Policy,
    /// It was not known before.
    pub new: bool,
}

/// A policy and where it is in use.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The policy, without its text.
    pub policy: PolicyRow,
    /// How and in which scenes it is in use; an empty scene stands for all without their own.
    pub uses: Vec<(Use, String)>,
}

/// A line of one text and not of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedLine {
    /// Of the new text; else of the old one.
    pub added: bool,
    /// In its text, from 1.
    pub line: usize,
    /// Without its end.
    pub text: String,
}

/// How a policy in shadow compares with the active one.
#[derive(Clone, Debug)]
pub struct ShadowComparison {
    /// Decisions compared.
    pub decisions: i64,
    /// Decisions with the same outcome.
    pub agree: i64,
    /// How often which outcomes met.
    pub counts: Vec<ShadowCount>,
}

/// A change of the policies in use. An empty scene means all scenes without their own policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The policy decides from now on.
    Activate {
        scene: &'a str,
        /// Digest of the policy.
        policy: &'a str,
    },
    /// The policy decides beside the active one, for comparison.
    Shadow {
        scene: &'a str,
        /// Digest of the policy.
        policy: &'a str,
    },
    /// Nothing is in shadow any more.
    EndShadow { scene: &'a str },
    /// The policy in shadow becomes the active one.
    Promote { scene: &'a str },
    /// The previously active policy becomes active again.
    RollBack { scene: &'a str },
    /// The scene falls back to the general policy.
    Deactivate { scene: &'a str },
}

impl<'a> Change<'a> {
    /// Whether `policies.four_eyes` asks for a second person. A shadow decides nothing; a rollback
    /// undoes a mistake in a hurry.
    pub fn needs_two_persons(&self) -> bool {
        self.call("").is_some()
    }

    /// The call that two persons have to agree on, about this policy; `None` where one is enough.
    pub fn call(&self, policy: &'a str) -> Option<Call<'a>> {
        match *self {
            Self::Activate { scene, .. } => Some(Call::Activate { scene, policy }),
            Self::Promote { scene } => Some(Call::Promote { scene, policy }),
            Self::Deactivate { scene } => Some(Call::Deactivate { scene, policy }),
            Self::Shadow { .. } | Self::EndShadow { .. } | Self::RollBack { .. } => None,
        }
    }
}

/// The effect of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// This policy is in use now; `None`: the scene does not have its own policy.
    Now(Option<String>),
    /// It was so before: nothing was changed or recorded.
    Already,
}

/// Operations on the policies of one database.
#[derive(Clone, Copy, Debug)]
pub struct PolicyOperations<'a> {
    store: &'a Store,
    turn: Turn,
}

impl<'a> PolicyOperations<'a> {
    /// For a caller that waits for its turn to compute, or does not.
    pub const fn new(store: &'a Store, turn: Turn) -> Self {
        Self { store, turn }
    }

    /// Checks a text and keeps nothing.
    pub async fn check(&self, text: String) -> Result<Checked, PolicyError> {
        check(text, self.turn).await
    }

    /// Adds a text that passes the check. It decides nothing yet.
    pub async fn add(&self, text: String, context: &AuditContext) -> Result<Added, PolicyError> {
        let Checked { policy, .. } = self.check(text).await?;
        let policy = policy.map_err(PolicyError::Refused)?;
        let new = self.add_checked(&policy, context).await?;
        Ok(Added { policy, new })
    }

    /// Adds a policy that was checked before; `false` where it was known already.
    pub async fn add_checked(
        &self,
        policy: &Policy,
        context: &AuditContext,
    ) -> Result<bool, PolicyError> {
        let (digest, name) = (policy.digest(), policy.name());
        Ok(self.store.policies().add_policy(digest, name, policy.text(), context).await?)
    }

    /// Every policy. A caller that is limited to scenes sees what is in use there or in all scenes,
    /// and what was never in use.
    pub async fn list(&self, scenes: &Scenes) -> Result<Vec<Listed>, PolicyError> {
        let in_use = self.in_use(scenes).await?;
        let hidden = match scenes.names() {
            Some(scenes) => self.store.policies().policies_of_other_scenes(&scenes).await?,
            None => Vec::new(),
        };
        let policies = self.store.policies().list().await?;
        let seen = policies.into_iter().filter(|policy| !hidden.contains(&policy.digest));
        let listed = seen.map(|policy| {
            let uses = in_use.iter().filter(|used| used.digest == policy.digest);
            let uses =
                uses.filter_map(|used| Some((used.kind.parse().ok()?, used.biz_type.clone())));
            Listed { uses: uses.collect(), policy }
        });
        Ok(listed.collect())
    }

    /// The policies in use, and since when, as far as the caller's scenes reach.
    pub async fn in_use(&self, scenes: &Scenes) -> Result<Vec<InUseSince>, PolicyError> {
        let mut in_use = self.store.policies().in_use_since().await?;
        in_use.retain(|used| is_seen(scenes, &used.biz_type));
        Ok(in_use)
    }

    /// Decides one case by a policy, which may be expensive.
    pub async fn decide(
        &self,
        policy: Arc<Policy>,
        evidence: Evidence,
    ) -> Result<Decision, PolicyError> {
        Ok(self.turn.compute(move || policy::decide(&policy, &evidence)).await?)
    }

    /// Every change of what is in use, newest first, as far as the caller's scenes reach.
    pub async fn activations(&self, scenes: &Scenes) -> Result<Vec<Activation>, PolicyError> {
        let mut activations = self.store.policies().activations().await?;
        activations.retain(|activation| is_seen(scenes, &activation.biz_type));
        Ok(activations)
    }

    /// The policy with that digest. One that was only ever in use in other scenes than the caller's
    /// is unknown to it.
    pub async fn text(&self, digest: &str, scenes: &Scenes) -> Result<PolicyText, PolicyError> {
        // Postgres cannot hold every text (a NUL, say): only a digest is looked up.
        if !is_digest(digest) {
            return Err(PolicyError::Unknown);
        }
        let found = self.store.policies().policy_text(digest).await?.ok_or(PolicyError::Unknown)?;
        if let Some(scenes) = scenes.names() {
            let hidden = self.store.policies().policies_of_other_scenes(&scenes).await?;
            if hidden.iter().any(|other| other == digest) {
                return Err(PolicyError::Unknown);
            }
        }
        Ok(found)
    }

    /// Lines of one text and not of the other, in the order of the texts.
    pub async fn diff(&self, old: String, new: String) -> Result<Vec<ChangedLine>, PolicyError> {
        diff(old, new, self.turn).await
    }

    /// How a policy in shadow compares with what counted, by its newest decisions in these scenes.
    pub async fn compare_shadow(
        &self,
        digest: &str,
        scenes: &Scenes,
    ) -> Result<ShadowComparison, PolicyError> {
        let scenes = scenes.names();
        let counts = self.store.policies().shadow_counts(digest, scenes.as_deref()).await?;
        let agrees = |count: &&ShadowCount| count.outcome == count.active_outcome;
        Ok(ShadowComparison {
            decisions: counts.iter().map(|count| count.count).sum(),
            agree: counts.iter().filter(agrees).map(|count| count.count).sum(),
            counts,
        })
    }

    /// The policy that two persons have to agree on before a change: the one it names, or the one
    /// it acts upon now. `None` where one person is enough.
    pub async fn to_agree_on(&self, change: &Change<'_>) -> Result<Option<String>, PolicyError> {
        let in_use = match *change {
            Change::Activate { policy, .. } => return Ok(Some(policy.to_owned())),
            Change::Promote { scene } => {
                self.store.policies().policy_in_use(Use::Shadow, scene).await?
            }
            Change::Deactivate { scene } => {
                self.store.policies().policy_in_use(Use::Active, scene).await?
            }
            Change::Shadow { .. } | Change::EndShadow { .. } | Change::RollBack { .. } => {
                return Ok(None);
            }
        };
        in_use.map(Some).ok_or(PolicyError::NothingToChange)
    }

    /// Changes what is in use. With the consent of a second person it acts only upon the policy that
    /// both mean, and closes their proposal.
    pub async fn change(
        &self,
        change: &Change<'_>,
        agreed: Option<Agreed<'_>>,
        context: &AuditContext,
    ) -> Result<Applied, PolicyError> {
        let second = agreed.map(|agreed| agreed.second);
        let refused = if second.is_some() {
            PolicyError::ProposalClosed
        } else {
            PolicyError::NothingToChange
        };
        let (kind, scene, policy) = match *change {
            Change::Activate { scene, policy } => (Use::Active, scene, Some(policy)),
            Change::Shadow { scene, policy } => (Use::Shadow, scene, Some(policy)),
            Change::EndShadow { scene } => (Use::Shadow, scene, None),
            Change::Promote { scene } => {
                let digest = self.store.policies().promote_shadow(scene, agreed, context).await?;
                return digest.map(|digest| Applied::Now(Some(digest))).ok_or(refused);
            }
            Change::RollBack { scene } => {
                let digest = self.store.policies().roll_back_policy(scene, context).await?;
                return digest.map(Applied::Now).ok_or(refused);
            }
            Change::Deactivate { scene } => {
                let deactivated =
                    self.store.policies().deactivate_policy(scene, agreed, context).await?;
                return deactivated.then_some(Applied::Now(None)).ok_or(refused);
            }
        };
        match self.store.policies().use_policy(kind, scene, policy, second, context).await? {
            Changed::Now => Ok(Applied::Now(policy.map(str::to_owned))),
            Changed::Before => Ok(Applied::Already),
            Changed::Refused if second.is_some() => Err(PolicyError::ProposalClosed),
            Changed::Refused => Err(PolicyError::Unknown),
        }
    }
}

/// Checks a text without any database.
pub async fn check(text: String, turn: Turn) -> Result<Checked, PolicyError> {
    let load = move || {
        let policy = Policy::load(&text);
        Checked { text, policy }
    };
    Ok(turn.compute(load).await?)
}

/// Compares two texts line by line, in the order of the texts.
pub async fn diff(old: String, new: String, turn: Turn) -> Result<Vec<ChangedLine>, PolicyError> {
    let owned = |change: policy::Change<'_>| ChangedLine {
        added: change.added,
        line: change.line,
        text: change.text.to_owned(),
    };
    let compare = move || policy::diff(&old, &new).into_iter().map(owned).collect();
    Ok(turn.compute(compare).await?)
}

/// The empty scene concerns every scene, so every key sees it.
fn is_seen(scenes: &Scenes, scene: &str) -> bool {
    scene.is_empty() || scenes.include_name(scene)
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && rest.bytes().all(hex))
}

fn error_lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
