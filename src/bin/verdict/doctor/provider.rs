//! The provider: one harmless signed call, about a verification that cannot exist.

use policy::product::Product;
use verdict::domain::answer::{AnswerError, ErrorClass};
use verdict::provider::{self, Answer, Key, NoAnswer, Provider, Unanswered};

use super::context::DoctorContext;
use super::database::clock_against;
use super::finding::Finding;

/// Asked in where nobody has been verified yet.
const NO_SCENE: &str = "verdict-doctor";

/// Calls once, outside the account's budget.
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
            "see that this machine has its certificate authorities (ca-certificates)",
        )];
    };
    let nobody = format!("unknown_{}", doctor.ids.nonce());
    let scene_name = doctor.scene.as_deref().unwrap_or(NO_SCENE);
    let key = Key { biz_type: scene_name, biz_id: &nobody, certify_id: Some(&nobody) };
    match provider.ask(Product::VerifyResult, key).await {
        Ok(answer) => {
            let mut found = vec![answered(&answer, doctor.scene.is_some())];
            if answer.simulated {
                found.push(Finding::warning(
                    "it is a simulated provider: nobody is really verified",
                    "set provider.endpoint to the vendor's, with an access key of the vendor; \
                     ignore this in a test installation",
                ));
            }
            if let Some(date) = answer.date {
                let mut clock = clock_against(date, doctor.clock.now());
                clock.says = format!("by the provider's Date header {}", clock.says);
                found.push(clock);
            }
            found
        }
        Err(NoAnswer::Call(Unanswered::NoCredentials(error))) => vec![Finding::failed(
            error.to_string(),
            "set provider.access_key_id and access_key_secret (or …_file), or give this process \
             one of the sources of the vendor's chain",
        )],
        Err(NoAnswer::NoCertifyId) => vec![Finding::skipped("nothing can be asked")],
        Err(NoAnswer::Call(problem)) => vec![Finding::failed(
            provider::sentence(&problem),
            format!("provider.endpoint: {}", provider::cause_of(&problem).advice()),
        )],
    }
}

fn answered(answer: &Answer, known_scene: bool) -> Finding {
    let Err(AnswerError { class, code }) = &answer.outcome else {
        return Finding::ok("the signature is good, the call is permitted");
    };
    // Of a closed alphabet, and the provider's own; its message is not shown.
    let code = code.as_deref().unwrap_or("no code");
    match class {
        // A provider that says "no such verification" has accepted the signature.
        ErrorClass::BadRequest | ErrorClass::Gone => {
            Finding::ok("the signature is good, the call is permitted")
        }
        ErrorClass::Credentials if is_about_permission(code) && !known_scene => Finding::warning(
            format!("the signature is good; permission was refused for an invented scene ({code})"),
            "look again once a verification is here; if it stays, grant the key \
             DescribeVerifyResult",
        ),
        ErrorClass::Credentials if is_about_permission(code) => Finding::failed(
            format!("the signature is good, the call is not permitted ({code})"),
            "grant the RAM user or role AliyunYundunCloudAuthFullAccess or a policy with \
             DescribeVerifyResult, and see that the account owns the scene",
        ),
        ErrorClass::Credentials => Finding::failed(
            format!("the credentials are refused ({code})"),
            "see provider.access_key_id and its secret: same account, active, without blanks \
             around; after a rotation the new one",
        ),
        ErrorClass::Clock => Finding::failed(
            format!("the provider finds our clock wrong ({code})"),
            "set this machine's clock right (chrony, systemd-timesyncd): 15 minutes is its limit",
        ),
        ErrorClass::Throttled => Finding::warning(
            format!("the call was throttled ({code})"),
            "try again; if it stays, lower provider.queries_per_second",
        ),
        ErrorClass::Transient => Finding::warning(
            format!("the provider fails at the moment ({code})"),
            "try again; calls are repeated until it is well",
        ),
        ErrorClass::Unreadable => Finding::warning(
            format!("the answer was not one of the provider's (HTTP {})", answer.http_status),
            "see that provider.endpoint names Cloudauth itself, and no proxy's page",
        ),
    }
}

fn is_about_permission(code: &str) -> bool {
    ["NoPermission", "Error.NoPermissionAccess", "Forbidden"]
        .iter()
        .any(|known| code.starts_with(known))
}
