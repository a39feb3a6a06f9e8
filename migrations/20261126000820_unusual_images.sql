-- Images that are not plainly one image are kept with the reasons, and served as attachments.

alter table images add column unusual text[];
comment on column images.unusual is 'Why it may be more, or less, than an image: codes (docs/images.md); null: it is one image and nothing else, or was kept before this was noted';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000820;
