//! `verdict audit prove` and `verdict audit check`: proofs as files, made from the database and verified
//! without it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{Kind, SignedNote, VerifyingKey};
use merkle_log::tree::Tree;
use serde_json::json;
use verdict::audit_log::link;
use verdict::audit_log::tree::{grow, position, prove_consistency, prove_inclusion, root_at};
use verdict::domain::audit_heads::KnownHead;
use verdict::domain::audit_proof::{Consistency, Inclusion, ProofFile, Proven};
use verdict::domain::byte_order_mark;
use verdict::domain::counted::counted;

use super::heads::{newest, newest_cosigned};
use super::installation::Installation;
use crate::context::{Context, Usage};
use crate::output::say;

pub(super) async fn prove_row(context: &Context, row: i64) -> anyhow::Result<ExitCode> {
    let audit = Installation::open(context).await?;
    let leaf = audit.store.audit_tree().leaves_after(row - 1, 1).await?.pop();
    let Some(leaf) = leaf.filter(|leaf| leaf.position == row) else {
        bail!("the audit has no row {row}");
    };
    let (tree, head, note) = head_for(&audit, row.unsigned_abs()).await?;
    let hashes = prove_inclusion(&audit.store, &tree, row, head.size).await?;
    let kept = audit.store.audit().audit_after(row - 1, None, 1).await?.pop();
    let inclusion = Inclusion {
        position: row,
        row: kept.filter(|kept| kept.position == row).map(link),
        digest: hex::encode(&leaf.digest),
        hashes: texts(&hashes),
    };
    print(&ProofFile { inclusion: Some(inclusion), consistency: None, head: note.to_string() })
}

pub(super) async fn prove_from(context: &Context, size: u64) -> anyhow::Result<ExitCode> {
    if size == 0 {
        return Err(Usage("--from must be at least 1".to_owned()).into());
    }
    let audit = Installation::open(context).await?;
    let (tree, head, note) = head_for(&audit, size).await?;
    let hashes = prove_consistency(&audit.store, &tree, size, head.size).await?;
    let root = root_at(&audit.store, &tree, size).await?.to_base64();
    let consistency = Consistency { size, root, hashes: texts(&hashes) };
    print(&ProofFile { inclusion: None, consistency: Some(consistency), head: note.to_string() })
}

/// A head with at least so many rows, and the tree up to it: the newest that a witness signed, else one
/// that is signed now.
async fn head_for(
    audit: &Installation,
    least: u64,
) -> anyhow::Result<(Tree, TreeHead, SignedNote)> {
    let mut tree = Tree::default();
    if let Some((head, note)) = newest_cosigned(audit, least).await? {
        grow(&audit.store, &mut tree, position(head.size)).await?;
        if tree.root() != head.root {
            bail!(
                "the audit is not the one that its witnesses signed: run `verdict audit verify`, \
                 which says more"
            );
        }
        return Ok((tree, head, note));
    }
    let (head, note) = newest(audit, &mut tree).await?;
    if head.size < least {
        bail!(
            "the newest head ends with row {}: a worker signs newer rows about every 15 s",
            head.size
        );
    }
    Ok((tree, head, note))
}

fn texts(hashes: &[NodeHash]) -> Vec<String> {
    hashes.iter().map(|hash| hash.to_base64()).collect()
}

fn print(proof: &ProofFile) -> anyhow::Result<ExitCode> {
    say(serde_json::to_string(proof)?);
    Ok(ExitCode::SUCCESS)
}

/// A proof, and the keys and the head that it must agree with.
pub(super) struct CheckArguments {
    pub(super) file: PathBuf,
    pub(super) key: String,
    pub(super) witness: Vec<String>,
    pub(super) head: Option<PathBuf>,
    pub(super) json: bool,
}

pub(super) fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let log = key_of("--key", &arguments.key, Kind::Log)?;
    let witnesses = arguments.witness.iter().map(|text| key_of("--witness", text, Kind::Witness));
    let witnesses = witnesses.collect::<Result<Vec<_>, _>>()?;
    let text = read(&arguments.file)?;
    let proof: ProofFile = serde_json::from_str(&text)
        .with_context(|| format!("{} is no proof about an audit", arguments.file.display()))?;
    let proven = proof.check(&log)?;
    for witness in &witnesses {
        let signed = proven.note.cosigned_at(witness);
        signed.with_context(|| {
            format!("the witness {} has not signed the head in the file", witness.name())
        })?;
    }
    if let Some(file) = &arguments.head {
        is_about(&proven, file, &log)?;
    }
    let names: Vec<&str> = witnesses.iter().map(VerifyingKey::name).collect();
    let Proven { position, older, head, .. } = &proven;
    if arguments.json {
        let older = older.map(|(size, root)| json!({ "rows": size, "root": root.to_base64() }));
        say(json!({
            "position": position, "older": older, "rows": head.size,
            "root": head.root.to_base64(), "witnesses": names,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(row) = position {
        say(format_args!("row {row} is in the audit {} with {}", head.origin, rows(head.size)));
    }
    if let Some((size, root)) = older {
        say(format_args!(
            "the audit {} with {} begins with the {} of the root {}",
            head.origin,
            rows(head.size),
            rows(*size),
            root.to_base64()
        ));
    }
    if names.is_empty() {
        say("its head is signed by the log alone: see --witness");
    } else {
        say(format_args!("its head is signed by the log and by {}", names.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The proof must be about the head in the file: continue it, or lead to it.
fn is_about(proven: &Proven, file: &Path, log: &VerifyingKey) -> anyhow::Result<()> {
    let kept = KnownHead::kept(&read(file)?, &which(file), Some(log))?;
    let (size, root) = proven.older.unwrap_or_else(|| proven.head.place());
    if position(size) != kept.size || root != kept.root {
        bail!("the proof is not about the head {}", kept.which);
    }
    Ok(())
}

/// The head in a file, as a part of a sentence.
pub(super) fn which(file: &Path) -> String {
    format!("in {}", file.display())
}

pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(byte_order_mark::removed(text))
}

fn rows(count: u64) -> String {
    counted(count, "row", "rows")
}

fn key_of(option: &str, text: &str, kind: Kind) -> Result<VerifyingKey, Usage> {
    match VerifyingKey::parse(text.trim()) {
        Ok(key) if key.kind() == kind => Ok(key),
        Ok(_) if kind == Kind::Log => Err(Usage(format!("{option} is the key of a witness"))),
        Ok(_) => Err(Usage(format!("{option} is the key of a log"))),
        Err(problem) => Err(Usage(format!("{option} {problem}"))),
    }
}
