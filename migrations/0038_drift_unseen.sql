-- Since when the objects of a cluster were not looked at whole, in milliseconds since the Unix epoch, where that is
-- longer than people should bear. NULL = they are looked at, or its agent does not say.

ALTER TABLE cluster ADD COLUMN drift_unseen_since_ms bigint;
