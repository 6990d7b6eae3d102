-- The ring of keys. What is sealed in the database is sealed by a data key, and each data key by the master key, which is
-- never here. While the master key is replaced there are two: every data key is sealed by both.
CREATE TABLE master_keys (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	id         TEXT NOT NULL UNIQUE,
	created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE data_keys (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- the newest of its purpose is in use
	id         TEXT NOT NULL UNIQUE,
	purpose    TEXT NOT NULL, -- values: seals; machines: claim tokens and those of Studios come from it
	created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE wrapped_keys (
	key_id    TEXT NOT NULL REFERENCES data_keys (id) ON DELETE CASCADE,
	master_id TEXT NOT NULL REFERENCES master_keys (id) ON DELETE CASCADE,
	sealed    TEXT NOT NULL,
	PRIMARY KEY (key_id, master_id)
) STRICT, WITHOUT ROWID;
