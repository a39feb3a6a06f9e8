-- A verification of face-verify that compares with the authority has a person whose number only its
-- start names: an erasure by number must find it.

alter table starts add column person bytea;
alter table starts add constraint starts_person check (octet_length(person) = 32) not valid;
comment on column starts.person is 'Blind index of the person: keyed digest of the identity number that the start named; null: it named none in clear, the person is erased, or the row is older than this column';

-- The only one of the installation's keys that the API may read, and it opens only with vault.keys.
do $do$
begin
    execute format($create$
        create function verdict_person_index_key() returns bytea
            language sql stable security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
            select wrapped from named_keys where name = 'person-index'
        $body$ $create$, current_schema());
end $do$;
comment on function verdict_person_index_key() is 'The wrapped key of the blind index of persons; null: no process has made it yet';
revoke execute on function verdict_person_index_key() from public;

-- As before, and for binaries before this one, too: the index of the start goes.
do $migration$
begin
    execute format($create$
        create or replace function %1$I.verdict_coarsen_erased(verification uuid) returns integer
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
            update %1$I.starts set person = null
            where verification_id = verification and person is not null;
            return answers;
        end $body$
    $create$, current_schema());
end $migration$;

-- Serves binaries whose newest migration is 20261124000003 or later: they leave the column alone.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000102;
