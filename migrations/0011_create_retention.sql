-- What has left, and what intake has to know of it. A new table, and a column without a
-- default: the lock on saga_request is held for an instant, and waited for at most five
-- seconds, lest requests queue behind it; run it again if it is refused.

-- +goose Up
SET LOCAL lock_timeout = '5s';

CREATE TABLE retention (
    id             boolean     PRIMARY KEY DEFAULT true CHECK (id), -- one row
    removed_before timestamptz -- of requests from before it the saga may have left; null: none has
) WITH (vacuum_truncate = off);
INSERT INTO retention DEFAULT VALUES;

-- When the same request_id last arrived again, as another message, if it did. The saga
-- stays for as long after that as after the first one: otherwise that message, delivered
-- once more, would be taken for new.
ALTER TABLE saga_request ADD COLUMN repeated_at timestamptz;
