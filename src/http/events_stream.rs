//! The event log as server-sent events: `id` is the sequence, `event` the type, `data` the body.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::api::Api;
use super::api_key_auth::Scope;
use super::event_reader::{EventReader, Item};
use super::event_watch::Follower;
use super::held::hold;
use super::long_polls::Permit;
use super::problem::Problem;
use crate::webhooks::request::EPOCH_HEADER;

/// How often a comment is sent while there are no events, so that proxies keep the connection.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Events read at once. A slow reader holds this many in memory.
const PAGE: i64 = 100;
/// A wait ends after this long, and the next one begins.
const MAX_WAIT: Duration = Duration::from_mins(1);
static EPOCH: HeaderName = HeaderName::from_static(EPOCH_HEADER);

/// A stream that runs until its client disconnects, its key ends, or the process stops.
struct EventStream {
    api: Api,
    headers: HeaderMap,
    reader: EventReader,
    follower: Follower,
    ready: VecDeque<Item>,
    _permit: Permit,
}

/// Reads the first events before it answers, so that a position that is no longer kept is refused.
pub(super) async fn open(
    api: &Api,
    headers: HeaderMap,
    mut reader: EventReader,
    permit: Permit,
) -> Result<Response, Problem> {
    let follower = api.event_watch.follow();
    let ready = reader.read(PAGE).await?.into();
    let epoch = HeaderValue::from_str(&reader.epoch().to_string());
    let stream =
        EventStream { api: api.clone(), headers, reader, follower, ready, _permit: permit };
    let events = stream::unfold(stream, |mut stream| async move {
        let item = stream.next().await?;
        Some((Ok::<_, Infallible>(event(item)), stream))
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_EVERY));
    let mut response = sse.into_response();
    response.headers_mut().insert(EPOCH.clone(), epoch.map_err(|_| Problem::internal())?);
    Ok(response)
}

impl EventStream {
    /// `None`: the stream ends. The client resumes it with the last sequence that it received.
    async fn next(&mut self) -> Option<Item> {
        loop {
            if self.api.stop.is_cancelled() {
                return None;
            }
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            let (reader, follower) = (&mut self.reader, &mut self.follower);
            let more = async {
                if reader.is_at_end() {
                    reader.wait(follower, PAGE).await
                } else {
                    reader.read(PAGE).await
                }
            };
            match hold(&self.api, &self.headers, Scope::EventsRead, MAX_WAIT, more).await {
                Ok(Some(Ok(items))) => self.ready.extend(items),
                Ok(None) => {}
                Ok(Some(Err(_))) | Err(_) => return None,
            }
        }
    }
}

fn event(item: Item) -> Event {
    Event::default().id(item.sequence.to_string()).event(item.kind.as_str()).data(item.body)
}
