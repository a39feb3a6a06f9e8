-- A person may read the pages in light or dark, whatever the browser says.

alter table users add column theme text not null default 'auto'
    constraint users_theme check (theme in ('auto', 'light', 'dark'));
comment on column users.theme is 'Colours of the pages: light, dark, or auto, which is as the browser says';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000010;
