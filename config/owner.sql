-- Gives database and schema to their owner, who is no superuser. For a superuser, connected to the
-- database, before `verdict migrate`; may be run any number of times:
--
--   psql -v ON_ERROR_STOP=1 -f config/owner.sql
--
-- The role verdict_owner must exist: create role verdict_owner login password '…';
-- It needs no right beyond what it owns. The first versions of docker-compose.yml let a superuser
-- own the schema; its objects are handed over too.

begin;
-- A superuser can run programs on the database's machine.
alter role verdict_owner nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
select format('alter database %I owner to verdict_owner', current_database()) \gexec

select format('alter table public.%I owner to verdict_owner', relname)
from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
    and relowner <> 'verdict_owner'::regrole
order by oid \gexec

-- Those of a column follow their table.
select format('alter sequence public.%I owner to verdict_owner', relname)
from pg_class c where relnamespace = 'public'::regnamespace and relkind = 'S'
    and relowner <> 'verdict_owner'::regrole
    and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))
order by oid \gexec

select format('alter routine %s owner to verdict_owner', p.oid::regprocedure)
from pg_proc p where pronamespace = 'public'::regnamespace and proowner <> 'verdict_owner'::regrole
    and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
order by oid \gexec

select format('alter type public.%I owner to verdict_owner', typname)
from pg_type t where typnamespace = 'public'::regnamespace and typowner <> 'verdict_owner'::regrole
    and (typtype in ('e', 'd', 'r')
        or typtype = 'c' and (select relkind = 'c' from pg_class where oid = t.typrelid))
order by oid \gexec
commit;
