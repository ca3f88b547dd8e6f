-- Whether the metrics of a cluster answer its agent, as bellwether_api::call::Condition; NULL = there is
-- nothing to ask, or nobody asked yet.
ALTER TABLE cluster ADD COLUMN metrics_condition jsonb;
