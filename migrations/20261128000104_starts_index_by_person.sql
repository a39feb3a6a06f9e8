-- no-transaction
create index concurrently starts_by_person on starts (person) where person is not null;
