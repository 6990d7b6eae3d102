package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// LoseSecrets makes a new ring of keys, and a new key file, for a portal of which the master key is lost for good. What was sealed
// opens never again and is to be entered anew; everything else is as it was. It is for a data folder on which no portal works.
func LoseSecrets(ctx context.Context, dir string) error {
	path := filepath.Join(dir, KeyName)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there: move it away first, if it is not the key of this database", path)
	}
	conn, err := openAsIs(filepath.Join(dir, FileName))
	if err != nil {
		return err
	}
	defer conn.Close()
	var lost lostKeys
	if lost.Audit, err = all(ctx, conn, scanString, `SELECT id FROM data_keys WHERE purpose = 'audit' ORDER BY seq`); err != nil {
		return err
	}
	if lost.Masters, err = all(ctx, conn, scanString, `SELECT id FROM master_keys ORDER BY seq`); err != nil {
		return err
	}
	if err := loseKeys(ctx, conn, noteLost(ctx, lost)); err != nil {
		return err
	}
	if err := replaceKeyFile(path, newKey()); err != nil {
		return err
	}
	d, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	return d.Close()
}
