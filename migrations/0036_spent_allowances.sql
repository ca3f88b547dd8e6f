-- Annotations by which somebody allowed much to go at once, and what used them: each counts once, until it is
-- written anew. What is not there was not used.
CREATE TABLE spent_allowance (
    kind        text   NOT NULL,
    namespace   text   COLLATE "C" NOT NULL,
    name        text   COLLATE "C" NOT NULL,
    annotation  text   NOT NULL,
    -- What the annotation said.
    value       text   NOT NULL,
    -- What it allowed, in words such as "release 7".
    used_for    text   NOT NULL,
    -- What may still go by it: what it allowed and was not gone at once.
    covers      text[] NOT NULL DEFAULT '{}',
    spent_at_ms bigint NOT NULL,
    PRIMARY KEY (kind, namespace, name, annotation),
    FOREIGN KEY (kind, namespace, name) REFERENCES record (kind, namespace, name) ON DELETE CASCADE
);
