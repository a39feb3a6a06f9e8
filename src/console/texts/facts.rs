//! The facts of a case, shown once the faces are judged.

texts! {
    /// Scores, reasons, evidence, card data, timeline.
    pub struct Facts {
        scores: "Scores", "比对分数";
        score: "Score", "分数";
        value: "Value", "数值";
        bound: "Bound", "阈值";
        no_bound: "no bound in this policy", "当前策略未设阈值";
        scores_hint: "Scores inform, they do not decide. The policy's bound is beside each.", "分数仅供参考，不等于结论；旁边是策略的阈值。";
        no_scores: "The provider gave no scores.", "服务商未返回分数。";
        reasons: "Why a person has to look", "转人工原因";
        rule: "Rule", "规则";
        observed: "Observed", "观察值";
        evidence: "Evidence", "证据";
        absent: "absent", "缺失";
        malformed: "Malformed: {fields}", "无法识别：{fields}";
        card: "Personal data", "个人信息";
        masked: "Hidden. The audit records your name and the purpose when you show it.", "已隐藏。查看将以您的姓名和用途留存记录。";
        reveal: "Show for 60 seconds", "显示 60 秒";
        purpose: "Purpose", "用途";
        choose_purpose: "Choose a purpose", "请选择用途";
        hidden_at: "Hidden again at {time}.", "将于 {time} 重新隐藏。";
        hide: "Hide now", "立即隐藏";
        no_right: "You may not see personal data.", "您没有查看个人信息的权限。";
        reasons_short: "Reasons", "原因";
        no_material: "There is no personal data for this case.", "此案件没有个人信息。";
        name: "Name", "姓名";
        number: "Identity number", "证件号码";
        card_name: "Name on the card", "证件上的姓名";
        card_number: "Number on the card", "证件上的号码";
        compared_name: "Name as compared", "比对所用姓名";
        nationality: "Ethnicity on the card", "民族";
        sex: "Sex", "性别";
        address: "Address", "住址";
        authority: "Issuing authority", "签发机关";
        birth: "Date of birth", "出生日期";
        start_date: "Valid from", "有效期自";
        end_date: "Valid until", "有效期至";
        typed_name: "Name as typed", "填写的姓名";
        typed_number: "Number as typed", "填写的证件号码";
        device: "Device token", "设备标识";
        face_quality: "Face quality", "人脸质量";
        face_mask: "Mask", "佩戴口罩";
        card_pictures: "Card pictures", "证件照片";
        card_front: "Portrait side", "人像面";
        card_back: "Emblem side", "国徽面";
        verification: "Verification", "核验记录";
        scene: "Scene", "场景";
        reference: "Reference", "业务编号";
        product: "Product", "产品";
        source: "Source", "来源";
        attempts: "Calls to the provider", "查询次数";
        decided: "Decided", "决策时间";
        timeline: "Timeline", "时间线";
        earlier: "Earlier verifications of this reference", "同一业务编号的历史核验";
        no_earlier: "There are none.", "没有历史核验。";
        no_reference: "The verification has no reference.", "此核验没有业务编号。";
        outcome: "Outcome", "结论";
        state: "State", "状态";
        began: "Began", "开始时间";
        shadow: "Shadow policy", "影子策略";
        shadow_says: "The policy in shadow would say: {outcome}.", "影子策略的结论为：{outcome}。";
        no_shadow: "No policy is in shadow here.", "当前没有影子策略。";
        reviews_before: "Reviews of earlier decisions", "此前的人工审核";
        callback: "Callback accepted from {source}", "已接收 {source} 的回调";
        answered: "Provider answered: {code}", "服务商返回：{code}";
        failed: "Provider call failed: {error}", "查询服务商失败：{error}";
        decided_by_policy: "Policy decided: {outcome} ({reasons})", "策略结论：{outcome}（{reasons}）";
        decided_by_person: "Person decided: {outcome} ({reasons})", "人工结论：{outcome}（{reasons}）";
        reviewed: "{who} reviewed: {outcome} ({reason})", "{who} 审核：{outcome}（{reason}）";
        delivered: "Event sent to endpoint {endpoint}", "已向端点 {endpoint} 推送事件";
        image: "Image {kind}: {state}", "图片 {kind}：{state}";
        recorded: "{action} by {actor}", "{actor} 执行 {action}";
    }
}
