-- What hooks of fleets are to be told, written with what they are told of: it is told at least once.
CREATE TABLE fleet_hook_call (
    -- Goes with every try, so that a receiver knows one again.
    id            uuid   PRIMARY KEY,
    fleet         text   COLLATE "C" NOT NULL,
    hook          text   COLLATE "C" NOT NULL,
    event         text   NOT NULL CHECK (event IN ('ClusterRegistered', 'ClusterDetached')),
    -- Not a reference: a cluster that was deleted is told of too.
    cluster       uuid   NOT NULL,
    cluster_name  text   NOT NULL,
    -- The same bytes at every try.
    body          text   NOT NULL,
    created_at_ms bigint NOT NULL,
    -- When it is tried next; while a hub tries it, when another one may.
    next_at_ms    bigint NOT NULL,
    tries         int    NOT NULL DEFAULT 0,
    state         text   NOT NULL DEFAULT 'Waiting'
        CHECK (state IN ('Waiting', 'Delivered', 'GivenUp')),
    -- Why the last try failed; empty = there was none, or it did not.
    message       text   NOT NULL DEFAULT '',
    ended_at_ms   bigint,
    CHECK ((state = 'Waiting') = (ended_at_ms IS NULL))
);
CREATE INDEX fleet_hook_call_due ON fleet_hook_call (next_at_ms) WHERE state = 'Waiting';
CREATE INDEX fleet_hook_call_of ON fleet_hook_call (cluster, fleet, hook, created_at_ms);
CREATE INDEX fleet_hook_call_unsettled ON fleet_hook_call (fleet, hook) WHERE state <> 'Delivered';
