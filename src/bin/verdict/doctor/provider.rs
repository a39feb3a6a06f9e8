//! The provider: one harmless signed call for each product, about a verification that cannot exist.

use policy::product::Product;
use verdict::domain::answer::{AnswerError, ErrorClass};
use verdict::provider::{self, Answer, Key, NoAnswer, Provider, Unanswered, is_about_permission};

use super::context::DoctorContext;
use verdict::checks::database::{clock_against, nearest};
use verdict::checks::{Finding, State};

/// Asked in where nobody has been verified yet.
const NO_SCENE: &str = "verdict-doctor";

/// The same for face-verify, whose scenes are numbers.
const NO_SCENE_NUMBER: &str = "1";

/// Calls once for each product, outside the account's budget.
pub(super) async fn call(doctor: &DoctorContext) -> Vec<Finding> {
    if !doctor.role.works() {
        return vec![Finding::skipped("this role does not call the provider")];
    }
    let (Ok(settings), Ok(credentials)) = (doctor.config.provider(), doctor.config.credentials())
    else {
        return vec![Finding::skipped("the section provider is not usable")];
    };
    let environment = doctor.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let (clock, ids) = (&doctor.clock, &doctor.ids);
    let Ok(provider) = Provider::new(settings, credentials, environment, clock, ids) else {
        return vec![Finding::failed(
            "the HTTP client cannot be set up",
            "check that this machine has its certificate authorities (ca-certificates)",
        )];
    };
    let first = doctor.config.product().unwrap_or_default();
    let other = match first {
        Product::VerifyResult => Product::FaceVerify,
        Product::FaceVerify => Product::VerifyResult,
    };
    let (mut found, is_known) = ask(doctor, &provider, first).await;
    if is_known {
        let (of_other, _) = ask(doctor, &provider, other).await;
        found.extend(of_other.into_iter().take(1).map(|finding| only_if_used(finding, other)));
    }
    found
}

/// Asks about a verification that cannot exist. Answers what that shows, that about the product
/// first, and whether the provider knows the credentials: then it makes sense to ask it more.
async fn ask(
    doctor: &DoctorContext,
    provider: &Provider,
    product: Product,
) -> (Vec<Finding>, bool) {
    let nobody = format!("unknown{}", doctor.ids.nonce());
    let scene = doctor.scene.as_deref().filter(|_| product == Product::VerifyResult);
    let no_scene = match product {
        Product::VerifyResult => NO_SCENE,
        Product::FaceVerify => NO_SCENE_NUMBER,
    };
    let key =
        Key { biz_type: scene.unwrap_or(no_scene), biz_id: &nobody, certify_id: Some(&nobody) };
    let asked = doctor.clock.now();
    match provider.ask(product, key).await {
        Ok(answer) => {
            let (finding, is_known) = answered(&answer, product, scene.is_some());
            let mut found = vec![finding];
            if answer.simulated {
                found.push(Finding::warning(
                    "it is a simulated provider: nobody is really verified",
                    "set provider.endpoint to the vendor's, with an access key of the vendor; \
                     ignore this in a test installation",
                ));
            }
            if let Some(date) = answer.date {
                let ours = nearest(date, [asked, doctor.clock.now()]);
                let mut clock = clock_against(date, ours);
                clock.says = format!("by the provider's Date header {}", clock.says);
                found.push(clock);
            }
            (found, is_known)
        }
        Err(NoAnswer::NoCertifyId) => (Vec::new(), false),
        Err(NoAnswer::Call(Unanswered::NoCredentials(error))) => {
            let finding = Finding::failed(
                error.to_string(),
                "set provider.access_key_id and access_key_secret (or …_file), or give this \
                 process one of the sources of the vendor's chain",
            );
            (vec![finding], false)
        }
        Err(NoAnswer::Call(problem)) => {
            let finding = Finding::failed(
                format!("{product}: {}", provider::sentence(&problem)),
                format!("provider.endpoint: {}", provider::cause_of(&problem).advice()),
            );
            (vec![finding], false)
        }
    }
}

/// An installation may use one product alone, so a refusal of the other is no failure.
fn only_if_used(finding: Finding, product: Product) -> Finding {
    let Finding { state, says, hint } = finding;
    match state {
        State::Ok | State::Skipped => Finding { state, says, hint },
        State::Warning | State::Failed => Finding::warning(
            says,
            format!("only if you use {product}: {}", hint.unwrap_or_default()),
        ),
    }
}

/// What the answer shows about the product, and whether the credentials are known.
fn answered(answer: &Answer, product: Product, known_scene: bool) -> (Finding, bool) {
    let good =
        || (Finding::ok(format!("{product}: the signature is good, the call is permitted")), true);
    let Err(AnswerError { class, code }) = &answer.outcome else { return good() };
    // Of a closed alphabet, and the provider's own; its message is not shown.
    let code = code.as_deref().unwrap_or("no code");
    let right = match product {
        Product::VerifyResult => {
            "grant the RAM user or role AliyunYundunCloudAuthFullAccess or a policy with \
             DescribeVerifyResult, and check that the account owns the scene"
        }
        Product::FaceVerify => {
            "grant the RAM user or role AliyunAntCloudAuthFullAccess, and check that the product is \
             opened and paid for"
        }
    };
    match class {
        // A provider that says "no such verification" has accepted the signature.
        ErrorClass::BadRequest | ErrorClass::Gone => good(),
        ErrorClass::Credentials if is_about_permission(product, code) && !known_scene => (
            Finding::warning(
                format!(
                    "{product}: the signature is good; permission was refused for an invented \
                     scene ({code})"
                ),
                format!("run it again once there is a verification; if it persists, {right}"),
            ),
            true,
        ),
        ErrorClass::Credentials if is_about_permission(product, code) => (
            Finding::failed(
                format!("{product}: the signature is good, the call is not permitted ({code})"),
                right,
            ),
            true,
        ),
        ErrorClass::Credentials => (
            Finding::failed(
                format!("the credentials are refused ({code})"),
                "see provider.access_key_id and its secret: same account, active, without blanks \
                 around; after a rotation the new one",
            ),
            false,
        ),
        ErrorClass::Clock => (
            Finding::failed(
                format!("the provider finds our clock wrong ({code})"),
                "set this machine's clock right (chrony, systemd-timesyncd): 15 minutes is its \
                 limit",
            ),
            false,
        ),
        ErrorClass::Throttled => (
            Finding::warning(
                format!("{product}: the call was throttled ({code})"),
                "try again; if it persists, lower provider.queries_per_second",
            ),
            true,
        ),
        ErrorClass::Transient => (
            Finding::warning(
                format!("{product}: the provider fails at the moment ({code})"),
                "try again; calls are repeated until it succeeds",
            ),
            true,
        ),
        ErrorClass::Unreadable => (
            Finding::warning(
                format!(
                    "{product}: the answer was not one of the provider's (HTTP {})",
                    answer.http_status
                ),
                "check that the endpoint names Cloudauth itself, and no proxy's page",
            ),
            true,
        ),
    }
}
