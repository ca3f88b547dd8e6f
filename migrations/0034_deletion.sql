-- What becomes of the objects of a unit that leaves a cluster: Delete, Orphan or SelectivelyOrphan, as its
-- application says when it leaves. NULL = as the cluster took it up last; only tombstones say more.

ALTER TABLE desired ADD COLUMN deletion text
    CHECK (deletion IN ('Delete', 'Orphan', 'SelectivelyOrphan'));
ALTER TABLE desired ADD CONSTRAINT desired_deletion_of_tombstones
    CHECK (deletion IS NULL OR digest IS NULL);
