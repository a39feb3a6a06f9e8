//! The bodies of the answers of face-verify, except those of a search.

use time::OffsetDateTime;

use super::product::Product;
use super::script::{Finding, Form, Member, Score, Script};
use crate::document::Node;
use crate::identity::{Identity, Links, card_end};
use crate::scenario::{FAIL_SCORE, PASS_SCORE};

type Members = Vec<(&'static str, Node)>;

/// The customer's own bucket, which does not exist.
const BUCKET: &str = "cn-shanghai-aliyun-cloudauth-0000000000000000";
const FOLDER: &str = "verify/0000000000000000";

/// Whose verification it is, and what was asked for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The scheme.
    pub product: Product,
    /// `CertName`, if it was handed in and is readable.
    pub name: Option<String>,
    /// `CertNo`, likewise.
    pub number: Option<String>,
    /// `FaceGuardOutput=DeviceRisk`.
    pub device_risk: bool,
    /// `RarelyCharacters=Y`.
    pub user_info: bool,
    /// `VideoEvidence=true`.
    pub video: bool,
    /// Seed of the invented person.
    pub seed: String,
}

impl Subject {
    /// Of a `CertifyId` that was made elsewhere.
    pub fn elsewhere(certify_id: &str) -> Self {
        Self {
            product: Product::IdPro,
            name: None,
            number: None,
            device_risk: false,
            user_info: false,
            video: false,
            seed: certify_id.to_owned(),
        }
    }

    fn identity(&self, script: &Script) -> Identity {
        let invented = Identity::of(script.material.identity.as_deref().unwrap_or(&self.seed));
        Identity {
            name: self.name.clone().unwrap_or(invented.name),
            number: self.number.clone().unwrap_or(invented.number),
            ..invented
        }
    }
}

/// The vendor's text for a body code.
pub fn message(code: u32) -> &'static str {
    match code {
        200 => "success",
        400 => "参数不能为空",
        401 => "参数非法",
        402 => "应用配置不存在",
        403 => "认证未完成",
        404 => "认证场景配置不存在",
        405 => "您的年龄未满14周岁，不允许使用此产品",
        406 => "无效的certifyId",
        410 => "未开通服务",
        411 => "RAM无权限",
        412 => "欠费中",
        417 => "无法使用刷脸服务",
        418 => "当日验证失败次数过多，请次日再试",
        419 => "传入图片不可用",
        424 => "身份认证记录不存在",
        500 => "系统错误",
        _ => "Z5128",
    }
}

/// `Code`, `Message`, `RequestId`, and what belongs to them.
pub fn body(code: u32, numbers: bool, request_id: &str, result: Option<Node>) -> Node {
    let mut members = vec![
        ("Code", code_node(code, numbers)),
        ("Message", Node::from(message(code))),
        ("RequestId", Node::from(request_id)),
    ];
    members.extend(result.map(|result| ("ResultObject", result)));
    Node::Object(members)
}

fn code_node(code: u32, as_number: bool) -> Node {
    if as_number { Node::Whole(i64::from(code)) } else { Node::from(code.to_string()) }
}

/// `ResultObject` of `InitFaceVerify`.
pub fn started(certify_id: &str, certify_url: Option<String>) -> Node {
    let mut members = vec![("CertifyId", Node::from(certify_id))];
    members.extend(certify_url.map(|url| ("CertifyUrl", Node::from(url))));
    Node::Object(members)
}

/// `ResultObject` of `DeleteFaceVerifyResult`.
pub fn deleted(certify_id: &str, fail_reason: Option<&str>) -> Node {
    let result = if fail_reason.is_none() { "Y" } else { "N" };
    let mut members =
        vec![("CertifyId", Node::from(certify_id)), ("DeleteResult", Node::from(result))];
    members.extend(fail_reason.map(|reason| ("FailReason", Node::from(reason))));
    Node::Object(members)
}

/// One result to be written.
pub struct Described<'a> {
    /// What was found.
    pub finding: &'a Finding,
    /// How it is written.
    pub script: &'a Script,
    /// About whom.
    pub subject: &'a Subject,
    /// `CertifyId`.
    pub certify_id: &'a str,
    /// Links to the pictures, if the scene keeps them.
    pub links: Option<&'a Links>,
    /// The provider's time.
    pub now: OffsetDateTime,
}

impl Described<'_> {
    /// `ResultObject` of `DescribeFaceVerify`.
    pub fn node(&self) -> Node {
        let (shape, material) = (&self.script.shape, &self.script.material);
        let mut members = Members::new();
        match shape.passed {
            Member::Right => members.push(("Passed", self.flag(self.finding.passed))),
            Member::Odd => members.push(("Passed", Node::from("maybe"))),
            Member::Missing => {}
        }
        match shape.sub_code {
            Member::Right => {
                members.push(("SubCode", code_node(self.finding.sub_code, shape.numbers)));
            }
            Member::Odd => members.push(("SubCode", Node::from("2 hundred"))),
            Member::Missing => {}
        }
        members
            .extend(inside(self.material_form(), || self.material()).map(|n| ("MaterialInfo", n)));
        if self.compared() {
            let odd = Node::Object(vec![("certName", Node::from(self.identity().name))]);
            let usual = Node::from("null");
            members.push(("IdentityInfo", if shape.identity_info { odd } else { usual }));
        }
        let empty = self.subject.device_risk || material.full;
        let token = if self.finding.passed { "EXAMPLE-device-token" } else { "" };
        members.push(("DeviceToken", Node::from(token)));
        if let Some(risk) = material.risk.or(empty.then_some("")) {
            members.push(("DeviceRisk", Node::from(risk)));
        }
        if material.full || shape.numbers {
            let text = Node::from("True");
            members.push(("Success", if shape.numbers { Node::Flag(true) } else { text }));
        }
        let form = shape.user_info.or(self.subject.user_info.then_some(Form::Text));
        match form {
            Some(form) => members.extend(inside(form, || self.user()).map(|n| ("UserInfo", n))),
            None if material.full => members.push(("UserInfo", Node::from(""))),
            None => {}
        }
        if shape.degrade {
            members.push(("DegradeInfo", Node::from(r#"{"degradeType":"video","result":"T"}"#)));
        }
        if shape.extra {
            members.push(("NewField", Node::Object(vec![("x", Node::Whole(1))])));
        }
        Node::Object(members)
    }

    /// A live face was compared or at least seen.
    fn compared(&self) -> bool {
        !matches!(self.finding.sub_code, 201 | 202 | 209)
    }

    fn material_form(&self) -> Form {
        let scripted = self.script.shape.material;
        if scripted != Form::Text {
            return scripted;
        }
        match self.finding.sub_code {
            203 => Form::Empty,
            _ if self.compared() => Form::Text,
            _ => Form::Missing,
        }
    }

    fn material(&self) -> Node {
        let (material, sub_code) = (&self.script.material, self.finding.sub_code);
        let mut members = Members::new();
        if material.full {
            members.push(("faceAge", self.number(31.0)));
            members.push(("faceGender", Node::from("F")));
        }
        if material.full || material.guard.is_some() {
            members.push(("guardRiskScore", self.number(material.guard.unwrap_or(3.5))));
        }
        members.push(("faceAttack", self.flag(material.face_attack || sub_code == 205)));
        if !material.minimal || material.occluded {
            members.push(("faceOcclusion", self.flag(material.occluded)));
        }
        members.push(("facialPictureFront", Node::Object(self.face())));
        if self.product() == Product::IdPlus {
            if !material.no_card {
                members.push(("ocrIdCardInfo", self.card()));
            }
            if let Some(links) = self.links {
                members.push(("ocrPictureFront", self.card_pictures(links)));
            }
        }
        Node::Object(members)
    }

    fn face(&self) -> Members {
        let (material, sub_code) = (&self.script.material, self.finding.sub_code);
        let mut members = Members::new();
        if !material.minimal || material.attack.is_some() {
            let usual = if sub_code == 205 { 0.97 } else { 0.0001 };
            members.push(("faceAttackScore", self.number(material.attack.unwrap_or(usual))));
        }
        if self.product() == Product::IdPlus || material.card_score.is_some() {
            let usual = if sub_code == 207 { 31.0 } else { 90.25 };
            members.push(("idCardVerifyScore", self.number(material.card_score.unwrap_or(usual))));
        }
        members
            .push(("qualityScore", self.number(material.quality.unwrap_or(88.361_549_377_441_4))));
        if material.full {
            for name in ["qualityBackground", "qualityBlur", "qualityIllu", "qualityOccu"] {
                members.push((name, Node::from("0")));
            }
        }
        if material.full || material.wear_hat {
            members.push(("qualityWearHat", self.flag(material.wear_hat)));
        }
        members.extend(self.verify_score().map(|score| ("verifyScore", score)));
        if let Some(links) = self.links {
            members.push(("pictureUrl", Node::from(links.face.as_str())));
            members.push(("ossBucketName", Node::from(BUCKET)));
            members.push(("ossObjectName", self.object("0.jpeg")));
            if material.video || self.subject.video {
                members.push(("verifyVideoUrl", Node::from(links.video.as_str())));
                members.push(("ossVerifyVideoObjectName", self.object("verifyvideo.mp4")));
            }
        }
        members
    }

    fn verify_score(&self) -> Option<Node> {
        let usual = match self.finding.sub_code {
            204 => FAIL_SCORE,
            205..=207 => 87.0,
            _ => PASS_SCORE,
        };
        if let Some(score) = self.finding.score {
            return Some(self.number(score));
        }
        match self.script.material.score {
            Score::Usual => self.product().compares().then(|| self.number(usual)),
            Score::Given(score) => Some(self.number(score)),
            Score::Bad => Some(Node::from("n/a")),
            Score::None => None,
        }
    }

    fn card(&self) -> Node {
        let (material, identity) = (&self.script.material, self.identity());
        let other = |text: &str| format!("{}X", text.get(..17).unwrap_or_default());
        let name =
            if material.name_differs { format!("{}异", identity.name) } else { identity.name };
        let number =
            if material.number_differs { other(&identity.number) } else { identity.number };
        let end = card_end(material.card_end, self.now);
        let birth = number.get(6..14).unwrap_or("19000101");
        let birth = material.birth.as_deref().unwrap_or(birth).to_owned();
        Node::Object(vec![
            ("certName", Node::from(name)),
            ("sex", Node::from("女")),
            ("nationality", Node::from("汉")),
            ("birth", Node::from(birth)),
            ("address", Node::from(format!("某省某市某路{}号", identity.street_number))),
            ("certNo", Node::from(number)),
            ("authority", Node::from("某市公安局")),
            ("startDate", Node::from("20201101")),
            ("endDate", Node::from(end)),
        ])
    }

    fn card_pictures(&self, links: &Links) -> Node {
        Node::Object(vec![
            ("ossBucketName", Node::from(BUCKET)),
            ("ossIdFaceObjectName", self.object("idface.jpeg")),
            ("ossIdFaceUrl", Node::from(links.front.as_str())),
            ("ossIdNationalEmblemObjectName", self.object("idback.jpeg")),
            ("ossIdNationalEmblemUrl", Node::from(links.back.as_str())),
        ])
    }

    fn user(&self) -> Node {
        let identity = self.identity();
        Node::Object(vec![
            ("number", Node::from(identity.number)),
            ("name", Node::from(identity.name.as_str())),
            ("verifyName", Node::from(identity.name)),
        ])
    }

    fn identity(&self) -> Identity {
        self.subject.identity(self.script)
    }

    fn product(&self) -> Product {
        self.script.material.product.unwrap_or(self.subject.product)
    }

    fn object(&self, name: &str) -> Node {
        Node::from(format!("{FOLDER}/{}_{name}", self.certify_id))
    }

    fn number(&self, number: f64) -> Node {
        let as_text = self.script.shape.strings;
        if as_text { Node::from(number.to_string()) } else { Node::Number(number) }
    }

    fn flag(&self, flag: bool) -> Node {
        if self.script.shape.booleans {
            return Node::Flag(flag);
        }
        Node::from(if flag { "T" } else { "F" })
    }
}

/// Writes JSON inside a member; `None`: no member.
fn inside(form: Form, node: impl Fn() -> Node) -> Option<Node> {
    let text = || node().to_json();
    Some(match form {
        Form::Text => Node::from(text()),
        Form::Object => node(),
        Form::Null => Node::Null,
        Form::NullText => Node::from("null"),
        Form::Empty => Node::from(""),
        Form::Missing => return None,
        Form::Cut => {
            let text = text();
            Node::from(text.chars().take(text.chars().count() * 2 / 3).collect::<String>())
        }
        Form::Garbage => Node::from("com.example.MaterialInfo@1f2e3d"),
    })
}
