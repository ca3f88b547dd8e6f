-- What each component of an application that leaves a cluster says of the end of its objects, by name: one of the words
-- of `deletion`, or null = it goes by that. NULL = as the cluster took it up last. It counts only where `deletion` says
-- something: a hub of before it writes units anew and leaves it as it is.

ALTER TABLE desired ADD COLUMN component_deletion jsonb;
