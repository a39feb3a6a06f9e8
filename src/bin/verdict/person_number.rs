//! The identity number that a command looks for: typed at a prompt, or on standard input. Never an
//! argument: other users of the machine could read it, and the shell would keep it.

use std::io::{IsTerminal, Read};

use anyhow::Context as _;
use verdict::domain::folding;
use verdict::domain::ids::VerificationId;
use verdict::persons::{self, NUMBER_CHARS};
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::vault::Vault;
use zeroize::Zeroizing;

use crate::context::{Context, Usage, store_and_vault};

/// Most bytes read for an identity number.
const MAX_NUMBER_BYTES: u64 = 1024;
const NO_NUMBER: &str = "standard input must hold one identity number: at least 8 letters and \
    digits, none of them masked";

/// The verifications of one person: at least one.
pub(crate) struct Found {
    pub(crate) store: Store,
    pub(crate) vault: Vault,
    pub(crate) ids: Vec<VerificationId>,
}

/// Of the person whose number is typed or on standard input. The look-up is on record.
pub(crate) async fn look_up(context: &Context, audit: &AuditContext) -> anyhow::Result<Found> {
    let (store, vault) = store_and_vault(context).await?;
    let number = read()?;
    let ids = match persons::person_index(&store, &vault).await? {
        None => Vec::new(),
        Some(index) => {
            let person = index.digest(&number).ok_or_else(|| Usage(NO_NUMBER.to_owned()))?;
            store.persons().look_up(&person, audit).await?
        }
    };
    if ids.is_empty() {
        anyhow::bail!("nothing is kept of this person");
    }
    Ok(Found { store, vault, ids })
}

/// Refuses what cannot be an identity number: `nothing is kept of this person` would be a false
/// answer.
fn read() -> anyhow::Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let mut number = Zeroizing::new(String::new());
    let read = if stdin.is_terminal() {
        let typed = rpassword::prompt_password("Identity number (not shown): ");
        *number = typed.context("the terminal cannot be read")?;
        Ok(number.len())
    } else {
        stdin.take(MAX_NUMBER_BYTES).read_to_string(&mut number)
    };
    let lines = number.lines().filter(|line| !line.trim().is_empty()).count();
    let folded = folding::number(&number).filter(|folded| NUMBER_CHARS.contains(&folded.len()));
    match (read, folded) {
        (Ok(_), Some(_)) if lines == 1 => Ok(number),
        _ => Err(Usage(NO_NUMBER.to_owned()).into()),
    }
}
