-- Places for what is encrypted. No column here has a default and no table is rewritten: each
-- lock is held for an instant, and waited for at most five seconds; run it again if it is refused.
--
-- Programs of the version before run on. A purchase or an answer that is sealed they take for one
-- that they do not know, and ask PressOne again. A message that is sealed has no next_at, so that
-- they never see it: a publisher of theirs leaves it to one of this version, and publishes no
-- ciphertext.

-- +goose Up
SET LOCAL lock_timeout = '5s';

ALTER TABLE saga_purchase ADD COLUMN sealed bytea;      -- instead of data; where both are there, data is the newer
ALTER TABLE saga_purchase ADD COLUMN wiped_at timestamptz; -- when its activation codes were removed
ALTER TABLE saga_purchase ALTER COLUMN data DROP NOT NULL;

-- When a sealed message is to be published; it is null for all others, and next_at is not.
ALTER TABLE outbox ADD COLUMN sealed_next_at timestamptz;
ALTER TABLE outbox ALTER COLUMN next_at DROP NOT NULL;
