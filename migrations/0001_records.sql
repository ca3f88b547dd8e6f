-- The installation itself, what users wrote, and who may speak.
-- Times are milliseconds since the epoch. Keys sort by bytes, as they do in the hub and the agents.

CREATE TABLE hub_meta (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    installation    uuid   NOT NULL,
    -- Rises whenever history may have been lost; orders generations across restores.
    incarnation     bigint NOT NULL,
    trust_domain    text   NOT NULL,
    created_at_ms   bigint NOT NULL
);

CREATE SEQUENCE resource_version;

CREATE TABLE record (
    kind             text   NOT NULL CHECK (kind IN ('Fleet', 'Application', 'Rollout')),
    namespace        text   COLLATE "C" NOT NULL,
    name             text   COLLATE "C" NOT NULL,
    uid              uuid   NOT NULL UNIQUE,
    generation       bigint NOT NULL,
    resource_version bigint NOT NULL DEFAULT nextval('resource_version'),
    labels           jsonb  NOT NULL,
    annotations      jsonb  NOT NULL,
    -- Exactly one of the two: a spec that holds a Secret is sealed.
    spec             jsonb,
    sealed_spec      bytea,
    created_at_ms    bigint NOT NULL,
    updated_at_ms    bigint NOT NULL,
    created_by       text   NOT NULL,
    PRIMARY KEY (kind, namespace, name),
    CHECK ((kind = 'Fleet') = (namespace = '')),
    CHECK ((spec IS NULL) <> (sealed_spec IS NULL))
);

CREATE TABLE cluster (
    id                   uuid   PRIMARY KEY,
    name                 text   COLLATE "C" NOT NULL UNIQUE,
    labels               jsonb  NOT NULL,
    annotations          jsonb  NOT NULL,
    spec                 jsonb  NOT NULL,
    generation           bigint NOT NULL DEFAULT 1,
    resource_version     bigint NOT NULL DEFAULT nextval('resource_version'),
    state                text   NOT NULL CHECK (state IN ('Pending', 'Active', 'Revoked')),
    kube_uid             text,
    agent_version        text,
    kubernetes_version   text,
    capabilities         text[] NOT NULL DEFAULT '{}',
    certificate_not_after_ms bigint,
    created_at_ms        bigint NOT NULL,
    registered_at_ms     bigint,
    created_by           text   NOT NULL
);

CREATE TABLE certificate (
    serial        text   PRIMARY KEY,
    cluster       uuid   NOT NULL REFERENCES cluster ON DELETE CASCADE,
    issued_at_ms  bigint NOT NULL,
    not_after_ms  bigint NOT NULL,
    revoked_at_ms bigint
);
CREATE INDEX certificate_cluster ON certificate (cluster);

CREATE TABLE join_token (
    id            uuid   PRIMARY KEY,
    hash          bytea  NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    cluster_name  text   NOT NULL,
    labels        jsonb  NOT NULL,
    expires_at_ms bigint NOT NULL,
    max_uses      int    NOT NULL CHECK (max_uses > 0),
    uses          int    NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    created_at_ms bigint NOT NULL,
    created_by    text   NOT NULL
);

CREATE TABLE api_token (
    id            uuid   PRIMARY KEY,
    name          text   NOT NULL UNIQUE,
    role          text   NOT NULL,
    namespaces    text[] NOT NULL,
    hash          bytea  NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at_ms bigint NOT NULL,
    created_by    text   NOT NULL,
    revoked_at_ms bigint
);
