-- Going back to an earlier release, and putting an ended run away.

ALTER TABLE run_action DROP CONSTRAINT run_action_type_check;
ALTER TABLE run_action ADD CONSTRAINT run_action_type_check
    CHECK (type IN ('Approve', 'Promote', 'Suspend', 'Resume', 'Skip', 'Abort', 'Retry', 'SetWeight',
                    'Rollback', 'Finish'));
-- The revision to go back to; absent = the last one that succeeded.
ALTER TABLE run_action ADD COLUMN to_revision bigint CHECK (to_revision > 0);
ALTER TABLE run_action ADD CONSTRAINT run_action_goes_back
    CHECK (to_revision IS NULL OR type = 'Rollback');

-- The revision that a release restores, and what the Application said when it was restored: while it
-- says the same, the restored release stays.
ALTER TABLE release ADD COLUMN restores bigint CHECK (restores > 0);
ALTER TABLE release ADD COLUMN instead_of bytea REFERENCES blob;
ALTER TABLE release ADD CONSTRAINT release_restores_instead
    CHECK ((restores IS NULL) = (instead_of IS NULL));
CREATE INDEX release_instead_of ON release (instead_of) WHERE instead_of IS NOT NULL;
