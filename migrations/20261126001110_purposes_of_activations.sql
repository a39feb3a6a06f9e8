-- Why a policy was activated, beside the activation.

alter table policy_activations add column purpose text;
comment on column policy_activations.purpose is 'Why, as the person said; null: nothing was said, or an older version wrote the row';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126001110;
