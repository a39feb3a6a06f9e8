//! The product face-verify, asked over real HTTP by hand-signed requests.

mod describing;
mod starting;
mod submitting;

use serde_json::Value;

use crate::room::{Answer, Params, Room};

macro_rules! sample {
    ($name:literal) => {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            "../../../tests/fixtures/face_verify/",
            $name,
            ".json"
        )))
        .expect("a sample")
    };
}
use sample;

impl Answer {
    /// `Code`, as text or number.
    fn body_code(&self) -> Value {
        self.json()["Code"].clone()
    }

    fn result(&self) -> Value {
        self.json()["ResultObject"].clone()
    }

    /// `MaterialInfo`, decoded once more.
    fn material(&self) -> Value {
        let text = self.result()["MaterialInfo"].as_str().unwrap_or_default().to_owned();
        serde_json::from_str(&text).expect("JSON inside")
    }

    /// `Passed` with `SubCode`, or the body code.
    fn verdict(&self) -> String {
        let result = self.result();
        let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        if result.is_object() {
            return format!("{}{}", text("Passed"), text("SubCode"));
        }
        self.body_code().as_str().unwrap_or_default().to_owned()
    }
}

/// Parameters of a start that is right, for the app.
fn start(room: &Room, order_number: &str) -> Params {
    room.face(
        "InitFaceVerify",
        &[
            ("OuterOrderNo", order_number),
            ("ProductCode", "ID_PRO"),
            ("CertType", "IDENTITY_CARD"),
            ("CertName", "示例·测试"),
            ("CertNo", "000000190001010000"),
            ("MetaInfo", r#"{"deviceType":"h5","ua":"Any (test)"}"#),
        ],
    )
}

async fn certify_id(room: &Room, params: Params) -> String {
    let started = room.send_v2("FORM", params).await;
    started.result()["CertifyId"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", started.text()))
        .to_owned()
}
