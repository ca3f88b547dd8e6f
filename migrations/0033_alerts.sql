-- Whom people want told of runs, and which message about which event is sent, once.

ALTER TABLE record DROP CONSTRAINT record_kind_check;
ALTER TABLE record ADD CONSTRAINT record_kind_check
    CHECK (kind IN ('Fleet', 'Application', 'Rollout', 'MetricTemplate', 'Repository', 'AlertProvider'));

CREATE TABLE alert (
    event         bigint NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    namespace     text   COLLATE "C" NOT NULL,
    provider      text   COLLATE "C" NOT NULL,
    -- Sending is written before the message goes out: whoever dies then sends it no second time.
    state         text   NOT NULL CHECK (state IN ('Waiting', 'Sending', 'Sent', 'Failed', 'Unknown')),
    attempts      int    NOT NULL DEFAULT 0,
    -- Of those that wait, when the next attempt is due.
    due_at_ms     bigint NOT NULL,
    -- Why the last attempt failed; empty = it did not.
    error         text   NOT NULL DEFAULT '',
    changed_at_ms bigint NOT NULL,
    PRIMARY KEY (event, namespace, provider)
);
CREATE INDEX alert_due ON alert (namespace, provider, due_at_ms) WHERE state = 'Waiting';
CREATE INDEX alert_provider ON alert (namespace, provider, changed_at_ms);
