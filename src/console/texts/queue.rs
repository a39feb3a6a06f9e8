//! The queue of cases.

texts! {
    /// `/cases`.
    pub struct Queue {
        title: "Queue", "待审队列";
        waiting: "{n} waiting", "{n} 件待审";
        nobody_waits: "No case is waiting.", "当前没有待审案件。";
        nothing_fits: "No case fits these filters.", "没有符合筛选条件的案件。";
        show_all: "Show all", "查看全部";
        oldest: "oldest {age}", "最久 {age}";
        late_count: "{n} past target", "{n} 件已超时";
        next: "Next case", "领取下一件";
        go_on: "Go on with your case", "继续处理我的案件";
        nothing_for_you: "There is no case for you now: the others are taken, skipped, escalated, or need a second person.", "目前没有可供您领取的案件：其余案件已被领取、被您跳过、已升级，或须由另一人复核。";
        filter: "Filter", "筛选";
        scene: "Scene", "场景";
        age: "Age", "等待时间";
        holder: "Held by", "处理人";
        on_time: "on time", "未到时限";
        soon: "due soon", "即将超时";
        late: "past target", "已超时";
        free: "Free", "未领取";
        taken: "Taken", "处理中";
        escalated: "Escalated", "已升级";
        caption: "Cases that wait for a person, oldest first", "等待人工审核的案件，按等待时间从长到短";
        waits: "Waits", "已等待";
        target: "Target", "目标时限";
        opened: "Since", "进入时间";
        who: "Who has it", "处理人";
        since: "since {time}", "自 {time}";
        you: "you", "您";
        nobody: "free", "未领取";
        escalated_for: "escalated: {reason}", "已升级：{reason}";
        second: "needs a second person", "待复核";
        within: "{left} left", "剩余 {left}";
        late_by: "late by {by}", "超时 {by}";
        everything: "All", "全部";
        empty_skipped: "There is no case for you now; you skipped {n} a short while ago.", "目前没有可供您领取的案件；您刚刚跳过了 {n} 件。";
    }
}
