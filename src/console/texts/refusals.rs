//! The texts of refused pages: what happened, and what to do.

texts! {
    pub struct Refusals {
        right: "You do not have the right to do this", "您没有执行此操作的权限";
        right_remedy: "It needs the right {scope}. A person with the right users:write can give it to you.", "需要权限 {scope}，可由人员管理员授予。";
        scene: "This is about a scene that you do not work on", "这属于您不负责的场景";
        scene_remedy: "A person with the right users:write can give you the scene.", "可由人员管理员为您添加该场景。";
        signed_out: "You are signed out", "您已退出登录";
        signed_out_remedy: "Nothing was changed. Sign in and do it again.", "未做任何更改。请登录后重试。";
        outdated: "This page belongs to an earlier session", "此页面属于之前的会话";
        outdated_remedy: "Nothing was changed. Open the page again and repeat what you did.", "未做任何更改。请重新打开页面再操作。";
        origin: "This did not come from a page of the console", "该请求并非来自控制台页面";
        origin_remedy: "Nothing was changed. Open the console at its own address and do it there.", "未做任何更改。请从控制台自己的地址打开并操作。";
        own_rights: "You cannot change your own rights", "任何人不能修改自己的权限";
        own_rights_remedy: "Another person with the right users:write has to do it.", "须由其他人员管理员操作。";
        invitation: "This invitation no longer works", "此邀请已失效";
        invitation_remedy: "It was used, replaced by a newer one, or is older than three days. Ask for a new one.", "它已被使用、被新邀请取代，或已超过三天。请索取新的邀请。";
        not_invited: "No user is bound to this identity", "没有与该身份绑定的用户";
        not_invited_remedy: "Ask a person with the right users:write for an invitation, and open it first.", "请向人员管理员索取邀请，并先打开邀请链接。";
        identity_taken: "Another user is bound to this identity", "该身份已与其他用户绑定";
        identity_taken_remedy: "Sign in at the identity provider as yourself, and open the invitation again.", "请在身份服务商处以本人账户登录，再打开邀请。";
        identity: "The identity provider did not sign you in", "身份服务商未能完成登录";
        identity_remedy: "Begin again at the sign-in page. If it persists, tell an operator: the log has the cause.", "请从登录页重新开始；若仍失败，请告知运维人员，日志中有原因。";
        identity_down: "The identity provider cannot be reached", "无法连接身份服务商";
        identity_down_remedy: "Try again in a moment, or sign in by password.", "请稍后重试，或使用密码登录。";
        not_found: "There is no such page", "没有此页面";
        not_found_remedy: "Check the address. It may also be about something that you may not see.", "请检查地址；也可能是您无权查看的内容。";
        changed: "The decision has changed meanwhile", "决定已在此期间发生变化";
        changed_remedy: "Nothing was changed. Look at the case again.", "未做任何更改。请重新查看该案件。";
        erased: "The person's data was erased", "此人的数据已被删除";
        erased_remedy: "Nothing more is shown or accepted.", "不再显示或接受任何内容。";
        no_material: "No personal data is stored here", "此处未保存个人信息";
        no_material_remedy: "No result of the provider contained any, or its retention has ended.", "服务商的结果中没有此类信息，或保存期限已过。";
        no_image: "This picture is not stored", "未保存该影像";
        no_image_remedy: "It was never archived, or its retention has ended.", "该影像从未归档，或保存期限已过。";
        nothing_to_review: "There is no decision yet", "尚无决定";
        nothing_to_review_remedy: "Wait until the provider has answered.", "请等待服务商返回结果。";
        invalid: "Something that you typed is not valid", "您填写的内容有误";
        invalid_remedy: "Nothing was changed. Go back, correct it and send it again.", "未做任何更改。请返回修改后重新提交。";
        purpose: "A purpose is missing", "缺少用途说明";
        purpose_remedy: "Go back and give the purpose; it goes on record.", "请返回填写原因，该原因将被记录。";
        too_large: "The input is too large", "内容过大";
        too_large_remedy: "Go back and send less.", "请返回并减少内容。";
        too_many: "Too many requests", "请求过多";
        too_many_remedy: "Wait a moment and try again.", "请稍候再试。";
        backtest: "Another backtest is running", "另一个回测正在运行";
        backtest_remedy: "Start this one when it is done.", "请待其完成后再开始。";
        nothing_to_change: "There is nothing to change", "没有可更改的内容";
        nothing_to_change_remedy: "Load the list again: another person may have been faster.", "请重新查看列表，可能已有他人操作。";
        policy: "The policy has errors", "策略中有错误";
        policy_remedy: "Correct them and add it again.", "请改正后重新添加。";
        method: "This address does not support that action", "该地址不支持此操作";
        method_remedy: "Go back and use the page.", "请返回并使用页面操作。";
        unavailable: "Temporarily unavailable", "暂时无法处理";
        unavailable_remedy: "Try again shortly. Nothing was lost.", "请稍后再试，未丢失任何内容。";
        internal: "Something went wrong on our side", "系统内部出错";
        internal_remedy: "Tell an operator the time: the log has more.", "请将发生时间告知运维人员，日志中有详情。";
        other: "This was refused", "操作被拒绝";
        other_remedy: "Go back and try again. If it persists, tell an operator the code below.", "请返回重新查看；若仍如此，请将下方代码告知运维人员。";
        code: "Code", "代码";
        home: "To the start page", "回到首页";
    }
}
