-- Policies by scene, shadows, and work over the whole history.

alter table policy_activations
    alter column digest drop not null,
    add column kind text not null default 'active' check (kind in ('active', 'shadow')),
    add column biz_type text not null default '';
alter table policy_activations add constraint policy_activations_something_decides
    check (digest is not null or kind = 'shadow' or biz_type <> '');
create index policy_activations_newest on policy_activations (kind, biz_type, id);
comment on table policy_activations is 'Which policy was active, and which ran beside it, when: the newest row of a kind and scene counts; append-only';
comment on column policy_activations.digest is 'The policy; null: none from here on';
comment on column policy_activations.kind is 'active: it decides; shadow: it decides beside, for comparison';
comment on column policy_activations.biz_type is 'For this scene; empty: for all that have none of their own';

create table shadow_decisions (
    decision_id     uuid        primary key,
    verification_id uuid        not null,
    policy_digest   text        not null,
    active_digest   text        not null,
    active_outcome  text        not null,
    outcome         text        not null,
    reasons         jsonb       not null,
    decided_at      timestamptz not null
);
create index shadow_decisions_of on shadow_decisions (policy_digest, active_outcome, outcome);
comment on table shadow_decisions is 'What a policy in shadow made of an answer, beside the decision that counts; append-only';
comment on column shadow_decisions.decision_id is 'The decision that counts';
comment on column shadow_decisions.verification_id is 'What was decided about';
comment on column shadow_decisions.policy_digest is 'The policy in shadow';
comment on column shadow_decisions.active_digest is 'The policy that decided';
comment on column shadow_decisions.active_outcome is 'What it decided';
comment on column shadow_decisions.outcome is 'What the shadow would have decided';
comment on column shadow_decisions.reasons is 'And why';
comment on column shadow_decisions.decided_at is 'When';
create trigger shadow_decisions_append_only before update on shadow_decisions
    for each row execute function verdict_append_only();

alter table tasks drop constraint tasks_kind_check;
alter table tasks add constraint tasks_kind_check check (kind in ('archive', 'delete-images', 'backtest'));
comment on column tasks.id is 'archive: the result; delete-images: the verification; backtest: its id';
comment on column tasks.kind is 'archive: fetch and keep the images of one result; delete-images: remove all of a verification from the object store; backtest: go on with one';
comment on column tasks.verification_id is 'Whose; of a backtest its own id';

create table backtests (
    id         uuid        primary key,
    digest     text        not null,
    since      timestamptz,
    biz_type   text,
    asked_by   text        not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    state      text        not null check (state in ('running', 'done', 'failed')),
    after      uuid        not null,
    comparison jsonb       not null
);
comment on table backtests is 'A policy tried on the decisions of the past';
comment on column backtests.id is 'UUIDv7';
comment on column backtests.digest is 'The policy tried';
comment on column backtests.since is 'Only decisions since then; null: all';
comment on column backtests.biz_type is 'Only this scene; null: all';
comment on column backtests.asked_by is 'By whom, as in the audit';
comment on column backtests.created_at is 'When it was asked for';
comment on column backtests.updated_at is 'When it last went on';
comment on column backtests.state is 'running, done, failed';
comment on column backtests.after is 'How far it has come: the last decision seen';
comment on column backtests.comparison is 'What came of it so far';
