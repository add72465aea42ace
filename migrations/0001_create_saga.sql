-- The saga and what belongs to it. Creates new tables only: safe at any time.
--
-- `saga` is the one table that moves. It is narrow, and whoever polls it does so through
-- a partial index, so finished rows cost nothing to those who look for work. Request
-- bytes, provider answers and bought eSIMs are written once and live beside it.

-- +goose Up
CREATE TABLE saga (
    id              uuid        PRIMARY KEY,
    kind            text        NOT NULL CHECK (kind IN ('order', 'topup')),
    request_id      text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('pending', 'submitting', 'unknown', 'polling',
                                                          'notifying', 'completed', 'dead_lettered', 'discarded')),
    version         bigint      NOT NULL DEFAULT 1, -- bumped by every write; writes name the version they expect
    worker          uuid,                           -- who holds it, null when nobody does
    due_at          timestamptz,                    -- when it may be claimed, null when it is not a worker's to move
    deadline_at     timestamptz NOT NULL,           -- when this stage gives up

    -- what is to be bought
    reference       text        NOT NULL,           -- our token in PressOne's description
    fingerprint     text        NOT NULL,           -- the meaning of the request, to tell a duplicate from a conflict
    package_id      text        NOT NULL,
    quantity        integer     NOT NULL CHECK (quantity BETWEEN 1 AND 50),
    iccid           text        CHECK ((kind = 'topup') = (iccid IS NOT NULL)),

    -- how it is going
    attempts        integer     NOT NULL DEFAULT 0, -- submissions in all
    tries           integer     NOT NULL DEFAULT 0, -- submissions that count since it was accepted or replayed
    failures        integer     NOT NULL DEFAULT 0, -- in a row, for the back-off
    looks           integer     NOT NULL DEFAULT 0, -- complete look-ups that found nothing, since the last submission
    look_delay      interval    NOT NULL DEFAULT '0', -- between look-ups
    intent_at       timestamptz,                    -- when the last submission's intent was recorded
    intent_deadline timestamptz,                    -- what was not written to PressOne by then was not sent
    order_id        bigint,                         -- PressOne's order, once known
    stopped_in      text        NOT NULL DEFAULT '', -- while dead-lettered or discarded: the state it was in
    ends            integer     NOT NULL DEFAULT 0, -- how often it has ended; part of the events' ids

    requested_at    timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT saga_key UNIQUE (kind, request_id),
    CONSTRAINT saga_token UNIQUE (reference),
    CONSTRAINT saga_order UNIQUE (order_id), -- no order is adopted twice
    CHECK (worker IS NULL OR state IN ('pending', 'submitting', 'unknown', 'polling')),
    CHECK (state <> 'submitting' OR (worker IS NOT NULL AND intent_at IS NOT NULL AND intent_deadline IS NOT NULL)),
    CHECK (state NOT IN ('polling', 'notifying', 'completed') OR order_id IS NOT NULL)
) WITH (fillfactor = 80);

-- At most one top-up per ICCID may be in flight or unresolved: a top-up's answer does
-- not say whose it is, so two at once could not be told apart.
CREATE UNIQUE INDEX saga_topup_in_flight ON saga (iccid)
    WHERE kind = 'topup' AND state IN ('submitting', 'unknown');

-- Whose an order could be that names no ICCID.
CREATE INDEX saga_topup_unresolved ON saga (package_id)
    WHERE kind = 'topup' AND (state IN ('submitting', 'unknown') OR stopped_in = 'unknown');

CREATE INDEX saga_due ON saga (due_at)
    WHERE worker IS NULL AND state IN ('pending', 'unknown', 'polling');

CREATE INDEX saga_held ON saga (worker)
    WHERE worker IS NOT NULL;

-- What arrived, written once.
CREATE TABLE saga_request (
    saga_id  uuid  PRIMARY KEY REFERENCES saga ON DELETE CASCADE,
    subject  text  NOT NULL,
    sequence bigint NOT NULL,
    headers  json  NOT NULL,
    body     bytea NOT NULL,
    metadata bytea NOT NULL -- as it arrived: jsonb would refuse \u0000
);

-- What was bought, as PressOne describes it.
CREATE TABLE saga_purchase (
    saga_id uuid  PRIMARY KEY REFERENCES saga ON DELETE CASCADE,
    data    json  NOT NULL -- not jsonb, which refuses \u0000, and PressOne's word must be kept
);

-- Every transition, and every action of an operator.
CREATE TABLE saga_history (
    saga_id    uuid        NOT NULL REFERENCES saga ON DELETE CASCADE,
    version    bigint      NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    event      text        NOT NULL,
    from_state text,
    to_state   text        NOT NULL,
    attempt    integer     NOT NULL,
    code       text        NOT NULL DEFAULT '',
    seen       text        NOT NULL DEFAULT '',
    due_at     timestamptz,
    actor      text        NOT NULL DEFAULT '', -- an operator's name; empty for the machine
    reason     text        NOT NULL DEFAULT '',
    PRIMARY KEY (saga_id, version)
);

-- PressOne's answers to submissions, kept raw before anybody parses them: a lost answer
-- is a lost product. Written even by a worker that has lost its lease: it is evidence.
CREATE TABLE saga_answer (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga_id uuid        NOT NULL REFERENCES saga ON DELETE CASCADE,
    at      timestamptz NOT NULL DEFAULT now(),
    attempt integer     NOT NULL,
    status  integer     NOT NULL,
    body    bytea       NOT NULL
);
CREATE INDEX saga_answer_saga ON saga_answer (saga_id);

-- Who is alive: a worker holds sagas only while its lease runs.
CREATE TABLE worker (
    id         uuid        PRIMARY KEY,
    host       text        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
