-- Studios, their sessions and what they keep.
CREATE TABLE studios (
	id             TEXT PRIMARY KEY,
	workspace_id   INTEGER NOT NULL REFERENCES workspaces,
	user_id        INTEGER NOT NULL REFERENCES users,
	compute_env_id TEXT NOT NULL REFERENCES compute_envs,
	name           TEXT NOT NULL,
	description    TEXT NOT NULL,
	private        INTEGER NOT NULL,
	config         TEXT NOT NULL,
	created_at     INTEGER NOT NULL,
	updated_at     INTEGER NOT NULL,
	deleted_at     INTEGER NOT NULL DEFAULT 0,
	version        INTEGER NOT NULL DEFAULT 0 -- how often people have saved changes
) STRICT;
CREATE UNIQUE INDEX studio_names ON studios (workspace_id, name COLLATE NOCASE) WHERE deleted_at = 0;

-- One start of a Studio. A Studio has at most one that has not ended.
CREATE TABLE studio_sessions (
	id             TEXT PRIMARY KEY,
	studio_id      TEXT NOT NULL REFERENCES studios,
	workspace_id   INTEGER NOT NULL REFERENCES workspaces,
	user_id        INTEGER NOT NULL REFERENCES users,
	compute_env_id TEXT NOT NULL REFERENCES compute_envs,
	studio_name    TEXT NOT NULL,
	config         TEXT NOT NULL,
	work_dir       TEXT NOT NULL,
	restored       TEXT NOT NULL,
	state          TEXT NOT NULL,
	state_since    INTEGER NOT NULL,
	created_at     INTEGER NOT NULL,
	started_at     INTEGER NOT NULL DEFAULT 0,
	ended_at       INTEGER NOT NULL DEFAULT 0,
	stop_at        INTEGER NOT NULL DEFAULT 0,
	stop_asked_at  INTEGER NOT NULL DEFAULT 0,
	stopped_by     TEXT NOT NULL DEFAULT '',
	stop_reason    TEXT NOT NULL DEFAULT '',
	building_at    INTEGER NOT NULL DEFAULT 0,
	ready_at       INTEGER NOT NULL DEFAULT 0,
	active_at      INTEGER NOT NULL DEFAULT 0,
	usage          TEXT NOT NULL DEFAULT '{}',
	end_report     TEXT NOT NULL DEFAULT '',
	message        TEXT NOT NULL DEFAULT '',
	details        TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX studio_sessions_living ON studio_sessions (studio_id) WHERE ended_at = 0;
CREATE INDEX studio_sessions_by_studio ON studio_sessions (studio_id, id);

CREATE TABLE checkpoints (
	id         TEXT PRIMARY KEY,
	studio_id  TEXT NOT NULL REFERENCES studios,
	session_id TEXT NOT NULL REFERENCES studio_sessions,
	name       TEXT NOT NULL DEFAULT '',
	state      TEXT NOT NULL,
	saved_at   INTEGER NOT NULL,
	size       INTEGER NOT NULL,
	files      INTEGER NOT NULL,
	final      INTEGER NOT NULL,
	work_dir   TEXT NOT NULL
) STRICT;
CREATE INDEX checkpoints_by_studio ON checkpoints (studio_id, id);

ALTER TABLE machines ADD studio_session_id TEXT REFERENCES studio_sessions;
ALTER TABLE machines ADD work_id TEXT GENERATED ALWAYS AS (coalesce(run_id, studio_session_id)) VIRTUAL; -- NULL: a warm machine
CREATE UNIQUE INDEX machine_of_studio_session ON machines (studio_session_id) WHERE studio_session_id IS NOT NULL;
CREATE UNIQUE INDEX machine_of_work ON machines (work_id) WHERE work_id IS NOT NULL;
DROP INDEX machines_warm;
CREATE INDEX machines_warm ON machines (compute_env_id, state) WHERE run_id IS NULL AND studio_session_id IS NULL;

-- Logs are of runs and of sessions of Studios.
CREATE TABLE new_log_streams (
	work_id  TEXT NOT NULL, -- of a run or a Studio's session
	stream   TEXT NOT NULL,
	size     INTEGER NOT NULL, -- bytes
	newlines INTEGER NOT NULL,
	PRIMARY KEY (work_id, stream)
) STRICT, WITHOUT ROWID;
INSERT INTO new_log_streams SELECT run_id, stream, size, newlines FROM log_streams;
DROP TABLE log_streams;
ALTER TABLE new_log_streams RENAME TO log_streams;
CREATE TABLE new_log_chunks (
	id              INTEGER PRIMARY KEY,
	work_id         TEXT NOT NULL,
	stream          TEXT NOT NULL,
	position        INTEGER NOT NULL,
	newlines_before INTEGER NOT NULL,
	data            BLOB NOT NULL
) STRICT;
INSERT INTO new_log_chunks SELECT id, run_id, stream, position, newlines_before, data FROM log_chunks;
DROP TABLE log_chunks;
ALTER TABLE new_log_chunks RENAME TO log_chunks;
CREATE UNIQUE INDEX log_positions ON log_chunks (work_id, stream, position);
CREATE INDEX log_lines ON log_chunks (work_id, stream, newlines_before, position);

ALTER TABLE changes ADD studio_id TEXT NOT NULL DEFAULT '';
ALTER TABLE limits ADD studios INTEGER NOT NULL DEFAULT 0;
ALTER TABLE limits ADD lifespan_hours INTEGER NOT NULL DEFAULT 0;
