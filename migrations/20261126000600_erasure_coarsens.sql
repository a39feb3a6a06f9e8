-- Erasure coarsens what is kept of the provider's answers, and nothing else edits history.

alter table results add column coarsened boolean not null default false;
comment on column results.coarsened is 'The person was erased: of the evidence only status, scene and attempts are left; the request id, scores and sealed body are gone';
comment on column results.request_id is 'The provider''s request id; null after an erasure';
comment on column results.evidence is 'What the policy sees: no personal data. The card''s days are at published edges, in rows of earlier versions exact';
comment on column results.sealed_body is 'The raw body as it came, sealed with the verification''s data key, decodable or not; empty after an erasure, because its length says something too';
comment on column decisions.reasons is 'Each with code, rule, outcome, observed values and bounds; what was observed is gone after an erasure';
comment on column shadow_decisions.reasons is 'And why; what was observed is gone after an erasure';

alter table erasures add column coarsened_at timestamptz;
comment on column erasures.coarsened_at is 'When the stored evidence was coarsened; null: a worker still has to, for an erasure by an earlier version';

create function verdict_erased_evidence(evidence jsonb) returns jsonb
    language sql immutable parallel safe
begin atomic
    select case when evidence is null then null else jsonb_build_object(
        'verify_status', evidence -> 'verify_status',
        'scores', '{"authority": null, "face": null, "id_card_face": null}'::jsonb,
        'face_quality', null, 'face_mask', null,
        'images', '{"face": false, "card_front": false, "card_back": false, "face_global": false}'::jsonb,
        'name_matches', null, 'number_matches', null,
        'card_days_left', null, 'age_years', null,
        'biz_type', evidence -> 'biz_type',
        'attempts', evidence -> 'attempts',
        'malformed', '[]'::jsonb) end;
end;
comment on function verdict_erased_evidence(jsonb) is 'What is left of evidence after an erasure, in the form that every version reads';

create function verdict_erased_reasons(reasons jsonb) returns jsonb
    language sql immutable parallel safe
begin atomic
    select coalesce(jsonb_agg(jsonb_set(reason, '{observed}', '[]'::jsonb) order by place), '[]'::jsonb)
    from jsonb_array_elements(reasons) with ordinality as each_reason (reason, place);
end;
comment on function verdict_erased_reasons(jsonb) is 'Reasons without what was observed';

-- Both run with their owner's rights or in its name, so no name in them may be looked up where
-- somebody else can put an object: pg_temp comes last, and every name has its schema.
do $migration$
begin
    execute format($create$
        create function %1$I.verdict_only_erasure_edits() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            allowed jsonb := to_jsonb(old);
        begin
            if exists (select from %1$I.erasures where verification_id = old.verification_id)
                and exists (select from %1$I.verifications
                    where id = old.verification_id and state = 'erased')
            then
                if tg_table_name = 'results' then
                    allowed := allowed || jsonb_build_object('coarsened', true,
                        'request_id', null, 'authority_score', null, 'face_score', null,
                        'id_card_face_score', null, 'sealed_body', ''::bytea,
                        'evidence', %1$I.verdict_erased_evidence(old.evidence));
                elsif tg_table_name = 'reviews' then
                    allowed := allowed || '{"note": null}';
                else
                    allowed := allowed || jsonb_build_object(
                        'reasons', %1$I.verdict_erased_reasons(old.reasons));
                end if;
                if to_jsonb(new) = allowed then
                    return new;
                end if;
            end if;
            raise exception 'rows of %% are never edited', tg_table_name
                using errcode = 'restrict_violation';
        end $body$
    $create$, current_schema());

    execute format($create$
        create function %1$I.verdict_coarsen_erased(verification uuid) returns integer
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            answers integer;
        begin
            if not exists (select from %1$I.erasures where verification_id = verification)
                or not exists (select from %1$I.verifications
                    where id = verification and state = 'erased')
            then
                raise exception 'only what was erased is coarsened' using errcode = 'restrict_violation';
            end if;
            update %1$I.results
            set request_id = null, authority_score = null, face_score = null,
                id_card_face_score = null, sealed_body = '', coarsened = true,
                evidence = %1$I.verdict_erased_evidence(evidence)
            where verification_id = verification and not coarsened;
            get diagnostics answers = row_count;
            update %1$I.shadow_decisions
            set reasons = %1$I.verdict_erased_reasons(reasons)
            where decision_id = any (array(
                    select id from %1$I.decisions where verification_id = verification))
                and reasons is distinct from %1$I.verdict_erased_reasons(reasons);
            update %1$I.decisions
            set reasons = %1$I.verdict_erased_reasons(reasons)
            where verification_id = verification
                and reasons is distinct from %1$I.verdict_erased_reasons(reasons);
            update %1$I.reviews set note = null
            where verification_id = verification and note is not null;
            -- Their objects are deleted by a worker, which deletes the rows too.
            update %1$I.images
            set person = null, content_type = null, bytes = null,
                sha256 = case when sha256 is not null then ''::bytea end
            where verification_id = verification
                and (person is not null or bytes is not null or sha256 <> '');
            return answers;
        end $body$
    $create$, current_schema());

    execute format($create$
        create function %1$I.verdict_coarsened_is_true() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            if new.coarsened_at is not null and exists (
                select from %1$I.results
                where verification_id = new.verification_id and not coarsened)
            then
                raise exception 'a receipt cannot say that answers were coarsened which were not'
                    using errcode = 'restrict_violation';
            end if;
            return null;
        end $body$
    $create$, current_schema());
end $migration$;
comment on function verdict_only_erasure_edits() is 'Refuses edits of history except the one that verdict_coarsen_erased makes';
comment on function verdict_coarsen_erased(uuid) is 'Coarsens what is kept of the answers and decisions about an erased verification; answers how many answers';
comment on function verdict_coarsened_is_true() is 'Refuses a receipt for coarsening that did not happen';
revoke execute on function verdict_coarsen_erased(uuid) from public;
revoke execute on function verdict_only_erasure_edits() from public;
revoke execute on function verdict_coarsened_is_true() from public;

create or replace trigger results_append_only before update on results
    for each row execute function verdict_only_erasure_edits();
create or replace trigger decisions_append_only before update on decisions
    for each row execute function verdict_only_erasure_edits();
create or replace trigger shadow_decisions_append_only before update on shadow_decisions
    for each row execute function verdict_only_erasure_edits();
create or replace trigger reviews_append_only before update on reviews
    for each row execute function verdict_only_erasure_edits();
create trigger erasures_coarsened after update of coarsened_at on erasures
    for each row when (new.coarsened_at is distinct from old.coarsened_at)
    execute function verdict_coarsened_is_true();

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000600;
