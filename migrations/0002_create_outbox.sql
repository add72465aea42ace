-- The outbox, and the lease that makes one publisher active. Creates new tables only:
-- safe at any time.

-- +goose Up
CREATE TABLE outbox (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op             text        NOT NULL CHECK (op IN ('publish', 'forget')),
    subject        text        NOT NULL,
    message_id     text        NOT NULL, -- Nats-Msg-Id, stable across retries
    headers        json        NOT NULL DEFAULT '{}',
    body           bytea       NOT NULL DEFAULT '',
    saga_id        uuid,       -- the saga that this message completes, if it does
    dead_letter_id uuid,       -- the letter that this message copies or forgets, if it does
    failures       integer     NOT NULL DEFAULT 0,
    next_at        timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now()
);
-- It is emptied as fast as it is filled: vacuum by count, not by share of a table that is
-- usually empty.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- A lease that one process holds and others wait for. A row, not a session lock: a
-- connection pooler may stand between.
CREATE TABLE lease (
    name       text        PRIMARY KEY,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL
);
