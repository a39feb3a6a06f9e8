-- A worker commits the verdicts of users, and can invent none: a review by a user is what that user
-- has given. Only roles that take calls of API keys add reviews by keys.

do $do$
begin
    execute format($create$
        create function %1$I.verdict_review_was_given() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage')
            then
                return null;
            end if;
            if new.reviewer like 'user:%%' then
                if exists (select from %1$I.assignments
                    where verification_id = new.verification_id and decision_id = new.about
                        and review_id = new.id and 'user:' || user_id = new.reviewer
                        and outcome = new.outcome and reason = new.reason and ended_at is null)
                then
                    return null;
                end if;
                raise exception 'a user has given no such review'
                    using errcode = 'restrict_violation';
            end if;
            if not has_any_column_privilege(current_user, '%1$I.proposals', 'insert') then
                raise exception 'this role adds reviews of users only'
                    using errcode = 'restrict_violation';
            end if;
            return null;
        end $body$
    $create$, current_schema());
end $do$;
comment on function verdict_review_was_given() is 'Refuses a review by a user who has not given it, and reviews by keys from roles that take no calls';
revoke all on function verdict_review_was_given() from public;
create trigger reviews_were_given after insert on reviews
    for each row execute function verdict_review_was_given();

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000024;
