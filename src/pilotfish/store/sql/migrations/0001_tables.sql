-- The tables of one campaign. Lists and nested values are JSON; names of states and outcomes are spelled out.

PRAGMA application_id = 0x70666973; -- "pfis": tells our files from other people's

-- One row: the number of managers that have owned the store so far.
CREATE TABLE ownership (epoch INTEGER NOT NULL);
INSERT INTO ownership VALUES (0);

-- Every job that was ever submitted.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    current INTEGER NOT NULL, -- 0 once another job has replaced it, or it was forgotten
    submit TEXT NOT NULL      -- JSON: the whole submission
);

-- What was given to lanes: positions lo … hi-1. A row may stay for a while after all its attempts have ended.
CREATE TABLE grants (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    hi INTEGER NOT NULL,
    node TEXT NOT NULL,
    lane INTEGER NOT NULL,
    slots TEXT NOT NULL, -- JSON
    PRIMARY KEY (job, number, epoch, lo)
) WITHOUT ROWID;

-- Every attempt that has ended. Reviving a task makes its attempts ready, neither charged nor lost; the rest stays.
CREATE TABLE attempts (
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL,      -- what it made of its task
    charged INTEGER NOT NULL, -- 1: it used up one of the task's tries
    lost INTEGER NOT NULL,    -- 1: nobody witnessed its end
    node TEXT NOT NULL,
    lane INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    code INTEGER NOT NULL,
    started_at REAL NOT NULL, -- seconds since 1970
    ended_at REAL NOT NULL,
    cpu_seconds REAL NOT NULL,
    peak_rss INTEGER NOT NULL, -- bytes
    stdout_file TEXT,
    stdout_offset INTEGER,
    stdout_length INTEGER,
    stderr_file TEXT,
    stderr_offset INTEGER,
    stderr_length INTEGER,
    reason TEXT NOT NULL,
    PRIMARY KEY (job, position, number, epoch)
) WITHOUT ROWID;

-- Few, and what people look for among very many.
CREATE INDEX unsuccessful ON attempts (job, number, state, position) WHERE state <> 'succeeded';

-- Tasks lo … hi-1 that ended without an attempt. The spans of a job are disjoint.
CREATE TABLE finishes (
    job INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    hi INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (job, lo)
) WITHOUT ROWID;
