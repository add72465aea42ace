-- When each table is vacuumed. By default that is when a fifth of its rows are dead, or new:
-- of tens of millions, too late and all at once. So here it goes by count. Changing it
-- stops neither readers nor writers (SHARE UPDATE EXCLUSIVE): safe at any time.

-- +goose Up

-- Every update of a saga moves it between partial indexes, so none is a HOT update, and each
-- leaves an index entry behind that whoever polls has to step over. There are about four
-- updates to a saga: this is once for some 12,000 sagas, or a minute, whichever is longer.
-- It stays cheap in a large table: pages that have not changed are skipped, and so are
-- the indexes until a fiftieth of the pages hold something dead. fillfactor stays 80: room for
-- the next version on the same page saves a twentieth of the WAL, and costs next to no space.
ALTER TABLE saga SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 500000
);

-- Written once, read seldom, and deleted after RETENTION: what dies does
-- so by retention's hand, in the order in which it was written. They are vacuumed every so
-- many new rows and frozen right then, while the pages are at hand. Otherwise nothing would be
-- frozen before the whole of a table that is mostly these had to be read and rewritten at once
-- against the wraparound of transaction ids, which some hundred sagas a second bring about
-- twice a week.
ALTER TABLE saga_history SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000, autovacuum_freeze_min_age = 0
);
ALTER TABLE saga_request SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000, autovacuum_freeze_min_age = 0
);
ALTER TABLE saga_answer SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000, autovacuum_freeze_min_age = 0
);
-- Those of orders that PressOne's answer does not describe are rewritten as their eSIMs are
-- confirmed. Room for HOT updates (fillfactor 50) would double what all leave behind: not
-- worth it. As they may change, they are not frozen at once.
ALTER TABLE saga_purchase SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000
);

-- A queue: it is emptied as fast as it is filled, so its end is always free, and vacuum would
-- cut it off every time. For that it takes ACCESS EXCLUSIVE, and everybody who has a result
-- to write waits, only for the file to grow again. So it keeps its size. What is larger than 2 kB
-- (orders of many eSIMs, letters) is in its TOAST table, which is a queue just the same.
-- VACUUM FULL, or VACUUM (TRUNCATE), gives back what a long outage of NATS has left.
ALTER TABLE outbox SET (
    vacuum_truncate = off,
    toast.vacuum_truncate = off, toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000
);

-- A handful of rows, renewed every few seconds by every process, always HOT: the page has
-- room enough as it is (a lower fillfactor changes nothing), and is pruned as it is read. Only
-- behind a transaction that stays open for hours do they grow; when that is over, vacuum may
-- have their pages but must not lock out whoever renews a lease to give them back.
ALTER TABLE worker SET (vacuum_truncate = off);
ALTER TABLE lease SET (vacuum_truncate = off);
ALTER TABLE provider_token SET (vacuum_truncate = off);
ALTER TABLE provider_gate SET (vacuum_truncate = off);

-- dead_letter, audit_run and audit_finding: the defaults serve. They are small, and most of
-- their rows never change.
