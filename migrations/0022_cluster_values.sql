-- Values of a chart that differ from cluster to cluster: what each component was rendered for.

-- Values that overrides of the release lay over those of the component, with where they hold.
ALTER TABLE release_recipe ADD COLUMN cluster_values jsonb NOT NULL DEFAULT '[]';

-- The component that the facts are those of; empty = every one, as it was before they could differ.
ALTER TABLE release_facts ADD COLUMN component text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE release_facts DROP CONSTRAINT release_facts_pkey;
ALTER TABLE release_facts ADD PRIMARY KEY (release, cluster, component);
