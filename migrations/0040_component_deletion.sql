-- What each component of an application that leaves a cluster says of the end of its objects, by name: one of the words
-- of `deletion`, or null = it goes by that. NULL = as the cluster took it up last; only tombstones say more.

ALTER TABLE desired ADD COLUMN component_deletion jsonb;
ALTER TABLE desired ADD CONSTRAINT desired_component_deletion_of_tombstones
    CHECK (component_deletion IS NULL OR deletion IS NOT NULL);
