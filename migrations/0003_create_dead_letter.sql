-- Dead letters, one row per stop, and what operators did. Creates new tables only: safe
-- at any time.

-- +goose Up
CREATE TABLE dead_letter (
    id          uuid        PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('order', 'topup')),
    saga_id     uuid,       -- null for bytes that never became a saga
    request_id  text        NOT NULL DEFAULT '',
    package_id  text        NOT NULL DEFAULT '',
    iccid       text        NOT NULL DEFAULT '',
    code        text        NOT NULL,
    class       text        NOT NULL,
    reason      text        NOT NULL,
    state       text        NOT NULL DEFAULT '', -- where the saga stopped
    attempts    integer     NOT NULL DEFAULT 0,
    purchased   text        NOT NULL CHECK (purchased IN ('no', 'yes', 'unknown')),
    replayable  boolean     NOT NULL,
    subject     text        NOT NULL, -- where the request came from
    sequence    bigint      NOT NULL,
    headers     json        NOT NULL, -- not jsonb, which refuses \u0000
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    status      text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'adopted', 'confirmed_absent', 'discarded')),
    resolved_at timestamptz,
    actor       text        NOT NULL DEFAULT '', -- who resolved it, and why
    note        text        NOT NULL DEFAULT '',
    dlq_sequence bigint,    -- of the copy on ESIM_DLQ, once it is there
    CHECK ((status = 'open') = (resolved_at IS NULL))
);
CREATE UNIQUE INDEX dead_letter_open_saga ON dead_letter (saga_id) WHERE status = 'open';
CREATE INDEX dead_letter_open ON dead_letter (created_at) WHERE status = 'open';
