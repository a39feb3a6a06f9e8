//! Fetches the result of one verification:
//!
//! `cargo run -p cloudauth --example result -- BIZ_TYPE BIZ_ID [--endpoint URL]`
//!
//! The key comes from the vendor's chain: `ALIBABA_CLOUD_ACCESS_KEY_ID` and `…_SECRET`, say.

#![expect(clippy::print_stdout, reason = "an example prints what it learns")]

use cloudauth::client::{Client, Settings};
use cloudauth::credentials::{self, Chain, Environment};

const USAGE: &str = "usage: result BIZ_TYPE BIZ_ID [--endpoint URL]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (biz_type, biz_id, endpoint) = match arguments[..] {
        [biz_type, biz_id] => (biz_type, biz_id, "https://cloudauth.aliyuncs.com"),
        [biz_type, biz_id, "--endpoint", endpoint] => (biz_type, biz_id, endpoint),
        _ => return Err(USAGE.into()),
    };

    let chain = Chain::new(credentials::Settings::default(), Environment::of_process())?;
    let client = Client::new(Settings::new(endpoint.parse()?), chain)?;
    let answer = client.describe_verify_result(biz_type, biz_id).await?;
    let result = answer.reading.outcome?;
    println!("status:  {}", result.verify_status);
    println!("scores:  {:?}", result.scores);
    if let Some(material) = result.material {
        // Whether they match, not what they are: the output of a program ends up in logs.
        println!("name:    {}", matches(material.name_matches()));
        println!("number:  {}", matches(material.number_matches()));
    }
    if !result.malformed.is_empty() {
        println!("nonsense in: {}", result.malformed.join(", "));
    }
    Ok(())
}

fn matches(matches: Option<bool>) -> &'static str {
    match matches {
        Some(true) => "matches the card",
        Some(false) => "differs from the card",
        None => "unknown",
    }
}
