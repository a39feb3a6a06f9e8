//! Comparisons of policies: backtests, shadows, the report of the command line.

use super::phrase::Phrase;
use policy::decision::Outcome;

texts! {
    pub struct Comparison {
        backtests: "Backtests", "回测";
        backtest: "Backtest", "回测";
        shadow: "Shadow comparison", "影子策略对比";
        shadow_of: "Shadow comparison of {name}", "{name} 的影子策略对比";
        now_active: "(active now: {name})", "（当前生效：{name}）";
        list_hint: "A backtest decides past results again with this policy, and changes nothing.", "回测用此策略重新判定历史结果，不改变任何决定。";
        start: "Start a backtest", "开始回测";
        start_button: "Start", "开始";
        since: "From (day)", "起始日";
        until: "To (day, inclusive)", "截止日（含当日）";
        scene: "Scene", "场景";
        all_scenes: "All scenes", "所有场景";
        scene_hint: "Without a scene, it covers all scenes.", "不填场景则包括所有场景。";
        period_hint: "Without days, it covers everything up to the newest result.", "不填日期则包括截至最新的全部结果。";
        purpose: "Purpose", "用途";
        purpose_hint: "The purpose is optional and goes on record.", "用途可不填，填写后将被记录。";
        busy: "Another backtest is running. One runs at a time: start this one when it is done.", "另一个回测正在运行。同一时间只运行一个，请待其完成后再开始。";
        busy_link: "See the running one", "查看正在运行的回测";
        wrong_period: "The last day is before the first day.", "截止日早于起始日。";
        wrong_day: "A day is written like 2026-11-27.", "日期格式为 2026-11-27。";
        wrong_scene: "There can be no such scene.", "场景名称无效。";
        none_yet: "This policy was not tried on the past yet.", "此策略尚未做过回测。";
        started: "Started", "开始时间";
        state: "State", "状态";
        running: "Running", "运行中";
        done: "Done", "已完成";
        failed: "Failed", "失败";
        cancelled: "Cancelled", "已取消";
        cancelled_hint: "It was cancelled before its end. Its results so far follow.", "回测在完成前已取消。以下为已得出的部分结果。";
        cancel: "Cancel this backtest", "取消此回测";
        cancel_hint: "Another one can start then. It cannot be resumed.", "取消后可以开始另一个回测；取消后无法继续。";
        cancel_late: "It had ended before: nothing was cancelled.", "回测此前已结束，未取消任何内容。";
        failed_hint: "It failed too often and was given up. The log of the workers has the cause. Its results so far follow.", "失败次数过多，已放弃。原因见 worker 日志。以下为已得出的部分结果。";
        progress: "{seen} of about {of} {of|result|results}", "{seen} / 约 {of} 条结果";
        seen: "{seen} {seen|result|results}", "{seen} 条结果";
        period: "Period", "时间范围";
        from_first: "the first result", "最早的结果";
        to_last: "the newest result", "最新的结果";
        from_to: "{since} to {until}", "{since} 至 {until}";
        before: "before {until}", "{until} 之前";
        candidate: "Candidate", "候选策略";
        compared_with: "Compared with", "对比对象";
        with_past: "what was decided at the time", "当时的实际决定";
        with_active: "the policy that decides", "正在生效的策略";
        active_now: "Active now", "当前生效";
        unreadable: "This version cannot read the policy.", "此版本无法读取该策略。";
        so_far: "So far: {said}", "目前：{said}";
        nothing_there: "There is no decision here to compare.", "此范围内没有可对比的决定。";
        nothing_changes: "Nothing would change: {total|the one decision stays as it is|all {total} decisions stay as they are}.", "不会有任何变化：{total|仅有的一个|全部 {total} 个}决定保持不变。";
        clause: "{n} of {total} {what} would be {end}", "{total} 个{what}中有 {n} 个会变为{end}";
        approval: "approval", "“通过”";
        approvals: "approvals", "“通过”";
        a_retry: "retry", "“重试”";
        retries: "retries", "“重试”";
        a_review: "review", "“人工审核”";
        reviews: "reviews", "“人工审核”";
        rejection: "rejection", "“拒绝”";
        rejections: "rejections", "“拒绝”";
        be_approved: "approved", "“通过”";
        be_retried: "asked to retry", "“重试”";
        be_reviewed: "sent to review", "“人工审核”";
        be_rejected: "rejected", "“拒绝”";
        people_change: "{n} of {total} {total|person|people} would be left with another outcome.", "{total} 人中有 {n} 人的最终结果会不同。";
        one_person_changes: "The one person would be left with another outcome.", "仅有的 1 人的最终结果会不同。";
        people_hint: "A person is a reference of a source, and counts once, by the last result. A verification without a reference counts as a person.", "同一来源的同一业务编号算作一人，只按其最后一次结果计一次；没有业务编号的核验各算一人。";
        no_people: "An earlier version ran a part of this, and did not count people.", "其中一部分由早期版本运行，未统计人数。";
        erased: "{n} more {n|was skipped: the person was erased|were skipped: their persons were erased}.", "另有 {n} 个因当事人数据已删除而跳过。";
        decisions: "Decisions", "决定";
        people: "People", "人数";
        matrix_hint: "Rows: what was decided. Columns: what the candidate would decide. Shares are of the row.", "行为原决定，列为候选策略的决定；百分比为占该行的比例。";
        old: "Old", "原决定";
        new: "New", "新决定";
        total: "Total", "合计";
        share: "Share", "占比";
        kinds: "What changes, and why", "变化类型与原因";
        change: "Change", "变化";
        reason: "New reason", "新原因";
        others: "other changes", "其他变化";
        more_kinds: "{n} more, of {kinds} {kinds|kind|kinds}", "其余 {kinds} 类共 {n} 个";
        lowest: "By lowest score", "按最低分分布";
        lowest_axis: "lowest score", "最低分";
        verify: "By verify score (face-verify)", "按 verify 分数分布（face-verify）";
        verify_axis: "verify score", "verify 分数";
        by_day: "By day", "按日分布";
        by_days: "By {n} {n|day|days}", "每 {n} 天分布";
        day_axis: "day of the result (UTC)", "结果日期（UTC）";
        count_axis: "decisions", "决定数";
        unchanged: "decisions", "决定";
        changed: "of these with another outcome", "其中结果不同";
        bounds_new: "{name} (candidate)", "{name}（候选）";
        bounds_old: "{name} (active now)", "{name}（当前生效）";
        no_bounds: "no bound", "无界限";
        bands: "Numbers", "数据";
        band: "Score", "分数";
        chart_says: "{decisions} {decisions|decision|decisions} from {first} to {last}, {flips} with another outcome", "{first} 至 {last} 共 {decisions} 个决定，其中 {flips} 个结果不同";
        flips: "Decisions with another outcome", "结果不同的决定";
        flips_shown: "The first {n} of {total}, oldest first.", "共 {total} 个，显示最早的 {n} 个。";
        no_flips: "None on this page.", "本页没有。";
        time: "Result of", "结果时间";
        verification: "Verification", "核验";
        was: "Was", "原决定";
        would_be: "Would be", "新决定";
        decided_by: "What decides it", "判定依据";
        hidden_open: "hidden: you may be asked about this case", "已隐藏：该案件可能由您审核";
        hidden_right: "shown with the right decisions:read", "需要权限 decisions:read";
        more_flips: "More", "更多";
        first_flips: "Back to the first", "回到开头";
        busy_flips: "The list of changes waits for other work. Reload the page in a moment.", "正在等待其他计算，请稍后刷新查看变化列表。";
        no_shadow: "This policy has decided nothing in shadow.", "此策略尚未以影子方式作出任何决定。";
        shadow_newest: "The newest {n} {n|decision|decisions}.", "最近 {n} 个决定。";
        shadow_since: "In shadow since {time} ({scene})", "自 {time} 起作为影子策略（{scene}）";
        shadow_not_now: "Not in shadow now", "当前不是影子策略";
        report_title: "Backtest of {name}", "{name} 的回测";
        to_policy: "Policy", "策略";
    }
}

impl Comparison {
    /// Decisions of an outcome, as many as that.
    pub const fn decided(&self, outcome: Outcome, many: u64) -> Phrase {
        match (outcome, many) {
            (Outcome::Approve, 1) => self.approval,
            (Outcome::Approve, _) => self.approvals,
            (Outcome::Retry, 1) => self.a_retry,
            (Outcome::Retry, _) => self.retries,
            (Outcome::Review, 1) => self.a_review,
            (Outcome::Review, _) => self.reviews,
            (Outcome::Reject, 1) => self.rejection,
            (Outcome::Reject, _) => self.rejections,
        }
    }

    /// The outcome that they would get instead.
    pub const fn instead(&self, outcome: Outcome) -> Phrase {
        match outcome {
            Outcome::Approve => self.be_approved,
            Outcome::Retry => self.be_retried,
            Outcome::Review => self.be_reviewed,
            Outcome::Reject => self.be_rejected,
        }
    }
}
