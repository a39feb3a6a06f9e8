//! The people who may use the console.

texts! {
    pub struct Users {
        title: "People", "人员";
        caption: "Who may use this console", "可使用此控制台的人员";
        name: "Name", "用户名";
        rights: "Rights", "权限";
        scenes: "Scenes", "场景";
        every_scene: "all", "全部";
        status: "Status", "状态";
        active: "active", "正常";
        disabled: "disabled", "已停用";
        invited_until: "invited until {time}", "邀请有效至 {time}";
        never: "not yet invited", "尚未邀请";
        signs_in_by: "Signs in by", "登录方式";
        by_password: "password", "密码";
        by_password_and_codes: "password and code", "密码和验证码";
        seen: "Last seen", "最近活动";
        none: "There is nobody yet.", "尚无人员。";
        add: "Add a person", "添加人员";
        name_hint: "One word, also the name of the person's API keys.", "一个词，与此人 API 密钥的名称相同。";
        scenes_hint: "Scenes separated by commas; empty: all scenes.", "用逗号分隔多个场景；留空表示全部场景。";
        language: "Language", "语言";
        zone: "Time zone", "时区";
        submit_add: "Add and make a link", "添加并生成链接";
        name_taken: "This name is taken, perhaps in another spelling.", "该用户名（或其其他写法）已存在。";
        name_wrong: "A name is 1 to 64 visible characters without blanks.", "用户名须为 1 至 64 个可见字符，不含空格。";
        scenes_wrong: "A scene is not valid.", "场景无效。";
        zone_wrong: "There is no such time zone.", "没有该时区。";
        since: "Added", "添加时间";
        save_rights: "Save rights", "保存权限";
        own: "You cannot change your own rights: another person has to.", "任何人不能修改自己的权限，须由他人操作。";
        invite: "Make a new link", "生成新链接";
        invite_hint: "Works once, for three days. Links from before stop working.", "仅可使用一次，三天内有效；之前的链接随即失效。";
        link_title: "A link for {name}", "{name} 的链接";
        link_lead: "Send it to {name}. It is shown only now, works once, and for three days.", "请发送给 {name}。它仅显示这一次，只能使用一次，三天内有效。";
        link: "Link", "链接";
        disable: "Disable", "停用";
        disable_hint: "Signs the person out everywhere. Reviews and the audit stay.", "立即在各处退出登录；审核记录与审计日志保留。";
        enable: "Enable", "启用";
        reset: "Reset", "重置";
        reset_hint: "Removes password, codes and identity, signs the person out, and makes a new link.", "清除密码、验证码与身份绑定，退出登录，并生成新链接。";
        access: "Access", "访问";
        back: "All people", "全部人员";
        right_decisions: "Read verifications and decisions", "查看核验与决定";
        right_results: "Read results without personal data", "查看不含个人信息的结果";
        right_material: "Read personal data", "查看个人信息";
        right_images: "See pictures of persons", "查看人员影像";
        right_reviews: "Review cases", "审核案件";
        right_verifications: "Start and refetch verifications", "发起与重新获取核验";
        right_policies: "Change policies", "修改策略";
        right_erasures: "Erase persons, place legal holds", "删除个人数据、设置法定保留";
        right_events: "Read the event log", "查看事件日志";
        right_webhooks: "Manage webhook endpoints", "管理 Webhook 端点";
        right_people: "Manage people", "管理人员";
        right_audit: "Read the audit", "查看审计日志";
        right_operations: "See operations", "查看运行状况";
    }
}
