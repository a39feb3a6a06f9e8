//! How well and how fast each reviewer works.

texts! {
    /// `/reviewers`.
    pub struct Reviewers {
        title: "Reviewers", "审核员";
        caption: "Each person's work in the last {n} {n|day|days}", "最近 {n} 天各审核员的工作情况";
        period: "Period", "时间范围";
        days: "{n} {n|day|days}", "{n} 天";
        person: "Person", "姓名";
        cases: "Cases", "案件数";
        median: "Median time", "处理时长中位数";
        agreement: "Agreement", "一致率";
        false_accepts: "False accepts", "误通过率";
        false_rejects: "False rejects", "误拒率";
        unsure: "Could not say", "无法判断";
        of: "{hits} of {of}", "{of} 组中 {hits} 组";
        too_few: "no data", "暂无数据";
        explained: "Measured with practice pairs whose answer is known: how often different people were called the same (false accept), and the same person different (false reject). Agreement: cases judged again where both judgements lean the same way. In brackets the 95 % interval: with few pairs it is wide, and says so.", "依据答案已知的校准照片统计：把不同的人判为同一人的比例（误通过），以及把同一人判为不同人的比例（误拒）。一致率：再次判断的案件中，两次判断倾向相同的比例。括号内为 95% 置信区间；样本少时区间较宽，请谨慎解读。";
        none: "Nobody has judged a case in this period.", "此时间范围内没有审核记录。";
    }
}
