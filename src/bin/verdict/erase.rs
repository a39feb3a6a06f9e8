//! `verdict erase`: forgets a person, by verification or by identity number.

use std::process::ExitCode;

use clap::ArgGroup;
use time::format_description::well_known::Rfc3339;
use verdict::domain::counted::counted;
use verdict::domain::erasure::REMAINING;
use verdict::domain::ids::VerificationId;
use verdict::store::erasure::{Erased, Receipt};

use crate::context::{Context, required_purpose};
use crate::output::say_done;
use crate::person_number;

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("whom").required(true).args(["verification", "person"]),
    after_help = "Example: verdict erase --person --purpose 'request 4711' < number.txt"
)]
pub struct Arguments {
    /// Erase the person of this verification, in this verification only.
    #[arg(long)]
    verification: Option<VerificationId>,
    /// Erase a person in all verifications, by the identity number, which is typed at a prompt or
    /// comes on standard input. (The command line does not take the number: other users of this
    /// machine can read it.)
    #[arg(long)]
    person: bool,
    /// The purpose, for the audit. No name, no number.
    #[arg(long)]
    purpose: String,
}

/// Prints one receipt a line. Verifications under a legal hold are left as they are, and named.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let doing = Context::doing(Some(required_purpose(&arguments.purpose)?));
    let (store, ids) = if let Some(id) = arguments.verification {
        (context.store().await?, vec![id])
    } else {
        let found = person_number::look_up(context, &doing).await?;
        (found.store, found.ids)
    };
    let mut on_hold = 0;
    for id in &ids {
        match store.erasures().erase(*id, &doing).await? {
            Erased::Done(receipt) => say_receipt(&receipt)?,
            Erased::OnHold => {
                on_hold += 1;
                say_done(serde_json::json!({ "verification_id": id, "on_hold": true }));
            }
            Erased::NotFound => anyhow::bail!("there is no verification {id}"),
        }
    }
    if on_hold > 0 {
        anyhow::bail!(
            "{on_hold} of {} {} under a legal hold and not erased: see `verdict hold list`",
            counted(ids.len(), "verification", "verifications"),
            if on_hold == 1 { "is" } else { "are" }
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn say_receipt(receipt: &Receipt) -> anyhow::Result<()> {
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
    Ok(())
}
