-- Tasks may be held, or be cancelled while they run; attempts may hold several nodes; jobs learn from earlier ones.

-- Tasks lo … hi-1 are flagged. The spans of one kind and job are disjoint.
CREATE TABLE flags (
    kind TEXT NOT NULL, -- 'held', or 'cancelled': it runs and is to end
    job INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    hi INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (kind, job, lo)
) WITHOUT ROWID;

ALTER TABLE grants ADD COLUMN beside TEXT; -- JSON: what the lanes on further nodes hold; NULL: there are none

-- The earlier jobs of a name.
CREATE INDEX named ON jobs (name);

-- Retries were a number, and arrays lists of values: both are submitted with more detail now.
UPDATE jobs SET submit = json_set(submit, '$.job.spec.retries', json_array(json_extract(submit, '$.job.spec.retries')))
WHERE json_type(submit, '$.job.spec.retries') = 'integer';

UPDATE jobs SET submit = json_set(submit, '$.job.spec.array', json_object(
    'type', 'table', 'names', json_array('value'), 'columns', json_array(json_extract(submit, '$.job.spec.array.values'))
))
WHERE json_extract(submit, '$.job.spec.array.type') = 'list';
