package db

import (
	"context"

	"wherry/platform"
)

// AddReports keeps which files a run made for people to look at. Of two of one name the newer counts.
func (d *DB) AddReports(ctx context.Context, m platform.Machine, reports []platform.Report) error {
	if len(reports) == 0 {
		return nil
	}
	if m.RunID == "" {
		return platform.Errorf(platform.CodeInvalid, "Only runs have reports.")
	}
	if len(reports) > platform.MaxReports {
		return tooManyReports()
	}
	return d.inTx(ctx, func(t *tx) error {
		for _, r := range reports {
			if err := r.Clean(); err != nil {
				return err
			}
			_, err := t.ExecContext(ctx, `INSERT OR REPLACE INTO reports (run_id, name, display, mime_type, size) VALUES (?, ?, ?, ?, ?)`,
				m.RunID, r.Name, r.Display, r.MIMEType, r.Size)
			if err != nil {
				return err
			}
		}
		var n int
		if err := t.QueryRowContext(ctx, `SELECT count(*) FROM reports WHERE run_id = ?`, m.RunID).Scan(&n); err != nil {
			return err
		}
		if n > platform.MaxReports {
			return tooManyReports()
		}
		t.change(m.WorkspaceID, m.RunID, platform.ChangeRun)
		return nil
	})
}

func tooManyReports() error {
	return platform.Errorf(platform.CodeInvalid, "A run has at most %d reports.", platform.MaxReports)
}

// Reports lists a run's reports by name.
func (d *DB) Reports(ctx context.Context, runID string) ([]platform.Report, error) {
	return all(ctx, d.read, func(s scanner) (r platform.Report, err error) {
		err = s.Scan(&r.Name, &r.Display, &r.MIMEType, &r.Size)
		return r, err
	}, `SELECT name, display, mime_type, size FROM reports WHERE run_id = ? ORDER BY name`, runID)
}
