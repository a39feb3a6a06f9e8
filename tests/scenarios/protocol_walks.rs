//! Random walks through `crates/protocol-model`, each step done on real Postgres by the service's
//! own statements, and by its own window for deliveries. After each step the database must be as
//! the model says. So the properties that the model keeps in every state are about this protocol.
//!
//! A failure names its seed. `WALKS=500 SEED=1000 cargo test --locked --test scenarios
//! protocol_walks:: -- --nocapture` takes others.

mod compare;
mod gates;
mod replay;

use std::collections::BTreeMap;

use protocol_model::Model;
use protocol_model::walk::{LENGTH, SEEDS, SIZES, kind, walk};

use replay::Replay;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[expect(clippy::print_stdout, reason = "the table says what the walks did")]
#[tokio::test]
async fn every_walk_of_the_model_is_the_same_on_postgres() {
    let (first, walks) = (number("SEED", SEEDS.start), number("WALKS", SEEDS.end - SEEDS.start));
    let model = Model::new(SIZES);
    let mut replay = Replay::new().await;
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for seed in first..first + walks {
        replay.begin(&model).await;
        let mut before = SIZES.begin();
        for (place, (step, after)) in walk(&model, seed, LENGTH).into_iter().enumerate() {
            *done.entry(kind(step)).or_default() += 1;
            let at = format!("seed {seed}, step {place}, {step:?}");
            replay.step(step, &before, &after, &at).await;
            replay.compare(&after, &at).await;
            before = after;
        }
        replay.finish(&format!("seed {seed}")).await;
    }
    for (kind, times) in &done {
        println!("{times:6} {kind}");
    }
}
