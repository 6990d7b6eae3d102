-- Who typed an e-mail address for themselves has not shown that it is theirs: no identity at a provider is taken for them by it.
ALTER TABLE users ADD COLUMN email_chosen INTEGER NOT NULL DEFAULT 0;
