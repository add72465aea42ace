-- The audit of PressOne's books against ours: its runs, and what they found. Creates new
-- tables only: safe at any time.

-- +goose Up
CREATE TABLE audit_run (
    id           uuid        PRIMARY KEY,
    from_day     date        NOT NULL,
    to_day       date        NOT NULL, -- both days are included
    next_day     date        NOT NULL, -- what is read next: a run goes on where it was interrupted
    state        text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    requested_by text        NOT NULL DEFAULT '', -- an operator's name; empty: it was time for one
    orders       bigint      NOT NULL DEFAULT 0,  -- that PressOne listed
    paired       bigint      NOT NULL DEFAULT 0,  -- of them: with the saga that owns them
    free         bigint      NOT NULL DEFAULT 0,  -- of them: failed or refunded
    unsettled    bigint      NOT NULL DEFAULT 0,  -- of them: of sagas that are about to find them
    trouble      text        NOT NULL DEFAULT '', -- why it waits or has failed
    started_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CHECK (from_day <= to_day),
    CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE INDEX audit_run_started ON audit_run (started_at);
CREATE INDEX audit_run_open ON audit_run (started_at) WHERE state = 'running';

CREATE TABLE audit_finding (
    id          uuid        PRIMARY KEY,
    finding     text        NOT NULL CHECK (finding IN ('orphan', 'double', 'phantom')),
    order_id    bigint      NOT NULL, -- PressOne's
    saga_id     uuid,                 -- whose it is, or seems to be
    data        json        NOT NULL, -- what PressOne says of the order, without eSIMs
    why         text        NOT NULL,
    advice      text        NOT NULL,
    run_id      uuid        NOT NULL, -- the last run that saw it
    status      text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'adopted', 'settled', 'dismissed')),
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    actor       text        NOT NULL DEFAULT '', -- who dismissed it,
    note        text        NOT NULL DEFAULT '', -- and why
    CONSTRAINT audit_finding_once UNIQUE (order_id, finding),
    CHECK ((status = 'open') = (resolved_at IS NULL))
);
CREATE INDEX audit_finding_open ON audit_finding (first_seen) WHERE status = 'open';
CREATE INDEX audit_finding_run ON audit_finding (run_id);
