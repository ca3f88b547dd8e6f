-- What each cluster shall hold, what it holds, and what it said.

-- Content-addressed: SHA-256 of the uncompressed content. zstd inside, sealed where it holds a Secret.
CREATE TABLE blob (
    digest        bytea   PRIMARY KEY CHECK (octet_length(digest) = 32),
    size          bigint  NOT NULL,
    bytes         bytea   NOT NULL,
    encrypted     boolean NOT NULL,
    created_at_ms bigint  NOT NULL
);
ALTER TABLE blob ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- One narrow row a cluster; its row lock makes generation order equal commit order.
CREATE TABLE cluster_sync (
    cluster         uuid   PRIMARY KEY REFERENCES cluster ON DELETE CASCADE,
    target_gen      bigint NOT NULL DEFAULT 0,
    target_root     bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    tx              xid8   NOT NULL DEFAULT pg_current_xact_id(),
    acked_gen       bigint NOT NULL DEFAULT 0,
    acked_root      bytea,
    applied_gen     bigint NOT NULL DEFAULT 0,
    session_epoch   bigint NOT NULL DEFAULT 0,
    replica         uuid,
    last_seen_at_ms bigint
) WITH (fillfactor = 70);
CREATE INDEX cluster_sync_tx ON cluster_sync (tx);

CREATE TABLE desired (
    cluster uuid   NOT NULL REFERENCES cluster ON DELETE CASCADE,
    key     text   COLLATE "C" NOT NULL,
    -- NULL = tombstone, kept while the cluster is registered.
    digest  bytea  REFERENCES blob,
    gen     bigint NOT NULL,
    origin  text   NOT NULL,
    PRIMARY KEY (cluster, key)
);
CREATE INDEX desired_gen ON desired (cluster, gen);
CREATE INDEX desired_digest ON desired (digest);

-- Latest value of each unit.
CREATE TABLE status (
    cluster        uuid   NOT NULL REFERENCES cluster ON DELETE CASCADE,
    key            text   COLLATE "C" NOT NULL,
    epoch          bigint NOT NULL,
    seq            bigint NOT NULL,
    detail         jsonb  NOT NULL,
    received_at_ms bigint NOT NULL,
    tx             xid8   NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (cluster, key)
) WITH (fillfactor = 80);
CREATE INDEX status_key ON status (key);
CREATE INDEX status_tx ON status (tx);

CREATE TABLE event (
    id             bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    cluster        uuid   NOT NULL,
    cluster_name   text   NOT NULL,
    key            text   COLLATE "C" NOT NULL,
    seq            bigint NOT NULL,
    run            uuid   NOT NULL,
    attempt        int    NOT NULL,
    at_ms          bigint NOT NULL,
    severity       text   NOT NULL CHECK (severity IN ('Info', 'Warn', 'Error')),
    reason         text   NOT NULL,
    message        text   NOT NULL,
    object         jsonb,
    received_at_ms bigint NOT NULL,
    PRIMARY KEY (cluster, key, seq)
);
CREATE INDEX event_run ON event (run, id);
CREATE INDEX event_key ON event (key, id);
CREATE INDEX event_cluster ON event (cluster, id);
CREATE INDEX event_received ON event (received_at_ms);

CREATE TABLE replica_lease (
    replica       uuid   PRIMARY KEY,
    renewed_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL
);

CREATE TABLE shard_lease (
    shard         smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 127),
    owner         uuid,
    epoch         bigint NOT NULL DEFAULT 0,
    expires_at_ms bigint NOT NULL DEFAULT 0
);
INSERT INTO shard_lease (shard) SELECT generate_series(0, 127);
CREATE INDEX desired_key ON desired (key) WHERE digest IS NOT NULL;
