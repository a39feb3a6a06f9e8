//! Words that several pages use: outcomes, states, spans of time.

use super::phrase::Phrase;
use crate::domain::verification::State;
use policy::decision::Outcome;

texts! {
    /// Outcomes, judgements and units.
    pub struct Words {
        approve: "Approve", "通过";
        retry: "Retry", "重试";
        reject: "Reject", "拒绝";
        review: "Review", "人工审核";
        approved: "Approved", "已通过";
        retried: "May retry", "可重试";
        rejected: "Rejected", "已拒绝";
        in_review: "In review", "待人工审核";
        certainly_same: "Certainly the same", "肯定是同一人";
        probably_same: "Probably the same", "可能是同一人";
        cannot_say: "Cannot say", "无法判断";
        probably_different: "Probably different", "可能不是同一人";
        certainly_different: "Certainly different", "肯定不是同一人";
        same_person: "The same person", "同一人";
        different_persons: "Different people", "不是同一人";
        by_policy: "Policy", "策略";
        by_person: "Person", "人工";
        yes: "Yes", "是";
        no: "No", "否";
        pending: "Pending", "待查询";
        unfinished: "Not finished", "未完成";
        decided: "Decided", "已有结论";
        expired: "Expired", "已过期";
        failed: "Failed", "失败";
        erased: "Erased", "已删除";
        seconds: "{n} s", "{n} 秒";
        minutes: "{n} min", "{n} 分钟";
        hours: "{h} h {m} min", "{h} 小时 {m} 分";
        days: "{d} d {h} h", "{d} 天 {h} 小时";
    }
}

impl Words {
    /// An outcome that a person can give, as a command.
    pub const fn outcome(&self, outcome: Outcome) -> Phrase {
        match outcome {
            Outcome::Approve => self.approve,
            Outcome::Retry => self.retry,
            Outcome::Review => self.review,
            Outcome::Reject => self.reject,
        }
    }

    /// An outcome as a decision.
    pub const fn decided(&self, outcome: Outcome) -> Phrase {
        match outcome {
            Outcome::Approve => self.approved,
            Outcome::Retry => self.retried,
            Outcome::Review => self.in_review,
            Outcome::Reject => self.rejected,
        }
    }

    pub const fn flag(&self, flag: bool) -> Phrase {
        if flag { self.yes } else { self.no }
    }

    pub const fn state(&self, state: State) -> Phrase {
        match state {
            State::Pending => self.pending,
            State::Unfinished => self.unfinished,
            State::Decided => self.decided,
            State::Expired => self.expired,
            State::Failed => self.failed,
            State::Erased => self.erased,
        }
    }
}
