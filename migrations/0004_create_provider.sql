-- What the workers share about PressOne: the access token and the gate. Creates new
-- tables only: safe at any time.

-- +goose Up
CREATE TABLE provider_token (
    id               boolean     PRIMARY KEY DEFAULT true CHECK (id), -- one row
    version          bigint      NOT NULL DEFAULT 0, -- bumped by every refresh
    ciphertext       bytea,                          -- null until the first token, and after it was rejected
    expires_at       timestamptz,
    refreshing_by    text        NOT NULL DEFAULT '', -- a lease on the refresh
    refreshing_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO provider_token DEFAULT VALUES;

CREATE TABLE provider_gate (
    lane         text        PRIMARY KEY CHECK (lane IN ('token', 'write', 'read')),
    closed_until timestamptz NOT NULL DEFAULT '-infinity',
    reason       text        NOT NULL DEFAULT '',
    failures     integer     NOT NULL DEFAULT 0, -- authorization failures in a row
    updated_at   timestamptz NOT NULL DEFAULT now()
);
INSERT INTO provider_gate (lane) VALUES ('token'), ('write'), ('read');
