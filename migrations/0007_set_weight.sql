-- The weight and pods that somebody sets by hand.

ALTER TABLE run_action DROP CONSTRAINT run_action_type_check;
ALTER TABLE run_action ADD CONSTRAINT run_action_type_check
    CHECK (type IN ('Approve', 'Promote', 'Suspend', 'Resume', 'Skip', 'Abort', 'Retry', 'SetWeight'));
-- Percent of the traffic.
ALTER TABLE run_action ADD COLUMN weight int CHECK (weight BETWEEN 0 AND 100);
-- A count or a percentage, as it is written; absent = pods follow the weight.
ALTER TABLE run_action ADD COLUMN replicas text;
ALTER TABLE run_action ADD CONSTRAINT run_action_sets_weight
    CHECK ((type = 'SetWeight') = (weight IS NOT NULL) AND (replicas IS NULL OR weight IS NOT NULL));
