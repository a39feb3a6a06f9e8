//! Signing in, invitations, and proving again who one is.

texts! {
    pub struct SignIn {
        title: "Sign in", "登录";
        name: "Name", "用户名";
        password: "Password", "密码";
        code: "One-time code", "动态验证码";
        code_hint: "Only if you have set up an authenticator app.", "仅在您启用了验证器应用时填写。";
        submit: "Sign in", "登录";
        with_issuer: "Sign in with {issuer}", "使用 {issuer} 登录";
        or: "or", "或";
        failed: "Name, password or code is wrong.", "用户名、密码或验证码不正确。";
        too_early: "Too many tries under this name. Try again in {seconds} {seconds|second|seconds}.", "该用户名尝试次数过多，请在 {seconds} 秒后重试。";
        busy: "Too many people are signing in at once. Try again in a moment.", "当前登录人数过多，请稍后重试。";
        forgotten: "Forgotten? A person with the right users:write can send you a new invitation.", "忘记密码？请联系人员管理员重新发送邀请。";
        invited_title: "Welcome, {name}", "欢迎您，{name}";
        invited_lead: "Choose how you sign in. This link works once.", "请选择登录方式。此链接仅可使用一次。";
        new_password: "New password", "新密码";
        again: "Repeat the password", "再次输入";
        password_hint: "At least 12 characters. A sentence is easy to remember.", "至少 12 个字符，用一句话更容易记住。";
        choose_password: "Set password and sign in", "设置密码并登录";
        too_short: "The password is too short: at least 12 characters, and not one character repeated.", "密码过短：至少 12 个字符，且不能是同一字符的重复。";
        too_long: "The password is too long: at most 128 characters.", "密码过长：最多 128 个字符。";
        not_the_same: "The two passwords differ. Type both again.", "两次输入的密码不一致，请重新输入。";
        confirm_title: "Is it still you?", "请确认仍是您本人";
        confirm_lead: "The next action cannot be undone, so prove once more who you are. The proof holds for ten minutes.", "接下来的操作无法撤销，请再次证明您的身份，十分钟内有效。";
        confirm_submit: "Continue", "继续";
        confirm_failed: "Password or code is wrong.", "密码或验证码不正确。";
        confirm_with: "Confirm with {issuer}", "使用 {issuer} 确认";
        back: "Back", "返回";
    }
}
