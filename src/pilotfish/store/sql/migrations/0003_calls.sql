-- Jobs that call functions grow, their attempts have results, and they share values.

-- The arguments of calls lo … hi-1, that were added together.
CREATE TABLE calls (
    job INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    hi INTEGER NOT NULL,
    arguments BLOB NOT NULL, -- msgpack: an array of binaries
    PRIMARY KEY (job, lo)
);

ALTER TABLE attempts ADD COLUMN result BLOB; -- what a call returned or raised; NULL: there is none

-- What tasks tell each other.
CREATE TABLE kv (
    key TEXT PRIMARY KEY,
    value BLOB, -- a number, or what only tasks unpack; NULL: the key is there no more
    version INTEGER NOT NULL
);
