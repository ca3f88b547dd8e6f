-- Who showed a cluster's identity last, as bellwether_hub_core::clones::Presence; NULL = nobody since it
-- enrolled, or an agent that does not tell itself from others.
ALTER TABLE cluster ADD COLUMN presence jsonb;

-- That two agents show one identity, as bellwether_api::call::Condition: neither has a stream until the
-- cluster enrols again. NULL = none is known.
ALTER TABLE cluster ADD COLUMN cloned jsonb;

-- What registering the cluster with today's version would let its agent do and it may not, one sentence
-- each; empty = nothing, or it does not say.
ALTER TABLE cluster ADD COLUMN missing_rights text[] NOT NULL DEFAULT '{}';

-- What policy engines found there, as bellwether_api::compliance::Compliance, and since when that is so;
-- NULL = nothing was ever said of it.
ALTER TABLE cluster ADD COLUMN compliance jsonb;
ALTER TABLE cluster ADD COLUMN compliance_at_ms bigint;

-- When somebody said last that the repository has changed: it is looked at unless a look began since.
ALTER TABLE repository_state ADD COLUMN pushed_at_ms bigint;
