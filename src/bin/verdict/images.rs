//! `verdict images`: whether the object store holds what the database says.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use verdict::app;
use verdict::domain::counted::counted;
use verdict::images::archive::ImageId;
use verdict::persons::image_check::{Difference, ImageCheck};

use crate::context::{Context, required_purpose};
use crate::output::{say, say_done};

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
    },
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let Command::Check { fix, purpose } = command;
    let audit = Context::doing(purpose.as_deref().map(required_purpose).transpose()?);
    let archive = app::archive(&context.config()?)?.context("no images are kept: images.mode")?;
    let store = context.store().await?;
    let check = ImageCheck { store: &store, archive: &archive, fix: fix.then_some(&audit) };
    let (mut rows, mut objects, mut others) = (0, 0, 0);
    let mut details = Vec::new();
    check
        .run(|difference| match difference {
            Difference::RowWithoutObject(image) => {
                rows += 1;
                details.push(format!("image without an object: {}", named(&image)));
            }
            Difference::ObjectWithoutRow(image) => {
                objects += 1;
                details.push(format!("object without an image: {}", named(&image)));
            }
            Difference::NotOurs => others += 1,
        })
        .await?;
    for detail in details {
        say(detail);
    }
    if others > 0 {
        say(format_args!("{} of others: left as they are", counted(others, "object", "objects")));
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
        say_done(format_args!("{images} marked as lost, {objects_counted} deleted"));
    } else if rows + objects > 0 {
        bail!("{images} without an object, {objects_counted} without an image: see --fix");
    } else {
        say("the object store holds what the database says");
    }
    Ok(ExitCode::SUCCESS)
}

fn named(ImageId { verification, result, kind }: &ImageId) -> String {
    format!("verification {verification}, result {result}, {kind}")
}
