-- What moved since a reader's last look, by transaction id: no reader has to scan everything.

-- One narrow row for each record and cluster, kept by triggers, so that no writer can forget it.
CREATE TABLE record_change (
    kind             text   NOT NULL,
    namespace        text   COLLATE "C" NOT NULL,
    name             text   COLLATE "C" NOT NULL,
    resource_version bigint NOT NULL,
    -- Of a cluster: whether it may speak.
    state            text,
    -- Of a Rollout: the application that it names; NULL = none, or it is sealed.
    application      text,
    -- When it was deleted; NULL = it exists.
    gone_at_ms       bigint,
    tx               xid8   NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (kind, namespace, name)
) WITH (fillfactor = 80);
CREATE INDEX record_change_tx ON record_change (tx);
CREATE INDEX record_change_gone ON record_change (gone_at_ms) WHERE gone_at_ms IS NOT NULL;

CREATE FUNCTION note_record_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE record_change SET tx = pg_current_xact_id(),
            gone_at_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        WHERE kind = OLD.kind AND namespace = OLD.namespace AND name = OLD.name;
        RETURN NULL;
    END IF;
    INSERT INTO record_change (kind, namespace, name, resource_version, application)
    VALUES (NEW.kind, NEW.namespace, NEW.name, NEW.resource_version,
        CASE WHEN NEW.kind = 'Rollout' THEN NEW.spec ->> 'application' END)
    ON CONFLICT (kind, namespace, name) DO UPDATE
    SET resource_version = excluded.resource_version, application = excluded.application,
        gone_at_ms = NULL, tx = excluded.tx;
    RETURN NULL;
END $$;

CREATE FUNCTION note_cluster_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE record_change SET tx = pg_current_xact_id(),
            gone_at_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        WHERE kind = 'Cluster' AND namespace = '' AND name = OLD.name;
        RETURN NULL;
    END IF;
    INSERT INTO record_change (kind, namespace, name, resource_version, state)
    VALUES ('Cluster', '', NEW.name, NEW.resource_version, NEW.state)
    ON CONFLICT (kind, namespace, name) DO UPDATE
    SET resource_version = excluded.resource_version, state = excluded.state,
        gone_at_ms = NULL, tx = excluded.tx;
    RETURN NULL;
END $$;

INSERT INTO record_change (kind, namespace, name, resource_version, application)
SELECT kind, namespace, name, resource_version,
    CASE WHEN kind = 'Rollout' THEN spec ->> 'application' END FROM record;
INSERT INTO record_change (kind, namespace, name, resource_version, state)
SELECT 'Cluster', '', name, resource_version, state FROM cluster;

CREATE TRIGGER record_change_noted AFTER INSERT OR UPDATE OR DELETE ON record
    FOR EACH ROW EXECUTE FUNCTION note_record_change();
CREATE TRIGGER cluster_change_noted AFTER INSERT OR UPDATE OR DELETE ON cluster
    FOR EACH ROW EXECUTE FUNCTION note_cluster_change();

-- The Rollouts of one application, without reading those of its whole namespace.
CREATE INDEX record_rollout_application ON record (namespace, (spec ->> 'application'))
    WHERE kind = 'Rollout';
-- The unanswered actions of one application.
CREATE INDEX run_action_unanswered ON run_action (namespace, application, seq)
    WHERE executed_at_ms IS NULL;

-- Runs that were saved.
ALTER TABLE run ADD COLUMN tx xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX run_tx ON run (tx);

-- Events are read in the order (tx, id): an id alone is no order of commits, and whoever pages by it
-- skips what a slower transaction commits later.
ALTER TABLE event ADD COLUMN tx xid8 NOT NULL DEFAULT pg_current_xact_id();
DROP INDEX event_run, event_key, event_cluster;
CREATE INDEX event_order ON event (tx, id);
CREATE INDEX event_run ON event (run, tx, id);
CREATE INDEX event_key ON event (key, tx, id);
CREATE INDEX event_cluster ON event (cluster, tx, id);
