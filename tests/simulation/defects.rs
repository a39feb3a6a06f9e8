//! Defects that the simulation plants, to show that it finds them.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// One defect: in the text of a statement, or in the way to Postgres.
#[derive(Debug)]
pub struct Defect {
    pub name: &'static str,
    pub what: &'static str,
    edits: &'static [Edit],
    /// The promise that it breaks.
    pub breaks: &'static [&'static str],
    /// A few seeds suffice.
    pub is_met_often: bool,
}

#[derive(Debug)]
enum Edit {
    /// In the statement that holds `old`.
    Sql { old: &'static str, new: &'static str },
    /// In this function of the database.
    Function { name: &'static str, old: &'static str, new: &'static str },
    /// These statements are answered before their commit.
    AnswerEarly { statements: &'static str },
}

impl Defect {
    /// The statement with the defect in it, if it belongs there.
    pub fn plant(&self, statement: &str) -> Option<String> {
        let mut text = statement.to_owned();
        for edit in self.edits {
            if let Edit::Sql { old, new } = edit {
                text = text.replace(old, new);
            }
        }
        (text != statement).then_some(text)
    }

    /// Plants what belongs into the database.
    pub async fn plant_functions(&self, look: &mut PgConnection) {
        for edit in self.edits {
            let Edit::Function { name, old, new } = edit else { continue };
            let text: String = sqlx::query_scalar("select pg_get_functiondef($1::text::regproc)")
                .bind(*name)
                .fetch_one(&mut *look)
                .await
                .expect("a function");
            let planted = text.replace(old, new);
            assert!(planted != text || text.contains(new), "{name} does not hold: {old}");
            look.execute(AssertSqlSafe(planted)).await.expect("the function is replaced");
        }
    }

    pub fn acknowledges(&self, label: &str) -> bool {
        self.edits.iter().any(
            |edit| matches!(edit, Edit::AnswerEarly { statements } if label.contains(statements)),
        )
    }
}

pub const DEFECTS: [Defect; 5] = [
    Defect {
        name: "fence-left-out",
        what: "a completion does not ask whether its lease is the current one",
        edits: &[Edit::Sql {
            old: "and v.id = i.verification_id and v.lease_token = i.lease_token",
            new: "and v.id = i.verification_id",
        }],
        breaks: &["3: results of another lease than the one that ended"],
        is_met_often: false,
    },
    Defect {
        name: "acknowledged-before-commit",
        what: "a callback is acknowledged before its commit",
        edits: &[Edit::AnswerEarly { statements: "callbacks::" }],
        breaks: &["1: accepted and lost"],
        is_met_often: true,
    },
    Defect {
        name: "late-callback-forgotten",
        what: "a callback that came during the call does not make the verification due again",
        edits: &[
            Edit::Sql {
                old: "state = case when v.callbacks > i.callbacks_seen and not i.closed then 'pending'",
                new: "state = case when v.callbacks < 0 then 'pending'",
            },
            Edit::Sql {
                old: "due_at = case when v.callbacks > i.callbacks_seen and not i.closed",
                new: "due_at = case when v.callbacks < 0",
            },
        ],
        breaks: &["2: callbacks without a call after them"],
        is_met_often: false,
    },
    Defect {
        name: "budget-half-charged",
        what: "a claim spends half of what its calls cost",
        edits: &[Edit::Sql {
            old: "ceil(taken.calls * $4 * 1e6",
            new: "ceil(taken.calls * $4 * 0.5e6",
        }],
        breaks: &["11: budget broken"],
        is_met_often: true,
    },
    Defect {
        name: "numberer-forgets-open-transactions",
        what: "what was open while events were numbered is never numbered",
        edits: &[Edit::Function {
            name: "verdict_number_events",
            old: "(select pg_snapshot_xip(log.seen))",
            new: "(select pg_snapshot_xip(log.seen) limit 0)",
        }],
        breaks: &["42: decisions and other changes without exactly one event"],
        is_met_often: false,
    },
];
