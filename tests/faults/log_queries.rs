//! Queries that find what breaks a promise of the event log, when nothing is open any more. The faults and
//! the simulation run them.

/// Decisions and other changes without exactly one event.
pub const WITHOUT_ONE_EVENT: &str = "select coalesce(d.id, n.id)::text from
         (select id from decisions) d full join (select id from event_notes) n on false
     where (select count(*) from events e
            where coalesce(e.id, e.decision_id) = coalesce(d.id, n.id)) <> 1";

/// Numbers of the log that are missing or double, from $1 + 1 on.
pub const NUMBERS: &str =
    "select n::text from generate_series($1 + 1, (select number from event_log)) as n
     where (select count(*) from events where number = n) <> 1
     union all select number::text from events
     where number > (select number from event_log)";

/// Events of a verification out of its order.
pub const OUT_OF_ORDER: &str = "select number::text from (
         select e.number, e.verification_sequence,
             row_number() over (partition by e.verification_id order by e.number) as place,
             row_number() over (partition by e.verification_id
                 order by coalesce(d.position, n.position)) as wrote
         from events e
             left join decisions d on e.id is null and d.id = e.decision_id
             left join event_notes n on n.id = e.id
         where e.verification_id is not null) e
     where place <> verification_sequence or place <> wrote";
