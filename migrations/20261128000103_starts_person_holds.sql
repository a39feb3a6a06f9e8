alter table starts validate constraint starts_person;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000103;
