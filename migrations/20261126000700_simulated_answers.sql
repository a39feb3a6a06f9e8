-- Marks the answers of a simulated provider, and every decision made from them.

alter table results add column simulated boolean not null default false;
comment on column results.simulated is 'A simulated provider answered (verdict sandbox), so nobody was really verified';

alter table decisions add column simulated boolean not null default false;
comment on column decisions.simulated is 'It judges the answer of a simulated provider, so nobody was really verified';

-- A policy's decision is written beside its answer, with the same mark. A person's is written by
-- verdict_person_decides, which knows only the answer's id.
create function verdict_person_decides_simulated() returns trigger language plpgsql
    set search_path = public, pg_temp as $$
begin
    new.simulated := coalesce((select r.simulated from public.results r where r.id = new.result_id), false);
    return new;
end $$;
comment on function verdict_person_decides_simulated() is 'Marks a person''s decision about the answer of a simulated provider';
create trigger decisions_simulated before insert on decisions
    for each row when (new.decided_by = 'person')
    execute function verdict_person_decides_simulated();

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000700;
