//! The texts of refusals: what happened, and what to do.

use crate::console::refused::Reason;
use crate::console::texts::Phrase;
use crate::console::texts::refusals::Refusals;
use crate::http::problem::Code;

/// Title and remedy.
pub(super) fn of(t: &Refusals, reason: Reason) -> (Phrase, String) {
    let (title, remedy) = match reason {
        Reason::RightMissing(scope) => {
            return (t.right, t.right_remedy.with("scope", scope).to_string());
        }
        Reason::OtherScene => (t.scene, t.scene_remedy),
        Reason::SignedOut => (t.signed_out, t.signed_out_remedy),
        Reason::FormOutdated => (t.outdated, t.outdated_remedy),
        Reason::OtherOrigin => (t.origin, t.origin_remedy),
        Reason::OwnRights => (t.own_rights, t.own_rights_remedy),
        Reason::InvitationOver => (t.invitation, t.invitation_remedy),
        Reason::NotInvited => (t.not_invited, t.not_invited_remedy),
        Reason::IdentityTaken => (t.identity_taken, t.identity_taken_remedy),
        Reason::Identity => (t.identity, t.identity_remedy),
        Reason::IdentityDown => (t.identity_down, t.identity_down_remedy),
        Reason::Problem(code) => of_problem(t, code),
    };
    (title, remedy.to_string())
}

/// The API's problems that a page can meet. Any other shows its code.
fn of_problem(t: &Refusals, code: Code) -> (Phrase, Phrase) {
    match code {
        Code::NotFound => (t.not_found, t.not_found_remedy),
        Code::MethodNotAllowed => (t.method, t.method_remedy),
        Code::DecisionChanged | Code::ProposalClosed => (t.changed, t.changed_remedy),
        Code::Erased => (t.erased, t.erased_remedy),
        Code::NoMaterial => (t.no_material, t.no_material_remedy),
        Code::NoImage => (t.no_image, t.no_image_remedy),
        Code::NothingToReview => (t.nothing_to_review, t.nothing_to_review_remedy),
        Code::InvalidField => (t.invalid, t.invalid_remedy),
        Code::PurposeMissing => (t.purpose, t.purpose_remedy),
        Code::BodyTooLarge => (t.too_large, t.too_large_remedy),
        Code::RateLimited | Code::TooManyWaits => (t.too_many, t.too_many_remedy),
        Code::BacktestRunning => (t.backtest, t.backtest_remedy),
        Code::NothingToChange => (t.nothing_to_change, t.nothing_to_change_remedy),
        Code::PolicyRefused => (t.policy, t.policy_remedy),
        Code::Unavailable | Code::RequestTimeout | Code::ProviderUnavailable => {
            (t.unavailable, t.unavailable_remedy)
        }
        Code::Internal => (t.internal, t.internal_remedy),
        _ => (t.other, t.other_remedy),
    }
}
