-- What the store asks of SQLite. A span lo … hi-1 is cut in three steps: keep what lies behind it, remove what
-- begins in it, shorten what begins before it. Spans of one kind and key are disjoint, so the row with the greatest
-- lo below a position is the only one that can reach over it: no step looks at more rows than it changes.

-- name: epoch
-- Of the newest owner.
SELECT epoch FROM ownership

-- name: raise_epoch
-- A new owner.
UPDATE ownership SET epoch = epoch + 1

-- name: prune
-- Removes grants whose attempts have all ended.
DELETE FROM grants
WHERE hi - lo = (
    SELECT count(*) FROM attempts AS a
    WHERE a.job = grants.job AND a.position >= grants.lo AND a.position < grants.hi
        AND a.number = grants.number AND a.epoch = grants.epoch
)

-- name: prune_values
-- Of keys that are there no more.
DELETE FROM kv WHERE value IS NULL

-- name: add_job
INSERT INTO jobs VALUES (?, ?, 1, ?)

-- name: retire_job
-- A job is replaced or forgotten.
UPDATE jobs SET current = 0 WHERE id = ?

-- name: add_calls
INSERT INTO calls VALUES (?, ?, ?, ?)

-- name: add_grants
INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: keep_grant_behind
INSERT INTO grants
SELECT job, number, epoch, :hi, hi, node, lane, slots, beside FROM grants
WHERE job = :job AND number = :number AND epoch = :epoch AND hi > :hi
    AND lo = (SELECT max(lo) FROM grants WHERE job = :job AND number = :number AND epoch = :epoch AND lo < :hi)

-- name: remove_grants_inside
DELETE FROM grants WHERE job = :job AND number = :number AND epoch = :epoch AND lo >= :lo AND lo < :hi

-- name: shorten_grant_before
UPDATE grants SET hi = :lo
WHERE job = :job AND number = :number AND epoch = :epoch AND hi > :lo
    AND lo = (SELECT max(lo) FROM grants WHERE job = :job AND number = :number AND epoch = :epoch AND lo < :lo)

-- name: add_attempts
-- The first record of an attempt stands; a repetition changes nothing.
INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: revive_attempts
-- Attempts of failed, cancelled and skipped tasks in the span count no more.
UPDATE attempts SET state = 'ready', charged = 0, lost = 0
WHERE job = :job AND position >= :lo AND position < :hi AND state <> 'succeeded'
    AND position IN (
        SELECT position FROM (
            SELECT position, state, max(number) FROM attempts
            WHERE job = :job AND position >= :lo AND position < :hi GROUP BY position
        ) WHERE state IN ('failed', 'cancelled')
        UNION
        SELECT a.position FROM finishes AS f
        JOIN attempts AS a ON a.job = f.job AND a.position >= f.lo AND a.position < f.hi
        WHERE f.job = :job AND f.lo < :hi AND f.hi > :lo AND f.state <> 'succeeded'
    )

-- name: add_finish
INSERT INTO finishes VALUES (:job, :lo, :hi, :state, :reason)

-- name: keep_finish_behind
INSERT INTO finishes
SELECT job, :hi, hi, state, reason FROM finishes
WHERE job = :job AND hi > :hi AND state <> :spared
    AND lo = (SELECT max(lo) FROM finishes WHERE job = :job AND lo < :hi)

-- name: remove_finishes_inside
DELETE FROM finishes WHERE job = :job AND lo >= :lo AND lo < :hi AND state <> :spared

-- name: shorten_finish_before
UPDATE finishes SET hi = :lo
WHERE job = :job AND hi > :lo AND state <> :spared
    AND lo = (SELECT max(lo) FROM finishes WHERE job = :job AND lo < :lo)

-- name: finished_jobs
-- Jobs that have tasks which ended without an attempt.
SELECT DISTINCT job FROM finishes

-- name: add_flag
INSERT INTO flags VALUES (:kind, :job, :lo, :hi, :reason)

-- name: keep_flag_behind
INSERT INTO flags
SELECT kind, job, :hi, hi, reason FROM flags
WHERE kind = :kind AND job = :job AND hi > :hi
    AND lo = (SELECT max(lo) FROM flags WHERE kind = :kind AND job = :job AND lo < :hi)

-- name: remove_flags_inside
DELETE FROM flags WHERE kind = :kind AND job = :job AND lo >= :lo AND lo < :hi

-- name: shorten_flag_before
UPDATE flags SET hi = :lo
WHERE kind = :kind AND job = :job AND hi > :lo
    AND lo = (SELECT max(lo) FROM flags WHERE kind = :kind AND job = :job AND lo < :lo)

-- name: cancelled_jobs
-- Jobs that have tasks which are to end.
SELECT DISTINCT job FROM flags WHERE kind = 'cancelled'

-- name: submits
-- With the number of calls, NULL where none was ever added.
SELECT submit, (SELECT hi FROM calls WHERE job = jobs.id ORDER BY lo DESC LIMIT 1) FROM jobs ORDER BY id

-- name: submit
SELECT submit, (SELECT hi FROM calls WHERE job = jobs.id ORDER BY lo DESC LIMIT 1) FROM jobs WHERE id = ?

-- name: current_submits
SELECT submit, (SELECT hi FROM calls WHERE job = jobs.id ORDER BY lo DESC LIMIT 1) FROM jobs WHERE current ORDER BY id

-- name: calls
SELECT lo, arguments FROM calls
WHERE job = ?1 AND hi > ?2 AND lo < ?3
    AND lo >= ifnull((SELECT max(lo) FROM calls WHERE job = ?1 AND lo <= ?2), 0)

-- name: current_tasks
-- One row for each task that has had an attempt. With max() SQLite takes the other columns from the row that has it.
SELECT a.job, a.position, a.state, max(a.number), sum(a.charged), sum(a.lost),
    sum(a.charged AND a.outcome = 'out_of_memory'), sum(a.outcome = 'preempted')
FROM jobs CROSS JOIN attempts AS a ON a.job = jobs.id
WHERE jobs.current GROUP BY jobs.id, a.position ORDER BY jobs.id, a.position

-- name: current_finishes
SELECT f.job, f.lo, f.hi, f.state, f.reason
FROM finishes AS f JOIN jobs ON jobs.id = f.job
WHERE jobs.current ORDER BY f.job, f.lo

-- name: current_holds
SELECT f.job, f.lo, f.hi, f.reason
FROM flags AS f JOIN jobs ON jobs.id = f.job
WHERE f.kind = 'held' AND jobs.current ORDER BY f.job, f.lo

-- name: current_cancels
SELECT f.job, f.lo, f.hi, f.reason
FROM flags AS f JOIN jobs ON jobs.id = f.job
WHERE f.kind = 'cancelled' AND jobs.current ORDER BY f.job, f.lo

-- name: durations
-- Of the newest attempts of a job and then the earlier ones of its name, those that succeeded. However many attempts
-- there are, it looks at few: in their order by the primary key.
SELECT duration FROM (
    SELECT a.state, a.started_at, a.ended_at - a.started_at AS duration
    FROM jobs CROSS JOIN attempts AS a ON a.job = jobs.id
    WHERE jobs.name = :name AND jobs.id <= :job
    ORDER BY jobs.id DESC, a.position DESC, a.number DESC, a.epoch DESC LIMIT :looked_at
)
WHERE state = 'succeeded' AND started_at > 0 LIMIT :wanted

-- name: nodes
-- Of the newest attempt of each task. With max() SQLite takes the other columns from the row that has it.
SELECT position, node, max(number) FROM attempts
WHERE job = ? AND position >= ? AND position < ? GROUP BY position

-- name: current_grants
-- Grants with attempts that have not ended.
SELECT g.node, g.lane, g.slots, g.beside, g.job, g.lo, g.hi, g.number, g.epoch
FROM grants AS g JOIN jobs ON jobs.id = g.job
WHERE jobs.current AND g.hi - g.lo > (
    SELECT count(*) FROM attempts AS a
    WHERE a.job = g.job AND a.position >= g.lo AND a.position < g.hi AND a.number = g.number AND a.epoch = g.epoch
)

-- name: ended_of_grant
SELECT position FROM attempts
WHERE job = ? AND position >= ? AND position < ? AND number = ? AND epoch = ? ORDER BY position

-- name: attempts
SELECT * FROM attempts
WHERE job = ? AND position = ? ORDER BY number, epoch

-- name: finishes
SELECT job, lo, hi, state, reason FROM finishes WHERE job = ? ORDER BY lo

-- name: current_states
-- Positions by what attempts made of them, what later attempts made coming later. Aggregates, for a row of each task would
-- be slow. Successes stand apart: usually most, they need no sorting so; nothing comes after a success.
SELECT job, state, number, group_concat(position) FROM attempts
WHERE job IN (SELECT id FROM jobs WHERE current) AND state <> 'succeeded' GROUP BY job, number, state
UNION ALL
SELECT job, state, max(number), group_concat(position) FROM attempts
WHERE job IN (SELECT id FROM jobs WHERE current) AND state = 'succeeded' GROUP BY job
ORDER BY number

-- name: span_states
-- Likewise, of a job from lo to hi-1.
SELECT job, state, number, group_concat(position) FROM attempts
WHERE job = ?1 AND position >= ?2 AND position < ?3 AND state <> 'succeeded' GROUP BY number, state
UNION ALL
SELECT job, state, max(number), group_concat(position) FROM attempts
WHERE job = ?1 AND position >= ?2 AND position < ?3 AND state = 'succeeded' GROUP BY job
ORDER BY number

-- name: span_finishes
SELECT job, lo, hi, state, reason FROM finishes WHERE job = ?1 AND hi > ?2 AND lo < ?3 ORDER BY lo

-- name: span_holds
SELECT f.job, f.lo, f.hi, f.reason
FROM flags AS f JOIN jobs ON jobs.id = f.job
WHERE f.kind = 'held' AND jobs.current AND f.job = ?1 AND f.hi > ?2 AND f.lo < ?3 ORDER BY f.lo

-- name: span_grants
-- Grants with attempts that have not ended.
SELECT g.node, g.lane, g.slots, g.beside, g.job, g.lo, g.hi, g.number, g.epoch FROM grants AS g
WHERE g.job = ?1 AND g.hi > ?2 AND g.lo < ?3 AND g.hi - g.lo > (
    SELECT count(*) FROM attempts AS a
    WHERE a.job = g.job AND a.position >= g.lo AND a.position < g.hi AND a.number = g.number AND a.epoch = g.epoch
)

-- name: result
SELECT * FROM attempts WHERE job = ? AND position = ? ORDER BY number DESC, epoch DESC LIMIT 1

-- name: put_values
INSERT OR REPLACE INTO kv VALUES (?, ?, ?)

-- name: values
SELECT key, value, version FROM kv WHERE value IS NOT NULL AND substr(key, 1, length(?1)) = ?1 ORDER BY key
