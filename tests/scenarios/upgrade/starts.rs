//! Verifications of face-verify: those that the previous version has started, and new ones, because an
//! older version never met the product.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::caller::{Answers, Caller, path_of};
use super::previous::{Made, Previous};
use super::states;

/// The scene of the provider's page.
const PAGE: &str = "1000000006";
const OPEN: &str = "pass97uopen";
const SETTLED: [&str; 2] = ["pass97udecided", "pass97uerased"];
const REFUSED: &str = "init417urefused";

const STATES: [&str; 4] = ["start open", "start decided", "start erased", "start refused"];

#[derive(Default)]
pub struct Starts {
    answers: Option<Answers>,
    certify_id: Value,
}

impl Starts {
    pub async fn begin(caller: Caller<'_>, previous: &Previous, made: &mut Made) -> Self {
        // It came together with starts.
        if !made.can(previous.api_has("/v1/provider-callbacks/"), &STATES) {
            return Self::default();
        }
        let certify_id = start(caller, OPEN, 201).await["certify_id"].clone();
        // The open one is polled a minute later.
        let mut paths = vec![format!("/v1/verifications?biz_type={PAGE}&biz_id={REFUSED}")];
        start(caller, REFUSED, 422).await;
        for order_number in SETTLED {
            let path = path_of(&start_and_decide(caller, order_number, "approve").await);
            if order_number.ends_with("erased") {
                caller.must(("DELETE", &format!("{path}/material")), "", 202).await;
            }
            paths.extend(["", "/decisions", "/results"].map(|part| format!("{path}{part}")));
        }
        made.add(&STATES);
        Self { answers: Some(Answers::of(caller, paths).await), certify_id }
    }

    pub async fn read_as_before(&self, caller: Caller<'_>, exactly: bool) {
        if let Some(answers) = &self.answers {
            answers.are_those_of(caller, exactly).await;
        }
    }

    /// The open one is not started again, and is decided. The product is served as if it had always been.
    pub async fn go_on(&self, caller: Caller<'_>, pool: &PgPool) {
        if self.answers.is_some() {
            assert_eq!(start(caller, OPEN, 200).await["certify_id"], self.certify_id);
            reported(caller, OPEN).await;
            caller.comes_to((PAGE, OPEN), "decided", Some("approve")).await;
            start(caller, REFUSED, 422).await;
        }
        // The active policy of an older version decides the other product only.
        let outcomes = if self.answers.is_some() { ["approve", "reject"] } else { ["review"; 2] };
        for (certify_id, outcome) in ["fv-pass97-new", "fv-204-new"].into_iter().zip(outcomes) {
            let body =
                json!({ "product": "face-verify", "biz_type": PAGE, "certify_id": certify_id });
            assert_eq!(caller.reports(&body).await, 202);
            caller.comes_to((PAGE, certify_id), "decided", Some(outcome)).await;
        }
        let decided = start_and_decide(caller, "pass97new", outcomes[0]).await;
        caller.must(("DELETE", &format!("{}/material", path_of(&decided))), "", 202).await;
        // The pair of the other product stays its own.
        let other = states::pair("expired");
        let other = json!({ "product": "face-verify", "biz_type": other.0, "biz_id": other.1 });
        assert_eq!(caller.reports(&other).await, 409);
        let products =
            "select string_agg(distinct product, ' ' order by product) from verifications";
        let products: String = sqlx::query_scalar(products).fetch_one(pool).await.unwrap();
        assert_eq!(products, "face-verify verify-result");
    }
}

async fn start_and_decide(caller: Caller<'_>, order_number: &str, outcome: &str) -> Value {
    let started = start(caller, order_number, 201).await;
    let again = start(caller, order_number, 200).await;
    assert_eq!(again["certify_id"], started["certify_id"]);
    reported(caller, order_number).await;
    caller.comes_to((PAGE, order_number), "decided", Some(outcome)).await
}

async fn start(caller: Caller<'_>, order_number: &str, status: u16) -> Value {
    let body = json!({
        "product": "face-verify", "biz_type": PAGE, "biz_id": order_number,
        "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD", "cert_name": "Somebody",
        "cert_no": "11010519491231002X", "meta_info": { "deviceType": "ios" }
    });
    caller.must(("POST", "/v1/verifications"), body.to_string(), status).await
}

async fn reported(caller: Caller<'_>, order_number: &str) {
    let body = json!({ "product": "face-verify", "biz_type": PAGE, "biz_id": order_number });
    assert_eq!(caller.reports(&body).await, 202, "{order_number}");
}
