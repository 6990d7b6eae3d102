-- Machines in a cloud: warm ones, which have no run yet, what they cost, and what their platform must remember. The table is
-- made anew because SQLite cannot take NOT NULL from a column; the steps go with it because they refer to it.
CREATE TABLE new_machines (
	id             TEXT PRIMARY KEY,
	workspace_id   INTEGER NOT NULL REFERENCES workspaces,
	run_id         TEXT UNIQUE REFERENCES runs, -- NULL: a warm machine
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
	created_at     INTEGER NOT NULL,
	waiting        TEXT NOT NULL DEFAULT '',
	placement      TEXT NOT NULL DEFAULT '',
	placed_at      INTEGER NOT NULL DEFAULT 0,
	hardware       TEXT NOT NULL DEFAULT '{}',
	digest         TEXT NOT NULL DEFAULT '',
	boot_failure   TEXT NOT NULL DEFAULT '',
	admitted_at    INTEGER NOT NULL DEFAULT 0,
	launched_at    INTEGER NOT NULL DEFAULT 0,
	gone_at        INTEGER NOT NULL DEFAULT 0,
	end_asked_at   INTEGER NOT NULL DEFAULT 0,
	end_asked_by   TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO new_machines (id, workspace_id, run_id, compute_env_id, state, instance_id, failure, attempts, next_step_at, state_since,
	claimed_at, key_hash, heartbeat_at, reported_at, created_at, admitted_at, gone_at)
	SELECT id, workspace_id, run_id, compute_env_id, state, instance_id, failure, attempts, next_step_at, state_since,
	claimed_at, key_hash, heartbeat_at, reported_at, created_at, created_at, iif(state = 'terminated', state_since, 0) FROM machines;
CREATE TABLE new_steps (
	id         INTEGER PRIMARY KEY, -- orders what happened in the same millisecond
	machine_id TEXT NOT NULL REFERENCES new_machines,
	name       TEXT NOT NULL,
	by_agent   INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	note       TEXT NOT NULL,
	UNIQUE (machine_id, by_agent, name)
) STRICT;
INSERT INTO new_steps SELECT id, machine_id, name, by_agent, at, note FROM steps;
DROP TABLE steps;
DROP TABLE machines;
ALTER TABLE new_machines RENAME TO machines;
ALTER TABLE new_steps RENAME TO steps;
CREATE INDEX machines_living ON machines (state, next_step_at) WHERE state <> 'terminated';
CREATE UNIQUE INDEX machine_keys ON machines (key_hash) WHERE key_hash <> '';
CREATE INDEX machines_billed ON machines (workspace_id, gone_at) WHERE launched_at <> 0;
CREATE INDEX machines_warm ON machines (compute_env_id, state) WHERE run_id IS NULL;

ALTER TABLE runs ADD stop_reason TEXT NOT NULL DEFAULT ''; -- why a loop asked for its end; empty: no loop did
ALTER TABLE runs ADD relaunch_of TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD relaunches INTEGER NOT NULL DEFAULT 0; -- how many launches in a row were made for interruptions
CREATE UNIQUE INDEX run_relaunches ON runs (relaunch_of) WHERE relaunch_of <> '';

-- Files that a run made for people to look at; they are in its folder of the work directory.
CREATE TABLE reports (
	run_id    TEXT NOT NULL REFERENCES runs,
	name      TEXT NOT NULL,
	display   TEXT NOT NULL,
	mime_type TEXT NOT NULL,
	size      INTEGER NOT NULL,
	PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

-- Instances that the sweep ended, because no living machine stood for them.
CREATE TABLE sweeps (
	id             INTEGER PRIMARY KEY,
	workspace_id   INTEGER NOT NULL REFERENCES workspaces,
	compute_env_id TEXT NOT NULL REFERENCES compute_envs,
	machine_id     TEXT NOT NULL,
	instance_id    TEXT NOT NULL,
	why            TEXT NOT NULL,
	at             INTEGER NOT NULL,
	UNIQUE (compute_env_id, instance_id)
) STRICT;

-- What a workspace may use at once, and in a month; 0: as much as it wants.
CREATE TABLE limits (
	workspace_id    INTEGER PRIMARY KEY REFERENCES workspaces,
	instances       INTEGER NOT NULL,
	month_micro_usd INTEGER NOT NULL
) STRICT;

ALTER TABLE compute_envs ADD access_token TEXT NOT NULL DEFAULT ''; -- sealed (db/seal.go); empty: none
