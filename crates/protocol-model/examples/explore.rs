//! The long form of `tests/exhaustive.rs`: larger sizes, all of them or those that are named.

#![expect(clippy::print_stdout, reason = "a command")]

use std::process::ExitCode;
use std::time::Instant;

use protocol_model::Model;
use protocol_model::explore::{LONG, explore};

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut code = ExitCode::SUCCESS;
    for (name, sizes) in LONG {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let began = Instant::now();
        let explored = explore(&Model::new(sizes));
        let seconds = began.elapsed().as_secs();
        println!("{name}: {} states, depth {}, {seconds} s", explored.states, explored.depth);
        if let Some((property, steps)) = explored.broken {
            println!("{name} breaks {property}:");
            for step in steps {
                println!("    {step:?}");
            }
            code = ExitCode::FAILURE;
        }
    }
    code
}
