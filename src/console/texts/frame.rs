//! The parts around the content of every page.

texts! {
    /// Navigation, messages, and what stands at the foot.
    pub struct Frame {
        product: "Verdict", "Verdict";
        skip: "Skip to the content", "跳到正文";
        navigation: "Main navigation", "主导航";
        queue: "Queue", "待审队列";
        reviewers: "Reviewers", "审核员";
        verifications: "Verifications", "核验查询";
        policies: "Policies", "策略";
        operations: "Operations", "运行状况";
        audit: "Audit", "审计日志";
        users: "People", "人员";
        persons: "Persons", "当事人";
        my_account: "Signed in as {name}: your sessions and settings", "已登录：{name}，查看会话与设置";
        sign_out: "Sign out", "退出登录";
        messages: "Messages", "消息";
        keys: "Keys", "快捷键";
        keys_title: "Keys on this page", "本页快捷键";
        keys_hint: "Keys do nothing while you type in a field.", "在输入框内打字时，快捷键不起作用。";
        keys_list: "Show or hide this list", "显示或隐藏此列表";
        close: "Close", "关闭";
        next_page: "Next page", "下一页";
        first_page: "First page", "回到第一页";
        all: "All", "全部";
        none: "None", "无";
        unknown: "Unknown", "未知";
        times_in: "Times in {zone}", "时间按 {zone} 时区显示";
        label: "{label}:", "{label}：";
        labelled: "{label}: {value}", "{label}：{value}";
        simulated: "Simulated provider: nobody was really verified.", "模拟服务商：并未对真人进行核验。";
        undo_given: "Your verdict: {outcome}.", "您的结论：{outcome}。";
        undo_until: "Takes effect at {time}.", "将于 {time} 生效。";
        undo: "Undo", "撤销";
        undone: "Undone. The case is yours again.", "已撤销，该案件仍由您处理。";
        undo_late: "Too late to undo: the verdict has taken effect.", "已无法撤销：结论已生效。";
    }
}
