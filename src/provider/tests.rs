//! The cause of a fault, and the classes of refusals.

use cloudauth::wire;
use strum::VariantArray;

use super::*;
use crate::domain::callback::BY_CERTIFY_ID;

#[test]
fn every_class_of_error_keeps_its_name() {
    for class in [
        wire::ErrorClass::Throttled,
        wire::ErrorClass::Transient,
        wire::ErrorClass::Clock,
        wire::ErrorClass::Credentials,
        wire::ErrorClass::BadRequest,
        wire::ErrorClass::Gone,
        wire::ErrorClass::Unreadable,
    ] {
        assert_eq!(ErrorClass::from(class).as_str(), class.as_str());
    }
}

const KEY: Key<'_> = Key { biz_type: "b", biz_id: "1", certify_id: None };

#[tokio::test]
async fn closed_port_is_a_refused_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let credentials = credentials::Settings {
        fixed: Some(credentials::Fixed {
            access_key_id: "key".to_owned(),
            access_key_secret: credentials::Secret::Value("secret".into()),
            security_token: None,
        }),
        ..Default::default()
    };
    let environment = credentials::Environment::default();
    let (clock, ids) = (Clock::system(), Ids::random());
    let settings = client::Settings::new(endpoint);
    let provider = Provider::new(settings, credentials, environment, &clock, &ids).unwrap();
    for product in Product::VARIANTS {
        let cannot_ask = registry::serving(*product).ask(&provider.client, KEY).is_none();
        assert_eq!(cannot_ask, BY_CERTIFY_ID.contains(product), "{product}");
    }
    let asked = provider.ask(Product::VerifyResult, KEY).await;
    let Err(NoAnswer::Call(error)) = asked else { panic!("{asked:?}") };
    assert_eq!(cause_of(&error), Cause::Refused);
    assert_eq!(sentence(&error), "cannot connect to the provider: connection refused");
}
