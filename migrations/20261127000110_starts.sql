-- Starts of verifications whose call is billed and not idempotent. A row is committed before the
-- provider is called, so that no order number is ever started twice by our doing.

create table starts (
    verification_id uuid primary key,
    parameters      bytea not null,
    callback_token  bytea check (octet_length(callback_token) = 32),
    call_token      uuid,
    asked_at        timestamptz,
    expires_at      timestamptz not null,
    answered_at     timestamptz,
    answer          bytea,
    refused_code    text check (length(refused_code) between 1 and 128),
    constraint starts_asked check ((call_token is null) = (asked_at is null)),
    constraint starts_answered check (
        (answered_at is not null) = (answer is not null or refused_code is not null)
        and (answer is null or refused_code is null)
        and (answered_at is null or asked_at is not null))
);
comment on table starts is 'Verifications that were started here and must not be started twice';
comment on column starts.verification_id is 'The verification';
comment on column starts.parameters is 'SHA-256 of the parameters, sealed with the data key: an erasure makes it unreadable. It tells a repeated request from another one';
comment on column starts.callback_token is 'SHA-256 of the random token that the provider sends back with its callback; null: none was asked for';
comment on column starts.call_token is 'The call of the provider: who makes it also holds the lease of the verification under this token. Null: nothing was sent, the provider may be called';
comment on column starts.asked_at is 'When the call was begun; null: nothing was sent';
comment on column starts.expires_at is 'When the provider''s id of the verification has lived out its time';
comment on column starts.answered_at is 'When the provider had answered; null: it has not, or the answer was lost';
comment on column starts.answer is 'The provider''s id and page of the verification, sealed with the data key';
comment on column starts.refused_code is 'The provider''s code, if it refused the start for good';

update schema_floor set oldest_served = 20261124000003, said_by = 20261127000110;
