//! The simulated provider of one process.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::http;
use super::sim::{Fate, Kind, Sim};

/// Serves until the runtime ends.
pub async fn start(sim: &Arc<Sim>, caller: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sim, caller) = (Arc::clone(sim), caller.to_owned());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            sim.moved();
            let (sim, caller) = (Arc::clone(&sim), caller.clone());
            tokio::spawn(async move {
                let (_, body) = http::request(&mut stream).await?;
                let what = format!("asks the provider about {}", biz_id(&body));
                let (_, fate) = sim.stop(&caller, &what, Kind::Call).await;
                let body = match fate {
                    Fate::Status(status) => format!(
                        r#"{{"RequestId":"simulated","VerifyStatus":{status},
                            "AuthorityComparisionScore":97.0,"FaceComparisonScore":98.0}}"#
                    ),
                    _ => r#"{"RequestId":"simulated","Code":"InternalError","Message":"-"}"#.into(),
                };
                let answer = match fate {
                    Fate::Lose | Fate::LoseAnswer => None,
                    Fate::Refuse => Some((503, body.as_str())),
                    _ => Some((200, body.as_str())),
                };
                http::end(&sim, stream, answer).await
            });
        }
    });
    address
}

/// Of the form in this body.
fn biz_id(body: &[u8]) -> String {
    let form = String::from_utf8_lossy(body);
    let id = form.split('&').find_map(|pair| pair.strip_prefix("BizId="));
    id.unwrap_or("nobody").to_owned()
}
