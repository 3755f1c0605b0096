-- Version 3: totals of usage, kept in the same batch as the entries, and budgets.
--
-- A custom usage table gets its own totals from the statements of this file that name __agents_usage (`ensure_table`): they can be
-- run again.

INSERT INTO __agents_schema (version, name) VALUES (3, '0003_agents_store_usage.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0003_agents_store_usage.sql');

-- The totals of a session: one row for each model, tool, agent type or custom name. `amounts` is a JSON object of whole numbers, which
-- add up and subtract exactly. The view below explains them. kept = 1: the totals of entries that were deleted with keep_totals.
-- WITHOUT ROWID: an upsert writes one row, and the key serves get_rollup.
CREATE TABLE IF NOT EXISTS __agents_usage_by_session (
  session_id TEXT NOT NULL,
  kept INTEGER NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  first_timestamp INTEGER NOT NULL,
  last_timestamp INTEGER NOT NULL,
  amounts TEXT NOT NULL,
  PRIMARY KEY (session_id, kept, kind, name)
) WITHOUT ROWID;

-- The totals of a day (UTC, counted from 1970-01-01), over all sessions.
CREATE TABLE IF NOT EXISTS __agents_usage_by_day (
  day INTEGER NOT NULL,
  kept INTEGER NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  agent TEXT NOT NULL,
  amounts TEXT NOT NULL,
  PRIMARY KEY (day, kept, kind, name, agent)
) WITHOUT ROWID;

-- The share of each session in the kept totals of days (kept = 1). A deletion of the session subtracts it. There is one row for each total that
-- delete_old_entries keeps, and no row for stored entries.
CREATE TABLE IF NOT EXISTS __agents_usage_kept (
  session_id TEXT NOT NULL,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  agent TEXT NOT NULL,
  amounts TEXT NOT NULL,
  PRIMARY KEY (session_id, day, kind, name, agent)
) WITHOUT ROWID;

-- The sessions that a session's subagent entries name: the tree of get_rollup, however many entries there are.
CREATE TABLE IF NOT EXISTS __agents_usage_sub_sessions (
  session_id TEXT NOT NULL,
  kept INTEGER NOT NULL,
  sub_session_id TEXT NOT NULL,
  PRIMARY KEY (session_id, kept, sub_session_id)
) WITHOUT ROWID;

-- The commit ids of calls that recorded or deleted, each with a digest of its whole request. So a repetition is recognised, and another request
-- is refused. deleted: the number of deleted entries; NULL for a call that recorded.
CREATE TABLE IF NOT EXISTS __agents_usage_commits (
  commit_id TEXT PRIMARY KEY,
  digest TEXT NOT NULL,
  recorded_at INTEGER NOT NULL,
  deleted INTEGER
) WITHOUT ROWID;

-- The amounts that each entry adds to the totals, as in usage/amounts.py. Large counts are split at 2^32 ("…High"), whole custom
-- values at 10^9 (w0, w1 …), fractions at 2^32 (b0, b-1 …). So their sums neither overflow nor lose a digit.
CREATE VIEW IF NOT EXISTS __agents_usage_parts AS
SELECT
  id,
  session_id,
  timestamp,
  -- Other programs may write a time that is no whole number.
  CAST(timestamp AS INTEGER) AS time,
  CAST(timestamp AS INTEGER) / 86400000 AS day,
  kind,
  coalesce(
    CASE kind
      WHEN 'tokens' THEN data ->> '$.model'
      WHEN 'tool' THEN data ->> '$.toolName'
      WHEN 'subagent' THEN data ->> '$.agentType'
      ELSE data ->> '$.name'
    END,
    ''
  ) AS name,
  coalesce(
    CASE json_type(data, '$.agent') WHEN 'text' THEN data ->> '$.agent' END,
    CASE source_type WHEN 'agent' THEN source_name END,
    ''
  ) AS agent,
  CASE kind WHEN 'subagent' THEN data ->> '$.subSessionId' END AS sub_session_id,
  json_patch(
    json_object(
      'entries', 1,
      'calls', json_type(data, '$.corrects') IS NOT 'text',
      'failed', json_type(data, '$.success') IS 'false' AND json_type(data, '$.corrects') IS NOT 'text',
      'prompt', coalesce(CAST(data ->> '$.tokens.prompt' AS INTEGER), 0) % 4294967296,
      'promptHigh', coalesce(CAST(data ->> '$.tokens.prompt' AS INTEGER), 0) / 4294967296,
      'completion', coalesce(CAST(data ->> '$.tokens.completion' AS INTEGER), 0) % 4294967296,
      'completionHigh', coalesce(CAST(data ->> '$.tokens.completion' AS INTEGER), 0) / 4294967296,
      'reasoning', coalesce(CAST(data ->> '$.tokens.reasoning' AS INTEGER), 0) % 4294967296,
      'reasoningHigh', coalesce(CAST(data ->> '$.tokens.reasoning' AS INTEGER), 0) / 4294967296,
      'cached', coalesce(CAST(data ->> '$.tokens.cached' AS INTEGER), 0) % 4294967296,
      'cachedHigh', coalesce(CAST(data ->> '$.tokens.cached' AS INTEGER), 0) / 4294967296,
      'total', coalesce(CAST(data ->> '$.tokens.total' AS INTEGER), 0) % 4294967296,
      'totalHigh', coalesce(CAST(data ->> '$.tokens.total' AS INTEGER), 0) / 4294967296,
      'durationMs', CASE json_type(data, '$.durationMs') WHEN 'integer' THEN (data ->> '$.durationMs') % 4294967296 ELSE 0 END,
      'durationMsHigh', CASE json_type(data, '$.durationMs') WHEN 'integer' THEN (data ->> '$.durationMs') / 4294967296 ELSE 0 END,
      'costMicros', CASE json_type(data, '$.costMicros') WHEN 'integer' THEN (data ->> '$.costMicros') % 4294967296 ELSE 0 END,
      'costMicrosHigh', CASE json_type(data, '$.costMicros') WHEN 'integer' THEN (data ->> '$.costMicros') / 4294967296 ELSE 0 END,
      'unpriced', kind = 'tokens' AND json_type(data, '$.costMicros') IS NOT 'integer',
      'fractions', kind = 'custom' AND json_type(data, '$.value') IS 'real'
    ),
    CASE
      WHEN kind <> 'custom' THEN '{}'
      WHEN json_type(data, '$.value') IS 'integer' THEN (
        WITH RECURSIVE limb (place, digits, sign) AS (
          SELECT 0, ltrim(data -> '$.value', '-'), CASE WHEN data -> '$.value' LIKE '-%' THEN -1 ELSE 1 END
          UNION ALL
          SELECT place + 1, substr(digits, 1, length(digits) - 9), sign
          FROM limb
          WHERE length(digits) > 9
        )
        SELECT json_group_object('w' || place, sign * CAST(substr(digits, max(1, length(digits) - 8)) AS INTEGER))
        FROM limb
      )
      -- Infinity, which only other programs write, has no limbs.
      WHEN json_type(data, '$.value') IS 'real' AND abs(data ->> '$.value') < 1.0e308 THEN (
        WITH RECURSIVE limb (place, rest, sign) AS (
          SELECT
            CASE WHEN abs(data ->> '$.value') < 1.0 THEN -1 ELSE 31 END,
            CASE
              WHEN abs(data ->> '$.value') < 1.0 THEN abs(data ->> '$.value') * 4294967296.0
              ELSE abs(data ->> '$.value') / 4.185580496821357e+298
            END,
            CASE WHEN data ->> '$.value' < 0 THEN -1 ELSE 1 END
          UNION ALL
          SELECT place - 1, (rest - CAST(rest AS INTEGER)) * 4294967296.0, sign
          FROM limb
          WHERE rest - CAST(rest AS INTEGER) > 0
        )
        SELECT json_group_object('b' || place, sign * CAST(rest AS INTEGER))
        FROM limb
      )
      ELSE '{}'
    END
  ) AS amounts
FROM (
  -- Other programs may write into the table, and their data may be no JSON.
  SELECT id, session_id, timestamp, kind, source_type, source_name, CASE WHEN json_valid(data) THEN data ELSE '{}' END AS data
  FROM __agents_usage
);

-- The entries of sessions without totals: now, when a custom table is upgraded, and in rebuild_rollups.
INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
WITH counted AS (
  SELECT
    p.session_id, p.kind, p.name, min(p.time) AS first_timestamp, max(p.time) AS last_timestamp,
    a.key AS counter, sum(a.value) AS total
  FROM __agents_usage_parts AS p
  JOIN json_each(p.amounts) AS a
  WHERE NOT EXISTS (SELECT 1 FROM __agents_usage_by_session WHERE kept = 0)
  GROUP BY p.session_id, p.kind, p.name, a.key
)
SELECT session_id, 0, kind, name, min(first_timestamp), max(last_timestamp), json_group_object(counter, total)
FROM counted
WHERE total <> 0
GROUP BY session_id, kind, name;

INSERT INTO __agents_usage_by_day (day, kept, kind, name, agent, amounts)
WITH counted AS (
  SELECT p.day, p.kind, p.name, p.agent, a.key AS counter, sum(a.value) AS total
  FROM __agents_usage_parts AS p
  JOIN json_each(p.amounts) AS a
  WHERE NOT EXISTS (SELECT 1 FROM __agents_usage_by_day WHERE kept = 0)
  GROUP BY p.day, p.kind, p.name, p.agent, a.key
)
SELECT day, 0, kind, name, agent, json_group_object(counter, total)
FROM counted
WHERE total <> 0
GROUP BY day, kind, name, agent;

INSERT INTO __agents_usage_sub_sessions (session_id, kept, sub_session_id)
SELECT DISTINCT session_id, 0, sub_session_id
FROM __agents_usage_parts
WHERE sub_session_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM __agents_usage_sub_sessions WHERE kept = 0);

-- A cap, and the amounts taken. `chain` is a JSON list of the scope and the scopes around it, the outermost last; `root` is the
-- outermost. Amounts that are reserved and settled in a scope count in its whole chain. The triggers below add them.
-- A chain that is no JSON, from another program, counts as the scope, its parent and the root. It damages no other scope.
CREATE TABLE __agents_budgets (
  scope TEXT PRIMARY KEY,
  unit TEXT NOT NULL,
  cap INTEGER NOT NULL,
  parent TEXT,
  root TEXT NOT NULL,
  chain TEXT NOT NULL,
  reserved INTEGER NOT NULL DEFAULT 0,
  settled INTEGER NOT NULL DEFAULT 0,
  overruns INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The present reservations. The key finds the expired reservations of a whole tree of scopes.
CREATE TABLE __agents_reservations (
  root TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  id TEXT NOT NULL,
  scope TEXT NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (root, expires_at, id)
) WITHOUT ROWID;

-- The settlements of reservations, so that none is settled twice.
CREATE TABLE __agents_settlements (
  id TEXT PRIMARY KEY,
  root TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  scope TEXT NOT NULL,
  amount INTEGER NOT NULL,
  actual INTEGER NOT NULL,
  settled_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER __agents_reserved
AFTER INSERT ON __agents_reservations
BEGIN
  UPDATE __agents_budgets
  SET reserved = reserved + NEW.amount
  WHERE scope IN (
    SELECT value
    FROM json_each((
      SELECT CASE WHEN json_valid(chain) THEN chain ELSE json_array(scope, parent, root) END
      FROM __agents_budgets
      WHERE scope = NEW.scope
    ))
  );
END;

CREATE TRIGGER __agents_released
AFTER DELETE ON __agents_reservations
BEGIN
  UPDATE __agents_budgets
  SET reserved = reserved - OLD.amount
  WHERE scope IN (
    SELECT value
    FROM json_each((
      SELECT CASE WHEN json_valid(chain) THEN chain ELSE json_array(scope, parent, root) END
      FROM __agents_budgets
      WHERE scope = OLD.scope
    ))
  );
END;

CREATE TRIGGER __agents_settled
AFTER INSERT ON __agents_settlements
BEGIN
  UPDATE __agents_budgets
  SET
    -- 2^53 - 1 is the largest number that JavaScript, and so an export of the database, keeps exactly.
    settled = CASE
      WHEN settled > 9007199254740991 - NEW.actual THEN RAISE(ABORT, 'agents-store {"fault":"sum"}')
      ELSE settled + NEW.actual
    END,
    overruns = overruns + (NEW.actual > NEW.amount)
  WHERE scope IN (
    SELECT value
    FROM json_each((
      SELECT CASE WHEN json_valid(chain) THEN chain ELSE json_array(scope, parent, root) END
      FROM __agents_budgets
      WHERE scope = NEW.scope
    ))
  );
  DELETE FROM __agents_reservations
  WHERE root = NEW.root
    AND expires_at = NEW.expires_at
    AND id = NEW.id;
END;
