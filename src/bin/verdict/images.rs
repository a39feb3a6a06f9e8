//! `verdict images`: whether the object store holds what the database says.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use verdict::app;
use verdict::domain::counted::counted;
use verdict::images::archive::ImageId;
use verdict::persons::image_check::{Difference, ImageCheck};

use crate::context::{Context, required_purpose};
use crate::output::{say, say_done};
use crate::progress::Progress;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List images in the database without an object in the store, and objects without an image in
    /// the database. Exit code 1 if there are any. Stop the workers first, so that both are of the same moment.
    #[command(after_help = "Example: verdict images check --fix --purpose 'restored a backup'")]
    Check {
        /// Mark images without an object as lost, and delete objects without an image.
        #[arg(long, requires = "purpose")]
        fix: bool,
        /// The purpose, for the audit.
        #[arg(long)]
        purpose: Option<String>,
        #[arg(
            long,
            help = r#"Print { "rows_without_object", "objects_without_row", "others", "fixed" }"#
        )]
        json: bool,
    },
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let Command::Check { fix, purpose, json } = command;
    let audit = Context::doing(purpose.as_deref().map(required_purpose).transpose()?);
    let archive = app::archive(&context.config()?)?.context("no images are kept: images.mode")?;
    let store = context.store().await?;
    let check = ImageCheck { store: &store, archive: &archive, fix: fix.then_some(&audit) };
    let (mut lost, mut orphans, mut others) = (Vec::new(), Vec::new(), 0);
    let mut progress = Progress::new("images compared", json);
    check
        .run(
            |difference| match difference {
                Difference::RowWithoutObject(image) => lost.push(image),
                Difference::ObjectWithoutRow(image) => orphans.push(image),
                Difference::NotOurs => others += 1,
            },
            |count| progress.at(count),
        )
        .await?;
    progress.clear();
    let (rows, objects) = (lost.len(), orphans.len());
    if json {
        say_done(serde_json::json!({
            "rows_without_object": lost.iter().map(as_json).collect::<Vec<_>>(),
            "objects_without_row": orphans.iter().map(as_json).collect::<Vec<_>>(),
            "others": others, "fixed": fix,
        }));
    } else {
        for image in &lost {
            say(format_args!("image without an object: {}", named(image)));
        }
        for image in &orphans {
            say(format_args!("object without an image: {}", named(image)));
        }
        if others > 0 {
            let others = counted(others, "object", "objects");
            say(format_args!("{others} of others: left as they are"));
        }
    }
    let images = counted(rows, "image", "images");
    let objects_counted = counted(objects, "object", "objects");
    if fix {
        store
            .audit()
            .record(
                &audit,
                "images.fixed",
                None,
                Some(&format!("{{\"lost\":{rows},\"deleted\":{objects}}}")),
            )
            .await?;
        if !json {
            say_done(format_args!("{images} marked as lost, {objects_counted} deleted"));
        }
    } else if rows + objects > 0 {
        bail!("{images} without an object, {objects_counted} without an image: see --fix");
    } else if !json {
        say("the object store holds what the database says");
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(ImageId { verification, result, kind }: &ImageId) -> serde_json::Value {
    serde_json::json!({ "verification_id": verification, "result_id": result,
        "kind": kind.to_string() })
}

fn named(ImageId { verification, result, kind }: &ImageId) -> String {
    format!("verification {verification}, result {result}, {kind}")
}
