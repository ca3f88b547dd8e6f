-- Which records came from custom resources of the cluster that hosts the hub.

CREATE TABLE custom_resource_record (
    kind             text NOT NULL,
    namespace        text COLLATE "C" NOT NULL,
    name             text COLLATE "C" NOT NULL,
    -- Since when the custom resource is known to be gone without having been deleted as it should;
    -- absent = it was there when it was looked for last.
    missing_since_ms bigint,
    PRIMARY KEY (kind, namespace, name),
    FOREIGN KEY (kind, namespace, name) REFERENCES record ON DELETE CASCADE
);
