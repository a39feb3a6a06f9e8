//! The database against the model, after each step.

use std::collections::BTreeMap;

use protocol_model::State;
use protocol_model::state::{Due, Endpoint, Holder, Lease, Row, Stage};
use sqlx::Row as _;
use uuid::Uuid;

use super::replay::{Replay, name};
use verdict::domain::verification;

/// The columns of a row that the model knows.
#[derive(Debug, PartialEq)]
struct Known {
    state: verification::State,
    closed: bool,
    callbacks: i32,
    attempts: i32,
    due: Due,
    lease: Option<Lease>,
    results: Vec<i32>,
    decisions: i64,
}

pub(super) fn state_of(stage: Stage) -> verification::State {
    match stage {
        Stage::Absent => panic!("there is no row"),
        Stage::Pending => verification::State::Pending,
        Stage::Unfinished => verification::State::Unfinished,
        Stage::Decided => verification::State::Decided,
    }
}

impl Replay {
    pub(super) async fn compare(&self, model: &State, at_step: &str) {
        assert_eq!(self.rows().await, expected_rows(model), "{at_step}: verifications");
        let callbacks: i64 = sqlx::query_scalar("select count(*) from callbacks")
            .fetch_one(&self.steps.look)
            .await
            .unwrap();
        let stored = model.messages.iter().filter(|message| message.stored.is_some()).count();
        assert_eq!(usize::try_from(callbacks).unwrap(), stored, "{at_step}: callbacks");
        assert_eq!(self.steps.spent().await, i64::from(model.spent), "{at_step}: budget");
        assert_eq!(self.log().await, self.expected_log(model), "{at_step}: the log");
        assert_eq!(self.endpoint().await, model.endpoint, "{at_step}: the endpoint");
    }

    async fn rows(&self) -> BTreeMap<String, Known> {
        let rows = sqlx::query(
            "select v.*, due_at <= verdict_now() as is_due, lease_until <= verdict_now() as ended,
                array(select r.attempt from results r where r.verification_id = v.id order by 1)
                    as results,
                (select count(*) from decisions d where d.verification_id = v.id) as decisions
             from verifications v",
        )
        .fetch_all(&self.steps.look)
        .await
        .unwrap();
        let known = |row: &sqlx::postgres::PgRow| Known {
            state: verification::State::parse(row.get("state")).unwrap(),
            closed: row.get("closed"),
            callbacks: row.get("callbacks"),
            attempts: row.get("attempts"),
            due: match row.get("is_due") {
                None => Due::Never,
                Some(false) => Due::Later,
                Some(true) => Due::Now,
            },
            lease: row
                .get::<Option<Uuid>, _>("lease_token")
                .map(|token| Lease { attempt: self.tokens[&token], ended: row.get("ended") }),
            results: row.get("results"),
            decisions: row.get("decisions"),
        };
        rows.iter().map(|row| (row.get("biz_id"), known(row))).collect()
    }

    async fn log(&self) -> Vec<Option<Uuid>> {
        let events = "select decision_id from events where number > $1 order by number";
        let events = sqlx::query_scalar(events).bind(self.base).fetch_all(&self.steps.look);
        events.await.unwrap()
    }

    fn expected_log(&self, model: &State) -> Vec<Option<Uuid>> {
        model.log.iter().map(|change| Some(self.decisions[change])).collect()
    }

    async fn endpoint(&self) -> Endpoint {
        let row = sqlx::query(
            "select cursor, lease_token, lease_until <= verdict_now() as ended
             from webhook_endpoints where id = $1",
        )
        .bind(self.endpoint)
        .fetch_one(&self.steps.look)
        .await
        .unwrap();
        let pending: Vec<(i64, bool, Option<bool>)> = sqlx::query_as(
            "select number, state = 'retry', next_at <= verdict_now() from webhook_pending
             where endpoint_id = $1 and not redelivery",
        )
        .bind(self.endpoint)
        .fetch_all(&self.steps.look)
        .await
        .unwrap();
        let number = |number: i64| u8::try_from(number - self.base).unwrap();
        let state = |is_retry: bool, due: Option<bool>| match (is_retry, due) {
            (true, Some(due)) => Row::Retry { due },
            _ => Row::Held,
        };
        Endpoint {
            cursor: number(row.get("cursor")),
            rows: pending.iter().map(|(n, retry, due)| (number(*n), state(*retry, *due))).collect(),
            holder: row
                .get::<Option<Uuid>, _>("lease_token")
                .map(|token| Holder { deliverer: self.holders[&token], ended: row.get("ended") }),
        }
    }
}

fn expected_rows(model: &State) -> BTreeMap<String, Known> {
    let mut rows = BTreeMap::new();
    for (place, row) in (0..).zip(&model.verifications) {
        if row.stage != Stage::Absent {
            let known = Known {
                state: state_of(row.stage),
                closed: row.closed,
                callbacks: row.callbacks.into(),
                attempts: row.attempts.into(),
                due: row.due,
                lease: row.lease,
                results: row.results.iter().map(|attempt| i32::from(*attempt)).collect(),
                decisions: row.decisions.into(),
            };
            rows.insert(name(place), known);
        }
    }
    rows
}
