//! The personal data of a verification, as a page shows it after a reveal with a purpose.

use serde_json::Value;

use crate::console::texts::{Phrase, Texts};

/// How long it is shown.
pub const SHOWN_FOR: std::time::Duration = std::time::Duration::from_mins(1);

/// The stored values by name, without empty ones.
pub fn rows(person: &Value, t: &'static Texts) -> Vec<(Phrase, String)> {
    let facts = &t.facts;
    let members = [
        ("/name", facts.name),
        ("/number", facts.number),
        ("/user_info/name", facts.typed_name),
        ("/user_info/number", facts.typed_number),
        ("/user_info/verify_name", facts.compared_name),
        ("/id_card/name", facts.card_name),
        ("/id_card/number", facts.card_number),
        ("/id_card/sex", facts.sex),
        ("/id_card/nationality", facts.nationality),
        ("/id_card/birth/text", facts.birth),
        ("/id_card/address", facts.address),
        ("/id_card/authority", facts.authority),
        ("/id_card/start_date/text", facts.start_date),
        ("/id_card/end_date/text", facts.end_date),
        ("/device_token", facts.device),
    ];
    let shown = |(pointer, name): (&str, Phrase)| match person.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some((name, text.clone())),
        Value::Bool(flag) => Some((name, t.words.flag(*flag).to_string())),
        Value::Number(number) => Some((name, number.to_string())),
        _ => None,
    };
    members.into_iter().filter_map(shown).collect()
}

/// The names shown before a reveal: the same for every person, so that they tell nothing.
pub fn masked(t: &'static Texts) -> [Phrase; 4] {
    let facts = &t.facts;
    [facts.name, facts.number, facts.birth, facts.address]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::user::Language;

    #[test]
    fn only_what_is_there_is_shown() {
        let person = json!({
            "name": "张三", "number": null, "face_mask": false, "face_quality": "HIGH",
            "id_card": { "name": "", "birth": { "text": "1990-03-07", "date": "1990-03-07" } },
        });
        let rows: Vec<(&str, String)> = rows(&person, Texts::of(Language::En))
            .into_iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        let wanted = [("Name", "张三"), ("Date of birth", "1990-03-07")];
        assert_eq!(rows, wanted.map(|(name, value)| (name, value.to_owned())));
        assert!(super::rows(&json!([1]), Texts::of(Language::Zh)).is_empty());
    }
}
