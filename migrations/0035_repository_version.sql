-- A repository is looked at anew when anything of its record changed, such as an annotation, and not its spec
-- alone.

ALTER TABLE repository_state RENAME COLUMN generation TO record_version;
