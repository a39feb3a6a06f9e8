//! Describes the requests that Verdict posts to webhook endpoints: `webhooks` of OpenAPI 3.1.

use serde_json::{Map, Value, json};

use crate::domain::event::EventKind;

/// The schema of a test. The other bodies are those of the feed.
const TEST_SCHEMA: &str = include_str!("webhooks.json");

/// Adds the bodies and the requests.
pub(super) fn add(document: &mut Value) {
    // Cannot fail: a test compares them with bodies.
    let schemas: Map<String, Value> = serde_json::from_str(TEST_SCHEMA).unwrap_or_default();
    if let Some(known) = document["components"]["schemas"].as_object_mut() {
        known.extend(schemas);
    }
    let kinds = EventKind::ALL.iter().copied().map(Some).chain([None]);
    document["webhooks"] = kinds
        .map(|kind| (name(kind).to_owned(), json!({ "post": request(kind) })))
        .collect::<Map<_, _>>()
        .into();
}

/// `None`: a test, which is not an event of the log.
fn name(kind: Option<EventKind>) -> &'static str {
    kind.map_or("endpoint.test", EventKind::as_str)
}

fn schema(kind: Option<EventKind>) -> &'static str {
    match kind {
        Some(EventKind::Decided | EventKind::Failed | EventKind::Expired | EventKind::Erased) => {
            "VerificationEventBody"
        }
        Some(EventKind::PolicyActivated) => "PolicyEventBody",
        Some(EventKind::EndpointFailing | EventKind::EndpointDisabled) => "EndpointEventBody",
        None => "TestEvent",
    }
}

fn request(kind: Option<EventKind>) -> Value {
    let (name, schema) = (name(kind), schema(kind));
    json!({
        "operationId": format!("receive-{}", name.replace('.', "-")),
        "tags": ["webhooks"],
        "summary": summary(kind),
        "description": "Posted to every endpoint whose filters let it pass, until a status from 200 to 299 acknowledges it. The same event comes at least once: `webhook-id` is the same in every attempt. Signed as Standard Webhooks says.",
        "parameters": headers(),
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": { "allOf": [
                { "$ref": format!("#/components/schemas/{schema}") },
                { "properties": { "type": { "const": name } } },
            ] } } },
        },
        "responses": {
            "2XX": { "description": "Acknowledged. Answer before the work is done: an attempt ends after 20 seconds." },
            "410": { "description": "Disables the endpoint at once" },
            "default": { "description": "Not acknowledged: the event is sent again, later if `Retry-After` says so. Redirects are not followed." },
        },
    })
}

fn summary(kind: Option<EventKind>) -> &'static str {
    match kind {
        Some(EventKind::Decided) => "A verification has a new current decision",
        Some(EventKind::Failed) => "A verification became a dead letter; a refetch can revive it",
        Some(EventKind::Expired) => "A verification expired",
        Some(EventKind::Erased) => "The person of a verification was erased",
        Some(EventKind::PolicyActivated) => "Another policy decides from now on",
        Some(EventKind::EndpointFailing) => "Another endpoint has failed for a while",
        Some(EventKind::EndpointDisabled) => "Another endpoint was disabled",
        None => "A test of this endpoint was requested",
    }
}

fn headers() -> Value {
    let header = |name: &str, about: &str, schema: Value, example: &str| {
        json!({ "in": "header", "name": name, "required": true, "description": about,
            "schema": schema, "example": example })
    };
    let text = json!({ "type": "string" });
    json!([
        header(
            "webhook-id",
            "The id of the event, the same in every attempt",
            text.clone(),
            "evt_0193600000007000800000000000000a"
        ),
        header(
            "webhook-timestamp",
            "Seconds since 1970 at this attempt",
            text.clone(),
            "1764158400"
        ),
        header(
            "webhook-signature",
            "One or more signatures, separated by blanks: `v1,` or `v1a,` and base64, over `id.timestamp.body`",
            text.clone(),
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
        ),
        header(
            "Verdict-Acknowledged-Through",
            "This endpoint has acknowledged every event up to this sequence",
            text.clone(),
            "1041"
        ),
        header(
            "Verdict-Epoch",
            "Names the run of sequences. It changes only after a restore of the database, when sequences begin again at 1",
            json!({ "type": "string", "format": "uuid" }),
            "01936000-0000-7000-8000-000000000001"
        ),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::callback::{BizId, BizType};
    use crate::domain::event::{About, Event, EventId, OfVerification, test_body};
    use crate::domain::ids::VerificationId;
    use policy::product::Product;

    fn about(kind: EventKind) -> About {
        match kind {
            EventKind::PolicyActivated => {
                About::Policy { policy: None, biz_type: None, actor: "seed".to_owned() }
            }
            EventKind::EndpointFailing | EventKind::EndpointDisabled => {
                About::Endpoint { endpoint: Uuid::nil(), since: None, last_status: None }
            }
            _ => About::Verification(Box::new(OfVerification {
                product: Product::VerifyResult,
                id: VerificationId(Uuid::nil()),
                sequence: 1,
                biz_type: BizType::parse("a").unwrap(),
                biz_id: BizId::parse("b").unwrap(),
                reference: None,
                decision: None,
            })),
        }
    }

    fn body(kind: &str) -> Value {
        let (id, at) = (EventId(Uuid::nil()), datetime!(2026-11-26 12:00 UTC));
        let text = match EventKind::parse(kind) {
            None => test_body(id, at, Uuid::nil()),
            Some(kind) => {
                let (epoch, about) = (Uuid::nil(), about(kind));
                Event { number: 1, epoch, sequence: 1, id, kind, at, about }.body()
            }
        };
        serde_json::from_str(&text).unwrap()
    }

    fn names(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn schemas_have_the_members_of_the_bodies() {
        let document = crate::http::description();
        let webhooks = document["webhooks"].as_object().unwrap();
        assert_eq!(webhooks.len(), EventKind::ALL.len() + 1);
        for (kind, webhook) in webhooks {
            let schema = &webhook["post"]["requestBody"]["content"]["application/json"]["schema"];
            let reference = schema["allOf"][0]["$ref"].as_str().unwrap();
            let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
            let body = body(kind);
            assert_eq!(names(&schema["properties"]), names(&body), "{kind}");
            let data = &schema["properties"]["data"];
            let data = data["$ref"].as_str().map_or(data, |reference| {
                document.pointer(reference.trim_start_matches('#')).unwrap()
            });
            assert_eq!(names(&data["properties"]), names(&body["data"]), "{kind}");
        }
    }
}
