-- Replays: a frozen set of dead letters that a worker releases at a rate, and what became
-- of each. Creates new tables only: safe at any time. Programs of the version before do
-- not know them, and leave them alone.

-- +goose Up
CREATE TABLE replay (
    id          uuid             PRIMARY KEY,
    actor       text             NOT NULL, -- who started it,
    reason      text             NOT NULL, -- and why
    filter      json             NOT NULL, -- what chose the letters
    rate        double precision NOT NULL CHECK (rate > 0), -- letters a second, at the most
    ramp        integer[]        NOT NULL, -- letters in its first seconds, if that is less; begun anew by whoever takes it over
    state       text             NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'aborted')),
    letters     integer          NOT NULL CHECK (letters > 0),
    done        integer          NOT NULL DEFAULT 0, -- of them; what is in none of these four still waits
    refused     integer          NOT NULL DEFAULT 0,
    failed      integer          NOT NULL DEFAULT 0,
    skipped     integer          NOT NULL DEFAULT 0,
    note        text             NOT NULL DEFAULT '', -- why it waits, or why it stopped
    worker      text             NOT NULL DEFAULT '', -- that is, or was last, at it
    created_at  timestamptz      NOT NULL DEFAULT now(),
    started_at  timestamptz,     -- when a worker took it up first
    finished_at timestamptz,
    CHECK ((state = 'running') = (finished_at IS NULL)),
    CHECK (done + refused + failed + skipped <= letters)
);
CREATE INDEX replay_open ON replay (created_at) WHERE state = 'running';
CREATE INDEX replay_created ON replay (created_at);

CREATE TABLE replay_letter (
    replay_id  uuid        NOT NULL REFERENCES replay,
    position   integer     NOT NULL, -- from 1, in the order of release
    letter_id  uuid        NOT NULL,
    saga_id    uuid,       -- null for bytes that never became a saga
    kind       text        NOT NULL, -- these are the letter's, as they were when the set was frozen
    request_id text        NOT NULL,
    package_id text        NOT NULL,
    code       text        NOT NULL,
    class      text        NOT NULL,
    purchased  text        NOT NULL,
    price      numeric,    -- of all that it asks for, null if it is not known
    currency   text        NOT NULL DEFAULT '',
    state      text        NOT NULL CHECK (state IN ('waiting', 'done', 'refused', 'failed', 'skipped')),
    moved_to   text        NOT NULL DEFAULT '', -- the saga's state, or the subject of a new request
    why        text        NOT NULL DEFAULT '', -- why it was refused, failed or was skipped
    at         timestamptz,                     -- when that was decided
    PRIMARY KEY (replay_id, position),
    CHECK ((state = 'waiting') = (at IS NULL))
);
-- A letter is in one open replay only, whoever presses at the same time.
CREATE UNIQUE INDEX replay_letter_open ON replay_letter (letter_id) WHERE state = 'waiting';
CREATE INDEX replay_letter_waiting ON replay_letter (replay_id, position) WHERE state = 'waiting';
CREATE INDEX replay_letter_letter ON replay_letter (letter_id);
