-- `results` becomes partitioned by the time in its ids. The table of before becomes its first
-- partition, `results_before`. Nothing is copied: the lock is held for some milliseconds.
--
-- The key stays the id alone. `(verification_id, attempt)` cannot stay unique, because only the key
-- of the partitions can be. Nothing needs it: one claim has each attempt, and a result is written
-- under the fence of that claim. The fault harness counts repeated attempts.

lock table results in access exclusive mode;

-- The partitions get the triggers of the partitioned table. Their names differ, so the function
-- learns the table from its argument.
do $migration$
begin
    execute format($create$
        create or replace function %1$I.verdict_only_erasure_edits() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            allowed jsonb := to_jsonb(old);
            name text := coalesce(tg_argv[0], tg_table_name);
        begin
            if exists (select from %1$I.erasures where verification_id = old.verification_id)
                and exists (select from %1$I.verifications
                    where id = old.verification_id and state = 'erased')
            then
                if name = 'results' then
                    allowed := allowed || jsonb_build_object('coarsened', true,
                        'request_id', null, 'authority_score', null, 'face_score', null,
                        'id_card_face_score', null, 'sealed_body', ''::bytea,
                        'evidence', %1$I.verdict_erased_evidence(old.evidence));
                elsif name = 'reviews' then
                    allowed := allowed || '{"note": null}';
                else
                    allowed := allowed || jsonb_build_object(
                        'reasons', %1$I.verdict_erased_reasons(old.reasons));
                end if;
                if to_jsonb(new) = allowed then
                    return new;
                end if;
            end if;
            raise exception 'rows of %% are never edited', name
                using errcode = 'restrict_violation';
        end $body$
    $create$, current_schema());
end $migration$;

-- For this migration and the next one.
create function verdict_into_months(name text, says text) returns void language plpgsql as $$
declare
    old regclass := name::regclass;
    bound uuid := coalesce(
        (select substring(pg_get_constraintdef(oid) from '[0-9a-f]{8}-[0-9a-f-]{27}')::uuid
         from pg_constraint where conrelid = old and conname = name || '_before_bound'),
        verdict_id_at(date_trunc('month', (now() + interval '45 days') at time zone 'utc')
            at time zone 'utc'));
    copied text := ' including defaults including comments including storage including compression';
    own text := (select relowner::regrole::text from pg_class where oid = old);
    each_one record;
begin
    execute format('alter table %I rename to %I', name, name || '_before');
    for each_one in
        select conname as of from pg_constraint where conrelid = old and contype = 'p'
    loop
        execute format('alter table %s rename constraint %I to %I', old, each_one.of, name || '_before_pkey');
    end loop;
    execute format('create table %I (like %s%s) partition by range (id)', name, old, copied);
    execute format('comment on table %I is %L', name, says);
    execute format('comment on table %s is %L', old,
        'The rows of ' || name || ' from before it was partitioned, and those up to the end of this partition');
    for each_one in
        select conname as of, pg_get_constraintdef(oid) as body from pg_constraint
        where conrelid = old and contype = 'c' and conname <> name || '_before_bound'
    loop
        execute format('alter table %I add constraint %I %s', name, each_one.of, each_one.body);
    end loop;
    execute format('create table %I (like %I%s including constraints)', name || '_default', name, copied);
    execute format('comment on table %I is %L', name || '_default',
        'The rows of ' || name || ' whose id is of no month that there is a partition for');

    -- Roles keep the rights that they had.
    for each_one in
        select a.privilege_type as allows, '' as part,
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
        from pg_class c, aclexplode(c.relacl) a where c.oid = old and a.grantee <> c.relowner
        union all
        select a.privilege_type, format('(%I)', t.attname),
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end
        from pg_attribute t, aclexplode(t.attacl) a where t.attrelid = old and not t.attisdropped
    loop
        execute format('grant %s %s on %I to %s', each_one.allows, each_one.part, name, each_one.grantee);
        execute format('revoke all on %s from %s', old, each_one.grantee);
    end loop;
    if own <> quote_ident(current_user) then
        execute format('alter table %I owner to %s', name, own);
        execute format('alter table %I owner to %s', name || '_default', own);
    end if;

    execute format('with moved as (delete from %s where id >= %L returning *) insert into %I select * from moved',
        old, bound, name || '_default');
    execute format('alter table %I add primary key (id)', name);
    execute format('alter table %I attach partition %s for values from (minvalue) to (%L)', name, old, bound);
    execute format('alter table %s drop constraint if exists %I', old, name || '_before_bound');
    execute format('alter table %I attach partition %I default', name, name || '_default');
end $$;

drop trigger results_append_only on results;
alter table results drop constraint results_attempt;
select verdict_into_months('results',
    'One answer of the provider, refused ones included; append-only; by the month in its id');
create index results_of on results (verification_id, attempt);
create trigger results_append_only before update on results
    for each row execute function verdict_only_erasure_edits('results');

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000014;
