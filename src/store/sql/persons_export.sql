/* verdict persons::export */
with wanted as (
    select * from verifications where id = $1
), recorded as (
    insert into audit (at, actor, action, subject, purpose)
    select $2, $3, 'person.export', id, $4 from wanted returning 1
)
select jsonb_build_object(
    'verification', (select to_jsonb(v) from (
        select w.id, w.biz_type, w.biz_id, w.product, w.certify_id, w.answered_by, w.source, w.reference, w.state,
            w.created_at, w.updated_at, w.callbacks, w.attempts, w.result_id, w.decision_id) v),
    'callbacks', (select coalesce(jsonb_agg(to_jsonb(c) order by c.received_at), '[]') from (
        select source, message_id, received_at, occurred_at, hint_audit, hint_code, hint_platform,
            answer_state, answer_attempts, answer_reference, answer_decision_id
        from callbacks where verification_id = w.id) c),
    'start', (select to_jsonb(s) from (
        select asked_at, expires_at, answered_at, refused_code
        from starts where verification_id = w.id) s),
    'results', (select coalesce(jsonb_agg(to_jsonb(r) order by r.attempt), '[]') from (
        select id, attempt, fetched_at, request_id, http_status, evidence, error_class, error_code,
            simulated, bucket_objects
        from results where verification_id = w.id) r),
    'images', (select coalesce(jsonb_agg(to_jsonb(i) order by i.result_id, i.kind), '[]') from (
        select result_id, kind, state, reason, settled_at, content_type, unusual, bytes,
            encode(sha256, 'hex') as sha256
        from images where verification_id = w.id) i),
    'decisions', (select coalesce(jsonb_agg(to_jsonb(d) - 'position' order by d.position), '[]') from (
        select position, id, result_id, policy_digest, outcome, reasons, decided_by, decided_at,
            simulated
        from decisions where verification_id = w.id) d),
    'shadow_decisions', (select coalesce(jsonb_agg(to_jsonb(d) order by d.decided_at), '[]') from (
        select decision_id, policy_digest, outcome, reasons, decided_at
        from shadow_decisions where verification_id = w.id) d),
    'cases', (select coalesce(jsonb_agg(to_jsonb(c) order by c.opened_at), '[]') from (
        select decision_id, opened_at, closed_at, escalated_at, escalated_by, escalation
        from cases where verification_id = w.id) c),
    'assignments', (select coalesce(jsonb_agg(to_jsonb(a) order by a.claimed_at), '[]') from (
        select id, kind, user_id, decision_id, claimed_at, judgement, judged_at, outcome, reason,
            review_id, given_at, ended_at, ended_as
        from assignments where verification_id = w.id) a),
    'reviews', (select coalesce(jsonb_agg(to_jsonb(r) order by r.id), '[]') from (
        select id, about, outcome, reason, reviewer, person, reviewed_at, decision_id
        from reviews where verification_id = w.id) r),
    'proposals', (select coalesce(jsonb_agg(to_jsonb(p) order by p.proposed_at), '[]') from (
        select action, person, purpose, proposed_at, closed_at, seconded_person
        from proposals where subject = w.id) p),
    'events', (select coalesce(jsonb_agg(to_jsonb(e) order by e.number), '[]') from (
        select number, kind, at, decision_id from events where verification_id = w.id) e),
    'deliveries', (select coalesce(jsonb_agg(to_jsonb(t) order by t.at), '[]') from (
        select endpoint_id, number, at, attempt, status, error
        from webhook_attempts
        where number = any (array(select number from events where verification_id = w.id))) t),
    'legal_holds', (select coalesce(jsonb_agg(to_jsonb(h) order by h.placed_at), '[]') from (
        select purpose, placed_at, placed_by, lifted_at, lifted_by
        from legal_holds where verification_id = w.id) h),
    'audit', (select coalesce(jsonb_agg(to_jsonb(a) order by a.position), '[]') from (
        select position, at, actor, action, purpose, details from audit where subject = w.id) a))
from wanted w, recorded
