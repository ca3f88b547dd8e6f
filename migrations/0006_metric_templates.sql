-- Queries that many rollouts use are records too.

ALTER TABLE record DROP CONSTRAINT record_kind_check;
ALTER TABLE record ADD CONSTRAINT record_kind_check
    CHECK (kind IN ('Fleet', 'Application', 'Rollout', 'MetricTemplate'));
