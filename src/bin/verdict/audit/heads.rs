//! `verdict audit head`: the newest head, signed.

use std::process::ExitCode;

use anyhow::bail;
use merkle_log::head::TreeHead;
use merkle_log::note::SignedNote;
use merkle_log::tree::Tree;
use verdict::audit_log::heads::known_heads;
use verdict::audit_log::tree::{grow, position, signed_head};
use verdict::store::audit_tree::CosignedHead;

use super::installation::Installation;
use crate::context::Context;
use crate::output::say;

pub(super) async fn run(context: &Context, cosigned: bool, key: bool) -> anyhow::Result<ExitCode> {
    let audit = Installation::open(context).await?;
    if key {
        say(audit.head_key()?.verifying());
        return Ok(ExitCode::SUCCESS);
    }
    let note = if cosigned {
        let kept = newest_cosigned(&audit, 0).await?;
        let Some((_, note)) = kept else {
            bail!("no witness of audit.witnesses has signed a head")
        };
        note
    } else {
        let mut tree = Tree::default();
        newest(&audit, &mut tree).await?.1
    };
    // Its last line has its end.
    say(note.to_string().trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The newest head that a configured witness signed, if it has at least so many rows.
pub(super) async fn newest_cosigned(
    audit: &Installation,
    least: u64,
) -> anyhow::Result<Option<(TreeHead, SignedNote)>> {
    let log = audit.log_key();
    let mut kept = audit.store.audit_tree().cosigned(audit.heads.name()).await?;
    kept.retain(|row| audit.heads.keys().any(|witness| witness.label() == row.witness));
    // A superuser can change the table: print no head whose signatures are not verified.
    known_heads(&kept, audit.heads.keys(), log.as_ref())?;
    kept.retain(|row| row.size.unsigned_abs() >= least);
    let Some(newest) = kept.iter().max_by_key(|row| row.size) else { return Ok(None) };
    let Some((head, mut note)) = read(newest) else {
        bail!(
            "the head that is kept for {} is malformed: run `verdict audit verify`",
            newest.witness
        );
    };
    add_cosignatures(&mut note, &kept);
    Ok(Some((head, note)))
}

/// The head of the rows up to the newest checkpoint, signed now. `tree` grows to it.
pub(super) async fn newest(
    audit: &Installation,
    tree: &mut Tree,
) -> anyhow::Result<(TreeHead, SignedNote)> {
    let key = audit.head_key()?;
    let last = audit.store.audit().audit_checkpointed_to().await?;
    if last == 0 {
        bail!("no row is signed yet: run a worker, which signs the newest row about every 15 s");
    }
    grow(&audit.store, tree, last).await?;
    let (head, mut note) = signed_head(tree, &key);
    add_cosignatures(&mut note, &audit.store.audit_tree().cosigned(audit.heads.name()).await?);
    Ok((head, note))
}

/// Adds what others signed of the same text.
fn add_cosignatures(note: &mut SignedNote, kept: &[CosignedHead]) {
    for (_, other) in kept.iter().filter_map(read) {
        if other.text() == note.text() {
            other.signatures().iter().for_each(|signature| note.add(signature.clone()));
        }
    }
}

fn read(row: &CosignedHead) -> Option<(TreeHead, SignedNote)> {
    let note = SignedNote::parse(&row.note).ok()?;
    let head = TreeHead::parse(note.text())?;
    (position(head.size) == row.size).then_some((head, note))
}
