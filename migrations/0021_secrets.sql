-- Secrets that the hub keeps, what was fetched with them, and what pushes asked for.

-- A secret: who wrote it last. Its values lie in secret_value, each sealed.
CREATE TABLE secret (
    namespace     text   COLLATE "C" NOT NULL,
    name          text   COLLATE "C" NOT NULL,
    -- Another one with every change of a value or a key.
    revision      uuid   NOT NULL,
    changed_at_ms bigint NOT NULL,
    changed_by    text   NOT NULL,
    PRIMARY KEY (namespace, name)
);

CREATE TABLE secret_value (
    -- Names this value alone; drawn, so that it says nothing of the value.
    version       uuid   PRIMARY KEY,
    namespace     text   COLLATE "C" NOT NULL,
    name          text   COLLATE "C" NOT NULL,
    key           text   COLLATE "C" NOT NULL,
    -- AES-256-GCM; namespace, name, key and version are its associated data.
    sealed        bytea  NOT NULL,
    -- Since when it is replaced; NULL = it is what the secret holds. It stays while a release names it.
    retired_at_ms bigint,
    FOREIGN KEY (namespace, name) REFERENCES secret ON DELETE CASCADE
);
CREATE UNIQUE INDEX secret_value_current ON secret_value (namespace, name, key)
    WHERE retired_at_ms IS NULL;
CREATE INDEX secret_value_of ON secret_value (namespace, name);
CREATE INDEX secret_value_retired ON secret_value (retired_at_ms) WHERE retired_at_ms IS NOT NULL;

-- The values that a recipe of a release was rendered with.
ALTER TABLE release_recipe ADD COLUMN secret_values uuid[] NOT NULL DEFAULT '{}';

-- With which revisions of which secrets a source was looked at last; '' = with none.
ALTER TABLE source_pin ADD COLUMN credentials text NOT NULL DEFAULT '';

-- When a push last said that a source may have changed.
CREATE TABLE source_push (
    namespace     text   COLLATE "C" NOT NULL,
    application   text   COLLATE "C" NOT NULL,
    component     text   COLLATE "C" NOT NULL,
    pushed_at_ms  bigint NOT NULL,
    PRIMARY KEY (namespace, application, component)
);

-- Whoever follows records is told of both: kind Secret by name, kind Push by application.
CREATE FUNCTION note_secret_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE record_change SET tx = pg_current_xact_id(),
            gone_at_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        WHERE kind = 'Secret' AND namespace = OLD.namespace AND name = OLD.name;
        RETURN NULL;
    END IF;
    INSERT INTO record_change (kind, namespace, name, resource_version)
    VALUES ('Secret', NEW.namespace, NEW.name, nextval('resource_version'))
    ON CONFLICT (kind, namespace, name) DO UPDATE
    SET resource_version = excluded.resource_version, gone_at_ms = NULL, tx = excluded.tx;
    RETURN NULL;
END $$;
CREATE TRIGGER secret_change_noted AFTER INSERT OR UPDATE OF revision OR DELETE ON secret
    FOR EACH ROW EXECUTE FUNCTION note_secret_change();

CREATE FUNCTION note_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Gone at once, so that it is forgotten as deleted records are.
    INSERT INTO record_change (kind, namespace, name, resource_version, gone_at_ms)
    VALUES ('Push', NEW.namespace, NEW.application, nextval('resource_version'),
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    ON CONFLICT (kind, namespace, name) DO UPDATE
    SET resource_version = excluded.resource_version, gone_at_ms = excluded.gone_at_ms,
        tx = excluded.tx;
    RETURN NULL;
END $$;
CREATE TRIGGER push_noted AFTER INSERT OR UPDATE ON source_push
    FOR EACH ROW EXECUTE FUNCTION note_push();
