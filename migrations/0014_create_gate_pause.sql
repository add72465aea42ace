-- The gate's breaker and the operators' pauses. Adds columns that have defaults, which rewrites
-- nothing, and creates tables: safe at any time. Workers of the version before go by
-- closed_until alone, and so keep to outages and to paused lanes; of paused kinds they know nothing.

-- +goose Up
ALTER TABLE provider_gate
    ADD COLUMN phase         text        NOT NULL DEFAULT 'open' CHECK (phase IN ('open', 'down', 'ramp')),
    ADD COLUMN ramp          integer     NOT NULL DEFAULT 0,   -- calls in flight that the ramp allows all workers together
    ADD COLUMN probe_by      text        NOT NULL DEFAULT '',  -- who probes, until closed_until
    ADD COLUMN beneath_until timestamptz NOT NULL DEFAULT '-infinity', -- of a paused lane: what else had closed it
    ADD COLUMN beneath       text        NOT NULL DEFAULT '';

-- What operators have paused: a row for as long as it is.
CREATE TABLE gate_pause (
    what      text        NOT NULL CHECK (what IN ('lane', 'kind')),
    name      text        NOT NULL,
    actor     text        NOT NULL,
    reason    text        NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (what, name)
);

-- Who paused and resumed what, and why. Rows are only ever added.
CREATE TABLE gate_trail (
    id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    action text        NOT NULL CHECK (action IN ('pause', 'resume')),
    what   text        NOT NULL,
    name   text        NOT NULL,
    actor  text        NOT NULL,
    reason text        NOT NULL
);
