-- What sources were fetched as, and what was rendered of them.

-- Fetched files, by the digest of their tree.
CREATE TABLE artifact (
    digest        bytea  PRIMARY KEY CHECK (octet_length(digest) = 32),
    -- The files as JSON in a blob.
    content       bytea  NOT NULL REFERENCES blob,
    created_at_ms bigint NOT NULL
);
CREATE INDEX artifact_content ON artifact (content);

-- What the source of a component was last fetched as, and what became of the last look.
CREATE TABLE source_pin (
    namespace     text   COLLATE "C" NOT NULL,
    application   text   COLLATE "C" NOT NULL,
    component     text   COLLATE "C" NOT NULL,
    -- Digest of the source as it is written: another one is another source.
    source        bytea  NOT NULL CHECK (octet_length(source) = 32),
    -- Absent = it was never fetched.
    revision      text,
    artifact      bytea  REFERENCES artifact,
    checked_at_ms bigint NOT NULL,
    -- Why the last look failed; empty = it did not.
    failure       text   NOT NULL,
    PRIMARY KEY (namespace, application, component),
    CHECK ((revision IS NULL) = (artifact IS NULL)),
    CHECK (artifact IS NOT NULL OR failure <> '')
);
CREATE INDEX source_pin_artifact ON source_pin (artifact);

-- What a recipe gives for clusters of equal facts; written once.
CREATE TABLE rendering (
    recipe        bytea  NOT NULL CHECK (octet_length(recipe) = 32),
    facts         bytea  NOT NULL CHECK (octet_length(facts) = 32),
    content       bytea  REFERENCES blob,
    -- Why it cannot be rendered, whenever it is tried.
    failure       text,
    -- What people should know of it, as [{"kind", "message"}].
    remarks       jsonb  NOT NULL,
    created_at_ms bigint NOT NULL,
    PRIMARY KEY (recipe, facts),
    CHECK ((content IS NULL) <> (failure IS NULL))
);
CREATE INDEX rendering_content ON rendering (content);

-- The recipes of a release, and the artifacts that they are made of.
CREATE TABLE release_recipe (
    release   uuid  NOT NULL REFERENCES release ON DELETE CASCADE,
    component text  COLLATE "C" NOT NULL,
    recipe    bytea NOT NULL,
    artifact  bytea NOT NULL REFERENCES artifact,
    PRIMARY KEY (release, component)
);
CREATE INDEX release_recipe_recipe ON release_recipe (recipe);
CREATE INDEX release_recipe_artifact ON release_recipe (artifact);

-- The facts for which a cluster was sent a release: it gets the same again when it goes back to it,
-- whatever the cluster is like by then.
CREATE TABLE release_facts (
    release uuid  NOT NULL REFERENCES release ON DELETE CASCADE,
    cluster uuid  NOT NULL,
    facts   bytea NOT NULL,
    PRIMARY KEY (release, cluster)
);
