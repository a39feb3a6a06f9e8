//! One's own sessions and settings.

texts! {
    pub struct Sessions {
        title: "Sessions and settings", "会话与设置";
        reading: "Display", "页面显示";
        language: "Language", "语言";
        theme: "Colours", "配色";
        theme_auto: "As the system", "跟随系统";
        theme_light: "Light", "浅色";
        theme_dark: "Dark", "深色";
        zone: "Time zone", "时区";
        save: "Save", "保存";
        where_signed_in: "Where you are signed in", "已登录的位置";
        browser: "Browser", "浏览器";
        method: "Signed in by", "登录方式";
        by_password: "Password", "密码";
        by_oidc: "Identity provider", "身份服务商";
        by_demo: "Demo link", "演示链接";
        since: "Since", "登录时间";
        seen: "Last seen", "最近活动";
        ends: "Ends at the latest", "最迟结束";
        this_one: "this one", "当前会话";
        end: "End", "结束";
        end_of: "End the session in {browser} since {since}", "结束 {since} 起在 {browser} 中的会话";
        action: "Action", "操作";
        explained: "A session ends after 15 minutes without a page, and after 8 hours in any case.", "15 分钟无操作会话即结束，最长 8 小时。";
        password: "Password", "密码";
        current: "Current password", "当前密码";
        change_password: "Change password", "修改密码";
        password_hint: "Every other session of yours ends.", "您的其他会话将全部结束。";
        codes: "One-time codes", "动态验证码";
        codes_off: "Signing in by password asks for no code.", "使用密码登录时不要求验证码。";
        codes_on: "Signing in by password also asks for a code of your authenticator app.", "使用密码登录时还需输入验证器应用中的验证码。";
        codes_unavailable: "This console has no keys and cannot keep the secret of an app.", "此控制台未配置密钥，无法保存验证器密钥。";
        codes_set_up: "Set up an app", "设置验证器应用";
        codes_remove: "Stop asking for codes", "停用验证码";
        codes_title: "Set up an authenticator app", "设置验证器应用";
        codes_scan: "Scan this code with the app.", "用应用扫描此二维码。";
        codes_picture: "QR code for the authenticator app", "验证器应用的二维码";
        codes_secret: "Or type this key into the app (time-based, 6 digits):", "或在应用中输入以下密钥（基于时间，6 位）：";
        codes_open: "Or open it in an app on this device", "或在本设备的应用中打开";
        codes_code: "The code that the app shows", "应用显示的验证码";
        codes_submit: "Turn on", "启用";
        codes_wrong: "The code does not fit. Check the clock of the device, and type the newest code.", "验证码不匹配。请检查设备时间，并输入最新的验证码。";
        wrong_password: "The current password is wrong.", "当前密码不正确。";
    }
}
