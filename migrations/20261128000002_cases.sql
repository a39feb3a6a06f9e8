-- Cases: verifications whose current decision is `review`, and who works on them.

create table cases (
    decision_id     uuid        primary key,
    verification_id uuid        not null,
    biz_type        text        not null,
    opened_at       timestamptz not null,
    closed_at       timestamptz,
    escalated_at    timestamptz,
    escalated_by    uuid,
    escalation      text
);
create index cases_open on cases (opened_at, decision_id) where closed_at is null;
create index cases_open_by_scene on cases (biz_type, opened_at, decision_id) where closed_at is null;
create index cases_of on cases (verification_id);
comment on table cases is 'Verifications that a person has to decide: one row for each decision `review` that was current';
comment on column cases.decision_id is 'The decision `review`';
comment on column cases.verification_id is 'What it is about';
comment on column cases.biz_type is 'Scene of the verification';
comment on column cases.opened_at is 'When it was decided';
comment on column cases.closed_at is 'When another decision took its place, or the verification was erased; null: it waits for a person';
comment on column cases.escalated_at is 'When it was escalated; null: it was not';
comment on column cases.escalated_by is 'The user who escalated it: somebody else gets it';
comment on column cases.escalation is 'Why: one of the configured reasons';

create table golden_pairs (
    id              uuid        primary key,
    same_person     boolean     not null,
    key_id          text        not null,
    wrapped         bytea       not null,
    live            bytea       not null,
    live_type       text        not null,
    reference       bytea       not null,
    reference_type  text        not null,
    added_at        timestamptz not null,
    added_by        text        not null,
    retired_at      timestamptz
);
comment on table golden_pairs is 'Pairs of pictures whose answer is known, mixed among the cases of reviewers';
comment on column golden_pairs.id is 'UUIDv7';
comment on column golden_pairs.same_person is 'The answer: both show one person';
comment on column golden_pairs.key_id is 'The key that wraps the data key';
comment on column golden_pairs.wrapped is 'The data key, wrapped';
comment on column golden_pairs.live is 'The live face, sealed with the data key';
comment on column golden_pairs.live_type is 'Media type of the live face';
comment on column golden_pairs.reference is 'The reference picture, sealed with the data key';
comment on column golden_pairs.reference_type is 'Media type of the reference picture';
comment on column golden_pairs.added_at is 'When it was uploaded';
comment on column golden_pairs.added_by is 'Who uploaded it';
comment on column golden_pairs.retired_at is 'Not shown any more since then; null: it is shown';

create table assignments (
    id              uuid        primary key,
    kind            text        not null check (kind in ('review', 'golden', 'again')),
    user_id         uuid        not null,
    decision_id     uuid,
    verification_id uuid,
    golden_id       uuid,
    claimed_at      timestamptz not null,
    lease_until     timestamptz not null,
    judgement       smallint    check (judgement between 1 and 5),
    judged_at       timestamptz,
    outcome         text        check (outcome in ('approve', 'retry', 'reject')),
    reason          text,
    note            bytea,
    review_id       uuid,
    given_at        timestamptz,
    commit_at       timestamptz,
    ended_at        timestamptz,
    ended_as        text        check (ended_as in ('decided', 'proposed', 'decision-changed', 'erased',
        'judged', 'skipped', 'released', 'escalated', 'lapsed')),
    told_at         timestamptz,
    constraint assignments_about check (case kind
        when 'golden' then golden_id is not null and decision_id is null and verification_id is null
        else golden_id is null and decision_id is not null and verification_id is not null end),
    constraint assignments_judged check ((judgement is null) = (judged_at is null)),
    constraint assignments_given check (
        (outcome is null) = (given_at is null) and (outcome is null) = (commit_at is null)
        and (outcome is null or reason is not null)),
    constraint assignments_ended check ((ended_at is null) = (ended_as is null))
);
create unique index assignments_one_per_case on assignments (decision_id)
    where ended_at is null and kind = 'review';
create unique index assignments_one_per_user on assignments (user_id)
    where ended_at is null and outcome is null;
create index assignments_to_commit on assignments (commit_at)
    where ended_at is null and outcome is not null;
create index assignments_of_case on assignments (decision_id) where decision_id is not null;
create index assignments_of_user on assignments (user_id, claimed_at);
comment on table assignments is 'A case, or a golden pair, in the hands of one reviewer';
comment on column assignments.id is 'UUIDv7: names it in addresses, so that these do not tell a golden pair from a case';
comment on column assignments.kind is 'review: an open case. golden: a golden pair. again: a decided case that is judged once more, without consequences';
comment on column assignments.user_id is 'The reviewer';
comment on column assignments.decision_id is 'The decision that is judged; null: a golden pair';
comment on column assignments.verification_id is 'The verification; null: a golden pair';
comment on column assignments.golden_id is 'The golden pair; null: a case';
comment on column assignments.claimed_at is 'When the reviewer got it';
comment on column assignments.lease_until is 'Others may get it after that; the open page renews it';
comment on column assignments.judgement is 'What the reviewer saw before anything else was shown: from 1, certainly the same person, to 5, certainly different persons; null: not judged yet';
comment on column assignments.judged_at is 'When that was said';
comment on column assignments.outcome is 'The verdict; null: not given, or undone';
comment on column assignments.reason is 'Code of the configured reason';
comment on column assignments.note is 'Sealed with the data key of the verification';
comment on column assignments.review_id is 'The review that the verdict becomes';
comment on column assignments.given_at is 'When the verdict was given';
comment on column assignments.commit_at is 'From when on a worker carries it out; until then it can be undone';
comment on column assignments.ended_at is 'When it left the reviewer''s hands; null: it is there';
comment on column assignments.ended_as is 'What became of it; decision-changed: the case was decided otherwise before the verdict was carried out';
comment on column assignments.told_at is 'When the reviewer was told that a verdict was not taken; null: not yet, or nothing to tell';

create table case_skips (
    user_id     uuid        not null,
    decision_id uuid        not null,
    skipped_at  timestamptz not null,
    until       timestamptz not null,
    primary key (user_id, decision_id)
);
comment on table case_skips is 'Cases that a reviewer does not want to get again for a while';
comment on column case_skips.user_id is 'The reviewer';
comment on column case_skips.decision_id is 'The case';
comment on column case_skips.skipped_at is 'When it was skipped';
comment on column case_skips.until is 'Until when';

create table legal_holds (
    id              uuid        primary key,
    verification_id uuid        not null,
    purpose         text        not null,
    placed_at       timestamptz not null,
    placed_by       text        not null,
    lifted_at       timestamptz,
    lifted_by       text
);
create unique index legal_holds_one on legal_holds (verification_id) where lifted_at is null;
create index legal_holds_of on legal_holds (verification_id);
comment on table legal_holds is 'Verifications that neither an erasure nor retention may touch';
comment on column legal_holds.id is 'UUIDv7';
comment on column legal_holds.verification_id is 'What is held';
comment on column legal_holds.purpose is 'Why; nothing of a person';
comment on column legal_holds.placed_at is 'Since when';
comment on column legal_holds.placed_by is 'Who placed it';
comment on column legal_holds.lifted_at is 'When it was lifted; null: it holds';
comment on column legal_holds.lifted_by is 'Who lifted it';

-- Each decision `review` opens a case, whichever statement of whichever version writes it; the next
-- decision or an erasure closes it.
do $do$
begin
    execute format($create$
        create function %1$I.verdict_open_case() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            insert into cases (decision_id, verification_id, biz_type, opened_at)
            select new.id, v.id, v.biz_type, new.decided_at
            from verifications v where v.id = new.verification_id
            on conflict do nothing;
            return null;
        end $body$;
        create function %1$I.verdict_close_case() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            update cases set closed_at = new.updated_at
            where verification_id = new.id and closed_at is null
                and (decision_id <> new.decision_id or new.state = 'erased');
            return null;
        end $body$;
    $create$, current_schema());
end $do$;
comment on function verdict_open_case() is 'Opens a case for a decision `review`';
comment on function verdict_close_case() is 'Closes the cases of a verification whose decision was replaced or that was erased';
revoke all on function verdict_open_case(), verdict_close_case() from public;

create trigger decisions_case after insert on decisions
    for each row when (new.outcome = 'review') execute function verdict_open_case();
create trigger verifications_case after update of decision_id, state on verifications
    for each row when (old.decision_id is not null
        and (new.decision_id is distinct from old.decision_id
            or new.state = 'erased' and old.state <> 'erased'))
    execute function verdict_close_case();

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000002;
