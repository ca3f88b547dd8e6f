-- Who wrote a record last, and why: the release that comes of it is theirs.
ALTER TABLE record ADD COLUMN updated_by text NOT NULL DEFAULT '';
ALTER TABLE record ADD COLUMN reason     text NOT NULL DEFAULT '';
UPDATE record SET updated_by = created_by;

-- The last Rollout of each application that was deleted: what it leaves behind is a release too.
CREATE TABLE rollout_removal (
    namespace        text   COLLATE "C" NOT NULL,
    application      text   COLLATE "C" NOT NULL,
    -- Orders it among the writes of records.
    resource_version bigint NOT NULL DEFAULT nextval('resource_version'),
    removed_by       text   NOT NULL,
    reason           text   NOT NULL,
    PRIMARY KEY (namespace, application)
);

-- SHA-256 of the public key that used the token last: the same key may ask again for the answer
-- that it lost.
ALTER TABLE join_token ADD COLUMN used_by_key bytea CHECK (octet_length(used_by_key) = 32);

-- How far the agent's clock is ahead of the hub's, as last heard; negative = behind, NULL = unknown.
ALTER TABLE cluster ADD COLUMN clock_ahead_ms bigint;

-- Who took the cluster's identity away, and why; NULL = nobody did, or it was before this was kept.
ALTER TABLE cluster ADD COLUMN revoked_by        text;
ALTER TABLE cluster ADD COLUMN revocation_reason text;
