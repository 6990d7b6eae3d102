-- People, what they may do, and what they did.
ALTER TABLE users ADD COLUMN admin INTEGER NOT NULL DEFAULT 0;       -- administers the portal
ALTER TABLE users ADD COLUMN disabled_at INTEGER NOT NULL DEFAULT 0; -- since then nobody comes in as this user
ALTER TABLE users ADD COLUMN password_at INTEGER NOT NULL DEFAULT 0; -- the password was set then
ALTER TABLE users ADD COLUMN email_chosen INTEGER NOT NULL DEFAULT 0; -- who typed it themselves has not shown that it is theirs: no identity at a provider is taken for them by it
UPDATE users SET admin = 1 WHERE id = (SELECT min(id) FROM users);   -- who set the portal up

ALTER TABLE sessions ADD COLUMN id TEXT NOT NULL DEFAULT ''; -- by which people and pages name it
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT ''; -- how it was begun: platform.SignInMethod
ALTER TABLE sessions ADD COLUMN confirmed_at INTEGER NOT NULL DEFAULT 0; -- when it was last proved who is there
UPDATE sessions SET id = lower(hex(randomblob(10)));

-- A second factor: time-based one-time passwords (RFC 6238).
CREATE TABLE second_factors (
	id           INTEGER PRIMARY KEY REFERENCES users ON DELETE CASCADE, -- whose it is
	secret       TEXT NOT NULL, -- sealed (db/seal.go)
	confirmed_at INTEGER NOT NULL DEFAULT 0, -- 0: shown, and not yet tried
	last_step    INTEGER NOT NULL DEFAULT 0  -- a code counts once
) STRICT;
CREATE TABLE recovery_codes (
	user_id   INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	code_hash TEXT NOT NULL,
	PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;

-- Who somebody is at an OpenID provider.
CREATE TABLE identities (
	issuer     TEXT NOT NULL,
	subject    TEXT NOT NULL,
	user_id    INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE access_tokens (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	user_id      INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	name         TEXT NOT NULL COLLATE NOCASE,
	token_hash   TEXT NOT NULL UNIQUE,
	created_at   INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL DEFAULT 0,
	last_address TEXT NOT NULL DEFAULT '',
	expires_at   INTEGER NOT NULL DEFAULT 0, -- 0: never
	UNIQUE (user_id, name)
) STRICT;

CREATE TABLE teams (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,
	organization_id INTEGER NOT NULL REFERENCES organizations ON DELETE CASCADE,
	name            TEXT NOT NULL COLLATE NOCASE,
	description     TEXT NOT NULL,
	created_at      INTEGER NOT NULL,
	UNIQUE (organization_id, name)
) STRICT;
CREATE TABLE team_members (
	team_id    INTEGER NOT NULL REFERENCES teams ON DELETE CASCADE,
	user_id    INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	from_group INTEGER NOT NULL DEFAULT 0, -- a group of the OpenID provider put them there, and takes them out again
	PRIMARY KEY (team_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE team_participants (
	workspace_id INTEGER NOT NULL REFERENCES workspaces ON DELETE CASCADE,
	team_id      INTEGER NOT NULL REFERENCES teams ON DELETE CASCADE,
	role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'maintain', 'launch', 'connect', 'view')),
	PRIMARY KEY (workspace_id, team_id)
) STRICT, WITHOUT ROWID;
-- Who is in a group of the OpenID provider is in the team.
CREATE TABLE idp_groups (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,
	organization_id INTEGER NOT NULL REFERENCES organizations ON DELETE CASCADE,
	name            TEXT NOT NULL,
	team_id         INTEGER NOT NULL REFERENCES teams ON DELETE CASCADE,
	UNIQUE (organization_id, name, team_id)
) STRICT;

-- The one rule of who has which role in a workspace: the highest of one's own, those of one's teams, and owner for owners of the
-- organization. rank 0 is the highest (platform.Roles).
CREATE VIEW role_ranks AS SELECT column1 AS role, column2 AS rank FROM
	(VALUES ('owner', 0), ('admin', 1), ('maintain', 2), ('launch', 3), ('connect', 4), ('view', 5));
CREATE VIEW workspace_roles AS
SELECT workspace_id, user_id, min(rank) AS rank FROM (
	SELECT p.workspace_id, p.user_id, r.rank FROM participants p JOIN role_ranks r ON r.role = p.role
	UNION ALL
	SELECT tp.workspace_id, tm.user_id, r.rank FROM team_participants tp JOIN team_members tm ON tm.team_id = tp.team_id JOIN role_ranks r ON r.role = tp.role
	UNION ALL
	SELECT w.id, om.user_id, 0 FROM workspaces w JOIN organization_members om ON om.organization_id = w.organization_id WHERE om.role = 'owner'
) GROUP BY workspace_id, user_id;
CREATE INDEX participants_by_user ON participants (user_id);
CREATE INDEX team_members_by_user ON team_members (user_id);
CREATE INDEX organization_members_by_user ON organization_members (user_id);

CREATE TABLE invitations (
	id              TEXT PRIMARY KEY,
	organization_id INTEGER NOT NULL REFERENCES organizations ON DELETE CASCADE,
	org_role        TEXT NOT NULL CHECK (org_role IN ('', 'owner', 'member')), -- empty: a collaborator, of one workspace
	team_id         INTEGER REFERENCES teams ON DELETE CASCADE,
	workspace_id    INTEGER REFERENCES workspaces ON DELETE CASCADE,
	role            TEXT NOT NULL, -- in that workspace; empty: none
	email           TEXT NOT NULL, -- empty: whoever has the link
	token_hash      TEXT NOT NULL UNIQUE,
	invited_by      INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
	created_at      INTEGER NOT NULL,
	expires_at      INTEGER NOT NULL,
	mailed_at       INTEGER NOT NULL DEFAULT 0,
	mail_error      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE pipeline_secrets (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	workspace_id INTEGER REFERENCES workspaces ON DELETE CASCADE, -- one of these two is NULL
	user_id      INTEGER REFERENCES users ON DELETE CASCADE,
	name         TEXT NOT NULL,
	value        TEXT NOT NULL, -- sealed (db/seal.go)
	created_at   INTEGER NOT NULL,
	updated_at   INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL DEFAULT 0,
	CHECK ((workspace_id IS NULL) <> (user_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX pipeline_secret_names ON pipeline_secrets (coalesce(workspace_id, 0), coalesce(user_id, 0), name);

CREATE TABLE labels (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	workspace_id INTEGER NOT NULL REFERENCES workspaces ON DELETE CASCADE,
	name         TEXT NOT NULL,
	value        TEXT NOT NULL DEFAULT '', -- of resource labels alone
	resource     INTEGER NOT NULL,         -- it becomes a tag of what is made in an account
	is_default   INTEGER NOT NULL DEFAULT 0,
	created_at   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX label_names ON labels (workspace_id, resource, name COLLATE NOCASE, value);
CREATE TABLE label_uses (
	label_id INTEGER NOT NULL REFERENCES labels ON DELETE CASCADE,
	kind     TEXT NOT NULL CHECK (kind IN ('pipeline', 'run', 'compute-env', 'studio')),
	of_id    TEXT NOT NULL,
	PRIMARY KEY (kind, of_id, label_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_uses_by_label ON label_uses (label_id);

-- The audit log. Each entry's hash covers the one before; its mac is by a key that is not in the database in clear. Nothing is
-- ever changed, and only the oldest are taken away, when audit_start has moved on.
CREATE TABLE audit_log (
	seq             INTEGER PRIMARY KEY,
	at              INTEGER NOT NULL,
	actor_kind      TEXT NOT NULL,
	user_id         INTEGER NOT NULL, -- 0: none
	user_name       TEXT NOT NULL,
	token           TEXT NOT NULL, -- the name of the access token
	address         TEXT NOT NULL,
	user_agent      TEXT NOT NULL,
	request         TEXT NOT NULL,
	organization_id INTEGER NOT NULL, -- 0: it is about the portal, or a user alone
	workspace_id    INTEGER NOT NULL,
	action          TEXT NOT NULL,
	target_kind     TEXT NOT NULL,
	target_id       TEXT NOT NULL,
	target_name     TEXT NOT NULL,
	before          TEXT NOT NULL, -- JSON; empty: there was nothing
	after           TEXT NOT NULL,
	hash            TEXT NOT NULL,
	key_id          TEXT NOT NULL,
	mac             TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_organization ON audit_log (organization_id, seq);
CREATE INDEX audit_by_target ON audit_log (target_id, at);
CREATE TABLE audit_start (
	one      INTEGER PRIMARY KEY CHECK (one = 1),
	seq      INTEGER NOT NULL, -- the last entry that was taken away
	hash     TEXT NOT NULL
) STRICT;
INSERT INTO audit_start VALUES (1, 0, '');
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit_log BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit_log WHEN OLD.seq > (SELECT seq FROM audit_start)
	BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_appended BEFORE INSERT ON audit_log WHEN NEW.seq <> coalesce((SELECT max(seq) FROM audit_log), (SELECT seq FROM audit_start)) + 1
	BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END; -- also against REPLACE, which asks no trigger of DELETE
