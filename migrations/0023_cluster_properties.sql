-- What the agent counted of its nodes, as bellwether_api::cluster::NodeProperties; NULL = it never did, or
-- may not.
ALTER TABLE cluster ADD COLUMN node_properties jsonb;

-- That no application is placed there anew, as bellwether_api::cluster::Cordon; NULL = it takes them.
-- Beside the spec, so that applying a Cluster does not undo what somebody said by hand.
ALTER TABLE cluster ADD COLUMN cordon jsonb;
