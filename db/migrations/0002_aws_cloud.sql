-- Credentials, and compute environments that make things in an account.
CREATE TABLE credentials (
	id           TEXT PRIMARY KEY,
	workspace_id INTEGER NOT NULL REFERENCES workspaces,
	name         TEXT NOT NULL COLLATE NOCASE,
	mode         TEXT NOT NULL CHECK (mode IN ('keys', 'role')),
	access_key   TEXT NOT NULL,
	secret_key   TEXT NOT NULL, -- sealed (db/seal.go)
	role_arn     TEXT NOT NULL,
	external_id  TEXT NOT NULL,
	status       TEXT NOT NULL,
	message      TEXT NOT NULL,
	created_at   INTEGER NOT NULL,
	updated_at   INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL DEFAULT 0,
	validated_at INTEGER NOT NULL DEFAULT 0,
	UNIQUE (workspace_id, name)
) STRICT;

ALTER TABLE compute_envs ADD credentials_id TEXT NOT NULL DEFAULT '';
ALTER TABLE compute_envs ADD status_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE compute_envs ADD next_step_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE compute_envs ADD attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE compute_envs ADD check_asked_at INTEGER NOT NULL DEFAULT 0;
UPDATE compute_envs SET status = 'DELETED' WHERE deleted_at <> 0;
CREATE INDEX compute_envs_due ON compute_envs (next_step_at) WHERE status IN ('CREATING', 'DELETING') OR check_asked_at <> 0;
CREATE INDEX compute_envs_by_credentials ON compute_envs (credentials_id) WHERE credentials_id <> '';

CREATE TABLE resources (
	compute_env_id TEXT NOT NULL REFERENCES compute_envs,
	kind           TEXT NOT NULL,
	name           TEXT NOT NULL,
	digest         TEXT NOT NULL,
	state          TEXT NOT NULL,
	updated_at     INTEGER NOT NULL,
	position       INTEGER NOT NULL, -- the order in which they were first written down
	PRIMARY KEY (compute_env_id, kind, name)
) STRICT;
