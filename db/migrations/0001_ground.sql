-- Times are UTC in milliseconds since 1970; 0 is "never". Names of columns are those of platform/ and of the API.
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE users (
	id            INTEGER PRIMARY KEY,
	user_name     TEXT NOT NULL UNIQUE COLLATE NOCASE,
	email         TEXT NOT NULL UNIQUE,
	password_hash TEXT NOT NULL,
	created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE organizations (
	id         INTEGER PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
	full_name  TEXT NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE organization_members (
	organization_id INTEGER NOT NULL REFERENCES organizations ON DELETE CASCADE,
	user_id         INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	role            TEXT NOT NULL CHECK (role IN ('owner', 'member')),
	PRIMARY KEY (organization_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE workspaces (
	id              INTEGER PRIMARY KEY,
	organization_id INTEGER NOT NULL REFERENCES organizations,
	name            TEXT NOT NULL COLLATE NOCASE,
	full_name       TEXT NOT NULL,
	created_at      INTEGER NOT NULL,
	UNIQUE (organization_id, name)
) STRICT;

CREATE TABLE participants (
	workspace_id INTEGER NOT NULL REFERENCES workspaces ON DELETE CASCADE,
	user_id      INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'maintain', 'launch', 'connect', 'view')),
	PRIMARY KEY (workspace_id, user_id)
) STRICT, WITHOUT ROWID;

-- The cookie holds the token; only its hash is here.
CREATE TABLE sessions (
	token_hash TEXT PRIMARY KEY,
	user_id    INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	csrf       TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	seen_at    INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in_links (
	token_hash TEXT PRIMARY KEY,
	user_id    INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE compute_envs (
	id           TEXT PRIMARY KEY,
	workspace_id INTEGER NOT NULL REFERENCES workspaces,
	name         TEXT NOT NULL,
	platform     TEXT NOT NULL,
	region       TEXT NOT NULL,
	work_dir     TEXT NOT NULL,
	status       TEXT NOT NULL,
	message      TEXT NOT NULL,
	is_primary   INTEGER NOT NULL,
	config       TEXT NOT NULL,
	created_at   INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL,
	deleted_at   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX compute_env_names ON compute_envs (workspace_id, name COLLATE NOCASE) WHERE deleted_at = 0;

CREATE TABLE pipelines (
	id           INTEGER PRIMARY KEY,
	workspace_id INTEGER NOT NULL REFERENCES workspaces,
	name         TEXT NOT NULL COLLATE NOCASE,
	description  TEXT NOT NULL,
	launch       TEXT NOT NULL,
	created_at   INTEGER NOT NULL,
	UNIQUE (workspace_id, name)
) STRICT;

CREATE TABLE runs (
	id              TEXT PRIMARY KEY,
	workspace_id    INTEGER NOT NULL REFERENCES workspaces,
	user_id         INTEGER NOT NULL REFERENCES users,
	pipeline_id     INTEGER NOT NULL, -- 0: a quick launch; the pipeline may be deleted since
	compute_env_id  TEXT NOT NULL REFERENCES compute_envs,
	name            TEXT NOT NULL,
	launch          TEXT NOT NULL,
	work_dir        TEXT NOT NULL,
	state           TEXT NOT NULL,
	created_at      INTEGER NOT NULL,
	started_at      INTEGER NOT NULL DEFAULT 0,
	ended_at        INTEGER NOT NULL DEFAULT 0,
	cancel_asked_at INTEGER NOT NULL DEFAULT 0,
	cancelled_by    TEXT NOT NULL DEFAULT '',
	session_id      TEXT NOT NULL DEFAULT '',
	begun_at        INTEGER NOT NULL DEFAULT 0,
	command_line    TEXT NOT NULL DEFAULT '',
	workflow        TEXT NOT NULL DEFAULT '',
	progress        TEXT NOT NULL DEFAULT '',
	progress_at     INTEGER NOT NULL DEFAULT 0,
	completion      TEXT NOT NULL DEFAULT '',
	end_report      TEXT NOT NULL DEFAULT '',
	error_message   TEXT NOT NULL DEFAULT '',
	error_report    TEXT NOT NULL DEFAULT '',
	exit_status     INTEGER
) STRICT;
CREATE UNIQUE INDEX run_names ON runs (workspace_id, name COLLATE NOCASE);
CREATE INDEX runs_by_workspace ON runs (workspace_id, id);
CREATE INDEX runs_living ON runs (id) WHERE state IN ('SUBMITTED', 'RUNNING', 'UNKNOWN');

CREATE TABLE machines (
	id             TEXT PRIMARY KEY,
	workspace_id   INTEGER NOT NULL REFERENCES workspaces,
	run_id         TEXT NOT NULL UNIQUE REFERENCES runs,
	compute_env_id TEXT NOT NULL REFERENCES compute_envs,
	state          TEXT NOT NULL,
	instance_id    TEXT NOT NULL DEFAULT '',
	failure        TEXT NOT NULL DEFAULT '',
	attempts       INTEGER NOT NULL DEFAULT 0,
	next_step_at   INTEGER NOT NULL,
	state_since    INTEGER NOT NULL,
	claimed_at     INTEGER NOT NULL DEFAULT 0,
	key_hash       TEXT NOT NULL DEFAULT '',
	heartbeat_at   INTEGER NOT NULL DEFAULT 0,
	reported_at    INTEGER NOT NULL DEFAULT 0,
	created_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX machines_living ON machines (state, next_step_at) WHERE state <> 'terminated';
CREATE UNIQUE INDEX machine_keys ON machines (key_hash) WHERE key_hash <> '';

-- The launch timeline: every state of a machine, and what its agent saw happen.
CREATE TABLE steps (
	id         INTEGER PRIMARY KEY, -- orders what happened in the same millisecond
	machine_id TEXT NOT NULL REFERENCES machines,
	name       TEXT NOT NULL,
	by_agent   INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	note       TEXT NOT NULL,
	UNIQUE (machine_id, by_agent, name)
) STRICT;

CREATE TABLE tasks (
	run_id   TEXT NOT NULL REFERENCES runs,
	task_id  INTEGER NOT NULL,
	status   TEXT NOT NULL,
	hash     TEXT NOT NULL,
	name     TEXT NOT NULL,
	process  TEXT NOT NULL,
	tag      TEXT NOT NULL,
	exit     INTEGER,
	submit   INTEGER NOT NULL,
	duration INTEGER,
	realtime INTEGER,
	pcpu     REAL,
	peak_rss INTEGER,
	task     TEXT NOT NULL, -- the whole of it, as JSON in the API's names
	PRIMARY KEY (run_id, task_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_streams (
	run_id   TEXT NOT NULL REFERENCES runs,
	stream   TEXT NOT NULL,
	size     INTEGER NOT NULL, -- bytes
	newlines INTEGER NOT NULL,
	PRIMARY KEY (run_id, stream)
) STRICT, WITHOUT ROWID;

-- A chunk's position is its byte offset; newlines_before finds the chunk of a line.
CREATE TABLE log_chunks (
	id              INTEGER PRIMARY KEY,
	run_id          TEXT NOT NULL REFERENCES runs,
	stream          TEXT NOT NULL,
	position        INTEGER NOT NULL,
	newlines_before INTEGER NOT NULL,
	data            BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX log_positions ON log_chunks (run_id, stream, position);
CREATE INDEX log_lines ON log_chunks (run_id, stream, newlines_before, position);

-- The journal of changes. AUTOINCREMENT, so that an id is never given twice, even after the newest rows were removed.
CREATE TABLE changes (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	workspace_id INTEGER NOT NULL,
	run_id       TEXT NOT NULL,
	kind         TEXT NOT NULL
) STRICT;
