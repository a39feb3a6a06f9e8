-- Follow-up work, the images of results, and erasure that reaches into the object store.

create table tasks (
    id              uuid        primary key,
    kind            text        not null check (kind in ('archive', 'delete-images')),
    verification_id uuid        not null,
    links           bytea,
    person          bytea,
    minted          integer     not null default 0,
    asked_again_at  timestamptz,
    created_at      timestamptz not null,
    deadline        timestamptz not null,
    due_at          timestamptz not null,
    failures        integer     not null default 0,
    attempts        integer     not null default 0,
    lease_token     uuid,
    lease_until     timestamptz
) with (fillfactor = 80);
alter table tasks alter column links set storage external;
create index tasks_due on tasks (due_at);
create index tasks_of on tasks (verification_id);
comment on table tasks is 'Follow-up work, leased and fenced like verifications; a row goes when its work is done';
comment on column tasks.id is 'archive: the result; delete-images: the verification';
comment on column tasks.kind is 'archive: fetch and keep the images of one result; delete-images: remove all of a verification from the object store';
comment on column tasks.verification_id is 'Whose';
comment on column tasks.links is 'Where the images are: a JSON document sealed with the verification''s data key';
comment on column tasks.person is 'Blind index of the person, for the count of persons whose faces are kept';
comment on column tasks.minted is 'How many times the provider was asked again because links had died';
comment on column tasks.asked_again_at is 'When it was asked again for this task: what comes of that has a task of its own';
comment on column tasks.created_at is 'When the work arose, by the database''s clock';
comment on column tasks.deadline is 'Until then the links live; nearest first';
comment on column tasks.due_at is 'Not before';
comment on column tasks.failures is 'Failed tries in a row';
comment on column tasks.attempts is 'How many times it was taken up';
comment on column tasks.lease_token is 'Fencing token of who works on it';
comment on column tasks.lease_until is 'Until then it is somebody''s';

create table images (
    result_id       uuid        not null,
    kind            text        not null,
    verification_id uuid        not null,
    state           text        not null check (state in ('archived', 'digest', 'lost')),
    reason          text,
    settled_at      timestamptz not null,
    content_type    text,
    bytes           integer,
    sha256          bytea,
    person          bytea,
    primary key (result_id, kind),
    check ((state = 'lost') = (sha256 is null))
);
create index images_of on images (verification_id);
create index images_by_age on images (settled_at);
create index images_by_person on images (person) where person is not null;
comment on table images is 'What became of one image of one result';
comment on column images.result_id is 'The answer that had the link';
comment on column images.kind is 'face, face-global, card-front, card-back, video-1 …';
comment on column images.verification_id is 'Whose';
comment on column images.state is 'archived: sealed in the object store; digest: looked at and let go; lost: could not be had';
comment on column images.reason is 'Why it was lost';
comment on column images.settled_at is 'Since when it is so';
comment on column images.content_type is 'By its first bytes';
comment on column images.bytes is 'Length in the clear';
comment on column images.sha256 is 'Of the bytes in the clear';
comment on column images.person is 'Whose face is kept: blind index of the person, or the verification where there is no number; null where no face is kept';

alter table erasures
    add column unreadable_at timestamptz,
    add column images integer not null default 0;
comment on column erasures.unreadable_at is 'When the keys were destroyed: from then on nothing can be read, wherever ciphertext is left';
comment on column erasures.completed_at is 'When everything was destroyed, objects included; null: a worker still has to';
comment on column erasures.images is 'Objects deleted from the object store';
