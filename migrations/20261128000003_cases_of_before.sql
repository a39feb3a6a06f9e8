-- Cases of decisions that were made before there were cases. Decisions and verifications stay
-- writable meanwhile: the triggers of the migration before do the same for new ones.

insert into cases (decision_id, verification_id, biz_type, opened_at)
select d.id, v.id, v.biz_type, d.decided_at
from decisions d join verifications v on v.decision_id = d.id
where d.outcome = 'review' and v.state <> 'erased'
on conflict do nothing;

-- Decided otherwise while the statement above was running.
update cases c set closed_at = v.updated_at
from verifications v
where c.closed_at is null and v.id = c.verification_id
    and (v.decision_id <> c.decision_id or v.state = 'erased');

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000003;
