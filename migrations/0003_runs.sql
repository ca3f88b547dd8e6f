-- Releases, their runs through the fleet, and what people said to them.

CREATE TABLE release (
    id             uuid    PRIMARY KEY,
    namespace      text    COLLATE "C" NOT NULL,
    application    text    COLLATE "C" NOT NULL,
    revision       bigint  NOT NULL CHECK (revision > 0),
    digest         bytea   NOT NULL CHECK (octet_length(digest) = 32),
    -- The rendered content, as JSON in a blob: it may hold Secrets.
    content        bytea   NOT NULL REFERENCES blob,
    created_at_ms  bigint  NOT NULL,
    created_by     text    NOT NULL,
    reason         text    NOT NULL,
    UNIQUE (namespace, application, revision)
);
CREATE INDEX release_content ON release (content);

CREATE TABLE run (
    id               uuid   PRIMARY KEY,
    namespace        text   COLLATE "C" NOT NULL,
    application      text   COLLATE "C" NOT NULL,
    release          uuid   NOT NULL UNIQUE REFERENCES release,
    previous_release uuid   REFERENCES release ON DELETE SET NULL,
    plan             uuid,
    status           text   NOT NULL CHECK (status IN ('Pending', 'Progressing', 'Soaking', 'WaitingApproval',
                         'Suspended', 'Halted', 'RollingBack', 'Succeeded', 'Failed', 'Aborted', 'Superseded')),
    state            jsonb  NOT NULL,
    version          bigint NOT NULL DEFAULT 1,
    created_at_ms    bigint NOT NULL,
    updated_at_ms    bigint NOT NULL,
    finished_at_ms   bigint
);
CREATE INDEX run_application ON run (namespace, application, created_at_ms);
CREATE INDEX run_active ON run (created_at_ms) WHERE finished_at_ms IS NULL;
CREATE INDEX run_previous_release ON run (previous_release);

CREATE TABLE plan (
    id            uuid   PRIMARY KEY,
    run           uuid   NOT NULL REFERENCES run ON DELETE CASCADE,
    -- The plan that this one replaces; a plan has one successor at most.
    parent        uuid   REFERENCES plan ON DELETE CASCADE,
    content       jsonb  NOT NULL,
    created_at_ms bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (run, parent)
);
CREATE INDEX plan_parent ON plan (parent);

CREATE TABLE run_cluster (
    run           uuid   NOT NULL REFERENCES run ON DELETE CASCADE,
    cluster       uuid   NOT NULL,
    cluster_name  text   COLLATE "C" NOT NULL,
    wave          int    NOT NULL,
    position      int    NOT NULL,
    status        text   NOT NULL CHECK (status IN ('Queued', 'Granted', 'Progressing', 'Suspended',
                      'WaitingApproval', 'RollingBack', 'Succeeded', 'Failed', 'Unreachable', 'Skipped')),
    attempt       int    NOT NULL,
    state         jsonb  NOT NULL,
    granted_gen   bigint,
    updated_at_ms bigint NOT NULL,
    PRIMARY KEY (run, cluster)
);
CREATE INDEX run_cluster_cluster ON run_cluster (cluster);

CREATE TABLE run_action (
    id                uuid   PRIMARY KEY,
    namespace         text   COLLATE "C" NOT NULL,
    application       text   COLLATE "C" NOT NULL,
    run               uuid   NOT NULL REFERENCES run ON DELETE CASCADE,
    type              text   NOT NULL CHECK (type IN ('Approve', 'Promote', 'Suspend', 'Resume', 'Skip', 'Abort', 'Retry')),
    wave              text,
    cluster           uuid,
    step              int,
    expected_revision bigint,
    reason            text   NOT NULL,
    by                text   NOT NULL,
    idempotency_key   text   NOT NULL,
    created_at_ms     bigint NOT NULL,
    -- Written once, in the transaction of its effect.
    result            jsonb,
    executed_at_ms    bigint,
    seq               bigint GENERATED ALWAYS AS IDENTITY,
    UNIQUE (namespace, application, idempotency_key)
);
CREATE INDEX run_action_run ON run_action (run, seq);
CREATE INDEX run_action_pending ON run_action (run, seq) WHERE executed_at_ms IS NULL;

-- History may be deleted only by a transaction that says so.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('bellwether.history_deletion', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is immutable', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER release_immutable BEFORE UPDATE OR DELETE ON release
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER plan_immutable BEFORE UPDATE OR DELETE ON plan
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- An action may only be answered, and only once.
CREATE FUNCTION refuse_action_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.executed_at_ms IS NULL
       AND (to_jsonb(NEW) - 'result' - 'executed_at_ms') = (to_jsonb(OLD) - 'result' - 'executed_at_ms') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'run_action is immutable' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER run_action_immutable BEFORE UPDATE ON run_action
    FOR EACH ROW EXECUTE FUNCTION refuse_action_change();
CREATE TRIGGER run_action_kept BEFORE DELETE ON run_action
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
