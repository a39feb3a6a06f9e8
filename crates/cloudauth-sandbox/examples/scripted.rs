//! Starts the simulated provider and asks it about verifications whose ids script the answers:
//!
//! `cargo run -p cloudauth-sandbox --example scripted -- pass-88.5 status-7 throttled-1-then-pass`

#![expect(clippy::print_stdout, reason = "an example prints what it learns")]

use cloudauth::client::{Client, Settings};
use cloudauth::credentials::{self, Chain, Environment};
use cloudauth_sandbox::Sandbox;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?).parse()?;
    let sandbox = Sandbox::new(cloudauth_sandbox::Settings::new("key", "secret".into()));
    tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));

    let environment = Environment::from_iter([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "key"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret"),
    ]);
    let chain = Chain::new(credentials::Settings::default(), environment)?;
    let client = Client::new(Settings::new(endpoint), chain)?;
    for id in std::env::args().skip(1) {
        // Asks twice, as a script may give another answer the second time.
        for _ in 0..2 {
            match client.describe_verify_result("demo", &id).await?.reading.outcome {
                Ok(result) => println!("{id}: status {}", result.verify_status),
                Err(error) => println!("{id}: {error}"),
            }
        }
        println!("{id}: asked {} times", sandbox.queries(&id));
    }
    Ok(())
}
