-- Git repositories of records, what they were last read as, and which records came from them.

ALTER TABLE record DROP CONSTRAINT record_kind_check;
ALTER TABLE record ADD CONSTRAINT record_kind_check
    CHECK (kind IN ('Fleet', 'Application', 'Rollout', 'MetricTemplate', 'Repository'));
ALTER TABLE record DROP CONSTRAINT record_check;
ALTER TABLE record ADD CONSTRAINT record_check
    CHECK ((kind IN ('Fleet', 'Repository')) = (namespace = ''));

CREATE TABLE repository_state (
    name          text   COLLATE "C" PRIMARY KEY,
    -- Of the record that was looked for last: another one is looked for at once.
    generation    bigint NOT NULL,
    -- When the last look began; whoever writes what it found must find this unchanged.
    looked_at_ms  bigint NOT NULL,
    -- What the records are in step with; absent = nothing was ever applied.
    revision      text,
    synced_at_ms  bigint,
    -- One word for how the last look ended, and what there is to say of it.
    reason        text   NOT NULL,
    message       text   NOT NULL,
    -- Records that came from here and are gone here, as KIND/NAMESPACE/NAME.
    orphans       text[] NOT NULL DEFAULT '{}',
    CHECK ((revision IS NULL) = (synced_at_ms IS NULL))
);

CREATE TABLE repository_record (
    kind       text NOT NULL,
    namespace  text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    repository text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, namespace, name),
    FOREIGN KEY (kind, namespace, name) REFERENCES record ON DELETE CASCADE
);
CREATE INDEX repository_record_of ON repository_record (repository);
