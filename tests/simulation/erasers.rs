//! Erasures of persons while callbacks, calls and deliveries about them are under way.

use std::sync::Arc;
use std::time::Duration;

use verdict::domain::clock::Clock;
use verdict::domain::ids::VerificationId;
use verdict::store::audit::AuditContext;
use verdict::store::erasure::Erased;

use super::senders::Senders;
use super::sim::{Fate, Kind, Sim};

/// The pause before an erasure is repeated.
const PAUSE: Duration = Duration::from_millis(400);

/// Ends when the person of this verification is erased, by whichever intake answers.
pub async fn erase(senders: Arc<Senders>, sim: Arc<Sim>, clock: Clock, biz_id: String) {
    let what = format!("erases {biz_id}");
    loop {
        let (_, fate) = sim.stop("eraser", &what, Kind::Post).await;
        let acknowledged = senders.acknowledged();
        let known = acknowledged.into_iter().find(|(message, _)| message.biz_id == biz_id);
        let intake = senders.intake(fate);
        let Some(((_, id), intake)) = known.zip(intake) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        senders.begin_erasure(&biz_id);
        let id = VerificationId(id.parse().expect("an id"));
        let context = AuditContext { actor: "service".to_owned(), purpose: None, at: clock.now() };
        match intake.store.erasures().erase(id, &context).await {
            Ok(Erased::Done(_)) if fate != Fate::LoseAnswer => {
                senders.erased(id.to_string());
                return;
            }
            Ok(Erased::OnHold | Erased::NotFound) => {
                senders.note_broken(format!("{biz_id} could not be erased"));
                return;
            }
            Ok(Erased::Done(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
