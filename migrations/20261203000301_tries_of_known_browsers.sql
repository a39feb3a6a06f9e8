-- A browser in which a person signed in before has tries of its own, and so has a session.

comment on column sign_in_failures.name is 'SHA-256 of the name that was typed, or of that and the browser or session that has tries of its own';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261203000301;
