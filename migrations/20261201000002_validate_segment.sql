-- Reads the rows of the audit beside the traffic.

alter table audit validate constraint audit_before_segment;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261201000002;
