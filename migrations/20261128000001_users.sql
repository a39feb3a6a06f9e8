-- People who work in the console: who they are, how they sign in, and where they are signed in.

create table users (
    id              uuid        primary key,
    name            text        not null unique check (char_length(name) between 1 and 64),
    language        text        not null check (language in ('zh', 'en')),
    time_zone       text        not null,
    scopes          text[]      not null,
    scenes          text[],
    created_at      timestamptz not null,
    disabled_at     timestamptz,
    password        text,
    totp_secret     bytea,
    totp_last_step  bigint,
    oidc_issuer     text,
    oidc_subject    text,
    constraint users_oidc check ((oidc_issuer is null) = (oidc_subject is null))
);
create unique index users_by_oidc_subject on users (oidc_issuer, oidc_subject)
    where oidc_subject is not null;
comment on table users is 'People who may sign in to the console';
comment on column users.id is 'UUIDv7; in the audit and in reviews it stands as user:<id>';
comment on column users.name is 'Name, one for each person: the person of an API key with the same name is the same pair of eyes';
comment on column users.language is 'Language of the pages';
comment on column users.time_zone is 'IANA time zone of the times on the pages';
comment on column users.scopes is 'What the person may do';
comment on column users.scenes is 'The only scenes (biz_type) the person reaches; null: every scene';
comment on column users.created_at is 'When the user was added';
comment on column users.disabled_at is 'The person cannot sign in since then; null: may sign in';
comment on column users.password is 'Argon2id digest of the password, in PHC form; null: none, or not chosen yet';
comment on column users.totp_secret is 'Secret of the one-time codes, sealed; null: no second factor';
comment on column users.totp_last_step is 'Time step of the newest code that was taken: no code counts twice; null: none was';
comment on column users.oidc_issuer is 'Who identifies the person; null: nobody else does';
comment on column users.oidc_subject is 'The identifier of the person there';

create table user_invitations (
    digest      bytea       primary key check (octet_length(digest) = 32),
    user_id     uuid        not null,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    used_at     timestamptz
);
create index user_invitations_of on user_invitations (user_id);
comment on table user_invitations is 'Links that let a person choose how to sign in, each once';
comment on column user_invitations.digest is 'SHA-256 of the token in the link';
comment on column user_invitations.user_id is 'Who is invited';
comment on column user_invitations.created_at is 'When it was made';
comment on column user_invitations.expires_at is 'It works until then';
comment on column user_invitations.used_at is 'When it was used, or replaced by a newer one; null: it works';

create table user_sessions (
    digest          bytea       primary key check (octet_length(digest) = 32),
    id              uuid        not null unique,
    user_id         uuid        not null,
    method          text        not null check (method in ('password', 'oidc', 'demo')),
    browser         text        not null,
    created_at      timestamptz not null,
    confirmed_at    timestamptz not null,
    seen_at         timestamptz not null,
    ends_at         timestamptz not null,
    ended_at        timestamptz
);
create index user_sessions_of on user_sessions (user_id) where ended_at is null;
create index user_sessions_by_end on user_sessions (ends_at);
comment on table user_sessions is 'Where people are or were signed in';
comment on column user_sessions.digest is 'SHA-256 of the token in the cookie';
comment on column user_sessions.id is 'Names the session to the person, so that it can be ended';
comment on column user_sessions.user_id is 'Who is signed in';
comment on column user_sessions.method is 'How the person signed in';
comment on column user_sessions.browser is 'What the browser said it is, shortened';
comment on column user_sessions.created_at is 'When the person signed in';
comment on column user_sessions.confirmed_at is 'When the person last proved who it is: some actions need that to be recent';
comment on column user_sessions.seen_at is 'Last request, to a minute';
comment on column user_sessions.ends_at is 'The latest end';
comment on column user_sessions.ended_at is 'When it was ended; null: not yet';

create table sign_in_failures (
    name        bytea       primary key check (octet_length(name) = 32),
    failures    integer     not null,
    next_at     timestamptz not null,
    failed_at   timestamptz not null
);
comment on table sign_in_failures is 'Names with failed tries to sign in, known or not: the next try has to wait';
comment on column sign_in_failures.name is 'SHA-256 of the name that was typed';
comment on column sign_in_failures.failures is 'Failures since the last success';
comment on column sign_in_failures.next_at is 'No try counts before that';
comment on column sign_in_failures.failed_at is 'The newest failure';

-- A person votes with an API key or as a user.
alter table proposals add column user_id uuid;
comment on column proposals.user_id is 'The user who proposed it in the console; null: an API key did';
alter table proposals alter column key_id drop not null;
comment on column proposals.key_id is 'The API key that proposed it: once revoked or expired, its proposals do not count. Null: a user did';
alter table proposals add column seconded_user uuid;
comment on column proposals.seconded_user is 'The user who carried it out in the console; null: it waits, lapsed, or an API key did';
alter table proposals add constraint proposals_proposed_by
    check (num_nonnulls(key_id, user_id) = 1) not valid;
alter table proposals validate constraint proposals_proposed_by;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000001;
