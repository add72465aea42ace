-- What erasing somebody's data needs. Creates new tables and functions, and replaces the trigger that
-- keeps the record of what was revealed by one that lets what is personal in it be blanked: safe at any
-- time. Erase nothing before all workers are of this version: one of the version before would take an
-- erased request for a new one.

-- +goose Up
SET LOCAL lock_timeout = '5s';

-- Requests that were erased, by a keyed digest of their key, so that they are still recognised, and of
-- their meaning. It has no key to the saga: it stays for ever.
CREATE TABLE saga_erased (
    kind    text        NOT NULL,
    digest  bytea       NOT NULL,
    meaning bytea       NOT NULL,
    saga_id uuid        NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, digest)
);

-- The digests' key, sealed by the first worker that has an ENCRYPTION_KEY.
CREATE TABLE digest_key (
    id  boolean PRIMARY KEY DEFAULT true CHECK (id), -- one row
    key bytea   NOT NULL
);
INSERT INTO digest_key (key) VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Appended to, in the commit that does it. Neither reason nor actor is the place for customers' names.
CREATE TABLE privacy_action (
    id      uuid        PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    action  text        NOT NULL CHECK (action IN ('export', 'erase')),
    saga_id uuid        NOT NULL,
    actor   text        NOT NULL CHECK (actor <> ''),
    reason  text        NOT NULL CHECK (reason <> '')
);
CREATE INDEX privacy_action_saga ON privacy_action (saga_id);

-- +goose StatementBegin
CREATE FUNCTION privacy_action_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was done with personal data stays on record';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER privacy_action_is_appended_to BEFORE UPDATE OR DELETE OR TRUNCATE ON privacy_action
    FOR EACH STATEMENT EXECUTE FUNCTION privacy_action_is_appended_to();

-- +goose StatementBegin
CREATE FUNCTION reveal_is_blanked_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id = OLD.id AND NEW.at = OLD.at AND NEW.saga_id = OLD.saga_id AND NEW.actor = OLD.actor
        AND NEW.request_id = '' AND NEW.iccids = '{}' AND NEW.reason = 'erased' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what was revealed stays on record';
END
$$;
-- +goose StatementEnd
DROP TRIGGER reveal_is_appended_to ON reveal;
CREATE TRIGGER reveal_is_appended_to BEFORE DELETE OR TRUNCATE ON reveal
    FOR EACH STATEMENT EXECUTE FUNCTION reveal_is_appended_to();
CREATE TRIGGER reveal_is_blanked_only BEFORE UPDATE ON reveal
    FOR EACH ROW EXECUTE FUNCTION reveal_is_blanked_only();

-- Blanks what operators wrote about a saga that is called by a name, and is called otherwise from then on, about other things
-- and about replays of nothing else. It is for the functions below; what it is about is made by migration 22. It returns how many actions that was.
-- +goose StatementBegin
CREATE FUNCTION blank_actions(name text, otherwise text, things uuid[], its_replays uuid[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    WITH blanked AS (
        UPDATE action a SET reason = 'erased', target = CASE WHEN a.target = name THEN otherwise ELSE a.target END
        WHERE a.reason <> 'erased' AND (
            a.target IN (name, otherwise) AND a.what IN ('adopt', 'confirm_absent', 'discard_saga', 'reveal')
            OR right(a.target, 36) = ANY((things || its_replays)::text[])
            OR a.id IN (SELECT e.action_id FROM action_result e WHERE e.note IN (SELECT 'replay ' || unnest(its_replays))))
        RETURNING a.id
    )
    UPDATE action_result e SET note = '' FROM blanked WHERE e.action_id = blanked.id;
    GET DIAGNOSTICS n = ROW_COUNT;
    UPDATE replay SET reason = 'erased', filter = '{}', note = '' WHERE id = ANY(its_replays);
    RETURN n;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION blank_actions(text, text, uuid[], uuid[]) FROM PUBLIC;

-- Erases one saga, records who did and why, and returns ''; or returns why it did not. It locks out whoever accepts
-- requests for the moment that it takes: a statement that has begun to look for what was erased must not miss
-- this, and find its key free. It is the owner's: whoever works with the tables may only append to history.
-- +goose StatementBegin
CREATE FUNCTION erase_saga(erased uuid, its_digest bytea, its_meaning bytea, skeleton json, action_id uuid, who text, why_so text)
    RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    s saga;
    its_letters uuid[];
    its_findings uuid[];
    its_replays uuid[]; -- of nothing else
BEGIN
    LOCK TABLE saga IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO s FROM saga WHERE id = erased;
    IF NOT FOUND THEN
        RETURN 'it is not on record any more';
    END IF;
    its_letters := ARRAY(SELECT l.id FROM dead_letter l WHERE l.saga_id = erased OR l.kind = s.kind AND l.request_id = s.request_id);
    its_findings := ARRAY(SELECT f.id FROM audit_finding f WHERE f.saga_id = erased OR f.order_id = s.order_id);
    IF s.state NOT IN ('completed', 'discarded') THEN
        RETURN 'it is ' || s.state || ': only what has ended can be erased';
    ELSIF EXISTS (SELECT FROM saga_erased e WHERE e.saga_id = erased) THEN
        RETURN 'it was erased before';
    ELSIF EXISTS (SELECT FROM dead_letter l WHERE l.status = 'open' AND l.id = ANY(its_letters)) THEN
        RETURN 'a dead letter of it is open: resolve it first';
    ELSIF EXISTS (SELECT FROM audit_finding f WHERE f.status = 'open' AND f.id = ANY(its_findings)) THEN
        RETURN 'a finding of the audit about it is open: resolve it first';
    ELSIF EXISTS (SELECT FROM outbox o WHERE o.saga_id = erased OR o.dead_letter_id = ANY(its_letters)) THEN
        RETURN 'something of it is still to be published: try again in a moment';
    END IF;
    INSERT INTO saga_erased (kind, digest, meaning, saga_id) VALUES (s.kind, its_digest, its_meaning, erased);

    its_replays := ARRAY(
        SELECT r.id FROM replay r JOIN replay_letter l ON l.replay_id = r.id
        WHERE (l.saga_id = erased OR l.letter_id = ANY(its_letters)) AND (r.letters = 1 OR r.filter ->> 'iccid' = s.iccid));
    PERFORM blank_actions(s.request_id, erased::text, its_letters || its_findings, its_replays);
    UPDATE replay_letter SET request_id = '', why = '' WHERE saga_id = erased OR letter_id = ANY(its_letters);

    DELETE FROM dead_letter WHERE id = ANY(its_letters);
    UPDATE audit_finding SET data = '{}', why = '', advice = '', note = '' WHERE id = ANY(its_findings);
    UPDATE reveal SET request_id = '', iccids = '{}', reason = 'erased' WHERE saga_id = erased;
    UPDATE saga_history SET seen = '', reason = '' WHERE saga_id = erased;
    DELETE FROM saga_answer WHERE saga_id = erased;
    DELETE FROM saga_purchase WHERE saga_id = erased;
    IF skeleton IS NOT NULL THEN
        INSERT INTO saga_purchase (saga_id, data, wiped_at) VALUES (erased, skeleton, now());
    END IF;
    UPDATE saga_request SET headers = '{}', body = '', metadata = '{}' WHERE saga_id = erased;
    UPDATE saga SET request_id = 'erased-' || id, fingerprint = '', iccid = CASE WHEN iccid IS NOT NULL THEN 'erased' END WHERE id = erased;
    INSERT INTO privacy_action (id, action, saga_id, actor, reason) VALUES (action_id, 'erase', erased, who, why_so);
    RETURN '';
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION erase_saga(uuid, bytea, bytea, json, uuid, text, text) FROM PUBLIC;

-- Erases what bears a name, a request id or an ICCID, and has no saga: it never had one, or that has left after RETENTION. It records
-- who did and why, under no saga's id, and returns how much that was; nothing is done, and it is -1, while a dead letter of it is open.
-- +goose StatementBegin
CREATE FUNCTION erase_remains(name text, action_id uuid, who text, why_so text)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_letters uuid[];
    its_replays uuid[]; -- of nothing else
    n bigint;
    more bigint;
BEGIN
    IF name = '' OR EXISTS (SELECT FROM saga s WHERE s.kind IN ('order', 'topup') AND s.request_id = name) THEN
        RETURN 0; -- it is that one's
    END IF;
    its_letters := ARRAY(SELECT l.id FROM dead_letter l WHERE name IN (l.request_id, l.iccid) AND NOT EXISTS (SELECT FROM saga s WHERE s.id = l.saga_id));
    IF EXISTS (SELECT FROM dead_letter l WHERE l.id = ANY(its_letters) AND l.status = 'open')
        OR EXISTS (SELECT FROM outbox o WHERE o.dead_letter_id = ANY(its_letters)) THEN
        RETURN -1;
    END IF;
    its_replays := ARRAY(
        SELECT r.id FROM replay r JOIN replay_letter l ON l.replay_id = r.id
        WHERE r.state <> 'running' AND (r.filter ->> 'iccid' = name OR r.letters = 1 AND (l.request_id = name OR l.letter_id = ANY(its_letters))));
    n := blank_actions(name, 'erased', its_letters, its_replays);
    UPDATE replay_letter SET request_id = '', why = '' WHERE request_id = name OR letter_id = ANY(its_letters);
    GET DIAGNOSTICS more = ROW_COUNT;
    n := n + more;
    UPDATE reveal r SET request_id = '', iccids = '{}', reason = 'erased'
    WHERE (r.request_id = name OR name = ANY(r.iccids)) AND NOT EXISTS (SELECT FROM saga s WHERE s.id = r.saga_id);
    GET DIAGNOSTICS more = ROW_COUNT;
    n := n + more;
    DELETE FROM dead_letter WHERE id = ANY(its_letters);
    GET DIAGNOSTICS more = ROW_COUNT;
    n := n + more;
    IF n > 0 THEN
        INSERT INTO privacy_action (id, action, saga_id, actor, reason) VALUES (action_id, 'erase', '00000000-0000-0000-0000-000000000000', who, why_so);
    END IF;
    RETURN n;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION erase_remains(text, uuid, text, text) FROM PUBLIC;
