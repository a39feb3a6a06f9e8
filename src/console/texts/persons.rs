//! Finding a person by the identity number, and all that is held.

texts! {
    /// `/persons`.
    pub struct Persons {
        title: "Persons", "当事人查询";
        intro: "Find all verifications of a person by the identity number. The number is hashed at once and never kept.", "通过证件号码查找当事人的全部核验记录。号码会立即被加密摘要，不会保存。";
        number: "Identity number", "证件号码";
        purpose: "Purpose", "用途";
        purpose_hint: "Goes to the audit and stays there: no name, no number.", "将永久保存在审计日志中，请勿填写姓名或证件号码。";
        find: "Find", "查找";
        bad_number: "Type one whole identity number: at least 8 letters and digits, none of them masked.", "请输入一个完整的证件号码：至少 8 位字母或数字，不能包含掩码字符。";
        bad_purpose: "Give a purpose of 1 to 200 visible characters.", "请填写 1 至 200 个字符的用途。";
        nothing: "Nothing is kept of this person, or only in scenes that you do not work on.", "没有该当事人的记录，或其所属场景不在您的权限范围内。";
        found: "{n} {n|verification|verifications} of this person", "该当事人共有 {n} 条核验记录";
        recorded: "The look-up is on record.", "本次查询已留存记录。";
        export: "Export all that is held", "导出全部资料";
        export_hint: "One JSON file: personal data opened, decisions with their reasons, reviews, callbacks, who read any of it. Images are listed. The complete form, with images and the provider's answers, is verdict person export.", "导出为一个 JSON 文件：已解密的个人信息、结论及原因、人工审核、回调以及查阅记录；图片仅列出清单。包含图片与服务商原始返回的完整版本请使用 verdict person export。";
        again: "Another person", "查询其他人";
        on_hold: "on hold", "法定保全";
    }
}
