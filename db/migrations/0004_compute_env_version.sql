ALTER TABLE compute_envs ADD version INTEGER NOT NULL DEFAULT 0; -- how often people have saved changes
