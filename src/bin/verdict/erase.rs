//! `verdict erase`: forgets a person, by verification or by identity number.

use std::io::Read;
use std::process::ExitCode;

use clap::ArgGroup;
use time::format_description::well_known::Rfc3339;
use verdict::app;
use verdict::domain::erasure::REMAINING;
use verdict::domain::folding;
use verdict::domain::ids::VerificationId;
use verdict::store::Store;
use zeroize::Zeroizing;

use crate::context::{Context, Usage, required_purpose, store_and_vault};
use crate::output::say_done;

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("whom").required(true).args(["verification", "person"]),
    after_help = "Example: verdict erase --person --purpose 'request 4711' < number.txt"
)]
pub struct Arguments {
    /// Erase the person of this verification, in this verification only.
    #[arg(long)]
    verification: Option<VerificationId>,
    /// Erase a person in all verifications, by the identity number on standard input. (The command
    /// line does not take the number: other users of this machine can read it.)
    #[arg(long)]
    person: bool,
    /// The purpose, for the audit. No name, no number.
    #[arg(long)]
    purpose: String,
}

/// Most bytes read for an identity number.
const MAX_NUMBER_BYTES: u64 = 1024;
/// How many letters and digits one has; the shortest passport numbers have eight.
const NUMBER_CHARS: std::ops::RangeInclusive<usize> = 8..=64;
const NO_NUMBER: &str = "standard input must hold one identity number: at least 8 letters and \
    digits, none of them masked";

/// Refuses what cannot be an identity number: `nothing is kept of this person` would be a false
/// answer.
fn number_on_stdin() -> anyhow::Result<Zeroizing<String>> {
    let mut number = Zeroizing::new(String::new());
    let read = std::io::stdin().take(MAX_NUMBER_BYTES).read_to_string(&mut number);
    let lines = number.lines().filter(|line| !line.trim().is_empty()).count();
    let folded = folding::number(&number).filter(|folded| NUMBER_CHARS.contains(&folded.len()));
    match (read, folded) {
        (Ok(_), Some(_)) if lines == 1 => Ok(number),
        _ => Err(Usage(NO_NUMBER.to_owned()).into()),
    }
}

/// Prints one receipt a line.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let purpose = required_purpose(&arguments.purpose)?;
    let (store, ids) = match arguments.verification {
        Some(id) => (context.store().await?, vec![id]),
        None => verifications_of_person(context).await?,
    };
    let doing = Context::doing(Some(purpose));
    for id in &ids {
        let Some(receipt) = store.erasures().erase(*id, &doing).await? else {
            anyhow::bail!("there is no verification {id}");
        };
        say_done(serde_json::json!({
            "verification_id": receipt.verification_id,
            "requested_at": receipt.requested_at.format(&Rfc3339)?,
            "completed_at": receipt.completed_at.map(|at| at.format(&Rfc3339)).transpose()?,
            "destroyed": { "data_keys": receipt.data_keys, "answers": receipt.answers,
                "material": receipt.material, "callbacks": receipt.callbacks,
                "images": receipt.images },
            "coarsened_at": receipt.coarsened_at.map(|at| at.format(&Rfc3339)).transpose()?,
            "remains": REMAINING,
        }));
    }
    if ids.is_empty() {
        anyhow::bail!("nothing is kept of this person");
    }
    Ok(ExitCode::SUCCESS)
}

/// Of the person whose number is on standard input.
async fn verifications_of_person(
    context: &Context,
) -> anyhow::Result<(Store, Vec<VerificationId>)> {
    let (store, vault) = store_and_vault(context).await?;
    let number = number_on_stdin()?;
    let persons = app::person_index(&vault, &store).await?;
    let person = persons.digest(&number).ok_or_else(|| Usage(NO_NUMBER.to_owned()))?;
    let ids = store.material().verifications_of_person(&person).await?;
    Ok((store, ids))
}
