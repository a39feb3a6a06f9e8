//! Fetches the result of one face verification:
//!
//! `cargo run -p cloudauth --example face_result -- SCENE_ID CERTIFY_ID [--endpoint URL]`
//!
//! The key comes from the vendor's chain: `ALIBABA_CLOUD_ACCESS_KEY_ID` and `…_SECRET`, say.

#![expect(clippy::print_stdout, reason = "an example prints what it learns")]

use cloudauth::client::{Client, Settings};
use cloudauth::credentials::{self, Chain, Environment};
use cloudauth::face_verify::{Read, family};

const USAGE: &str = "usage: face_result SCENE_ID CERTIFY_ID [--endpoint URL]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (scene, certify_id, endpoint) = match arguments[..] {
        [scene, certify_id] => (scene, certify_id, "https://cloudauth.aliyuncs.com"),
        [scene, certify_id, "--endpoint", endpoint] => (scene, certify_id, endpoint),
        _ => return Err(USAGE.into()),
    };

    let chain = Chain::new(credentials::Settings::default(), Environment::of_process())?;
    let client = Client::new(Settings::new(endpoint.parse()?), chain)?;
    let answer = client.describe_face_verify(scene, certify_id).await?;
    match answer.reading.outcome? {
        Read::Unfinished { code } => println!("not finished ({code})"),
        Read::Refused { code } => println!("refused ({code})"),
        Read::Finished(verified) => {
            let code = verified.code.as_deref().unwrap_or("unreadable");
            println!("passed:  {:?}", verified.passed);
            println!("code:    {code} ({})", family(code));
            println!("scores:  {:?}", verified.scores);
            if !verified.malformed.is_empty() {
                println!("not to be approved: {}", verified.malformed.join(", "));
            }
        }
    }
    Ok(())
}
