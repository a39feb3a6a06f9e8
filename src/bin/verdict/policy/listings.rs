//! Lists of policies and their use: tables for people, or the JSON of the API.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use verdict::domain::clock::Clock;
use verdict::domain::scenes::Scenes;
use verdict::policies::operations::{ChangedLine, Listed, ShadowComparison};
use verdict::store::Store;
use verdict::store::policies::{Activation, Use};

use super::on_database::{failed, operations};
use super::text::whole_digest;
use crate::output::say;
use crate::terminal::{Table, relative, say_table, short_digest};

pub(super) async fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let policies = operations(store).list(&Scenes::EVERY).await.map_err(failed)?;
    if json {
        let rows: Vec<Value> = policies.iter().map(policy).collect::<Result<_, _>>()?;
        say(Value::Array(rows));
        return Ok(());
    }
    let now = Clock::system().now();
    let mut table = Table::new(["DIGEST", "NAME", "IN USE", "ADDED"]);
    for Listed { policy, uses } in policies {
        let uses: Vec<String> = uses
            .iter()
            .map(|(kind, scene)| match scene.as_str() {
                "" => kind.as_str().to_owned(),
                scene => format!("{} for {scene}", kind.as_str()),
            })
            .collect();
        table.add([
            short_digest(&policy.digest).to_owned(),
            policy.name,
            uses.join(", "),
            relative(policy.added_at, now),
        ]);
    }
    say_table(table, "there is no policy");
    Ok(())
}

fn policy(Listed { policy, uses }: &Listed) -> anyhow::Result<Value> {
    let scenes = |wanted: Use| -> Vec<&str> {
        let uses = uses.iter().filter(|(kind, _)| *kind == wanted);
        uses.map(|(_, scene)| if scene.is_empty() { "*" } else { scene }).collect()
    };
    Ok(json!({
        "digest": policy.digest, "name": policy.name, "added_at": policy.added_at.format(&Rfc3339)?,
        "active_for": scenes(Use::Active), "shadow_for": scenes(Use::Shadow),
    }))
}

pub(super) async fn history(store: &Store, json: bool) -> anyhow::Result<()> {
    let changes = operations(store).activations(&Scenes::EVERY).await.map_err(failed)?;
    if json {
        let rows: Vec<Value> = changes.iter().map(activation).collect::<Result<_, _>>()?;
        say(Value::Array(rows));
        return Ok(());
    }
    let now = Clock::system().now();
    let mut table = Table::new(["WHEN", "USE", "SCENE", "DIGEST", "BY", "PURPOSE"]);
    for change in changes {
        let scene = Some(change.biz_type).filter(|scene| !scene.is_empty());
        table.add([
            relative(change.activated_at, now),
            change.kind,
            scene.unwrap_or_else(|| "all scenes".to_owned()),
            change.digest.as_deref().map_or("none", short_digest).to_owned(),
            change.activated_by,
            change.purpose.unwrap_or_default(),
        ]);
    }
    say_table(table, "no policy was ever active");
    Ok(())
}

fn activation(change: &Activation) -> anyhow::Result<Value> {
    let scene = Some(&change.biz_type).filter(|scene| !scene.is_empty());
    Ok(json!({
        "kind": change.kind, "biz_type": scene, "digest": change.digest,
        "activated_at": change.activated_at.format(&Rfc3339)?,
        "activated_by": change.activated_by, "purpose": change.purpose,
    }))
}

pub(super) async fn compare(store: &Store, digest: &str, json: bool) -> anyhow::Result<()> {
    let digest = whole_digest(store, digest).await?;
    let compared = operations(store).compare_shadow(&digest, &Scenes::EVERY).await;
    let ShadowComparison { decisions, agree, counts } = compared.map_err(failed)?;
    if json {
        let outcomes: Vec<Value> = counts
            .iter()
            .map(|of| {
                json!({ "active": of.active_outcome, "shadow": of.outcome, "count": of.count })
            })
            .collect();
        say(json!({ "policy": digest, "decisions": decisions, "agree": agree,
            "outcomes": outcomes }));
        return Ok(());
    }
    let mut table = Table::new(["ACTIVE", "SHADOW", "DECISIONS", ""]);
    for of in counts {
        let mark = if of.active_outcome == of.outcome { "" } else { "differs" };
        table.add([of.active_outcome, of.outcome, of.count.to_string(), mark.to_owned()]);
    }
    say_table(table, "nothing was decided by it beside the active policy yet");
    Ok(())
}

pub(super) fn changes(changes: &[ChangedLine], json: bool) {
    if json {
        let rows: Vec<Value> = changes
            .iter()
            .map(|change| {
                let kind = if change.added { "added" } else { "removed" };
                json!({ "change": kind, "line": change.line, "text": change.text })
            })
            .collect();
        say(Value::Array(rows));
        return;
    }
    for change in changes {
        let mark = if change.added { '+' } else { '-' };
        say(format_args!("{:>5} {mark} {}", change.line, change.text));
    }
}
