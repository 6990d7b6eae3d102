package db

import (
	"context"
	"database/sql"
	"sync"
)

// reader asks the database questions. Each is prepared once for a connection: parsing one takes longer than answering it.
type reader struct {
	*sql.DB
	prepared sync.Map // of *sql.Stmt by their text, of which there are as many as the code has
}

// QueryContext is that of sql.DB.
func (r *reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := r.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryRowContext is that of sql.DB.
func (r *reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := r.prepare(ctx, query)
	if err != nil {
		return r.DB.QueryRowContext(ctx, query, args...) // a row that tells the error
	}
	return stmt.QueryRowContext(ctx, args...)
}

func (r *reader) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := r.prepared.Load(query); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := r.DB.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, ok := r.prepared.LoadOrStore(query, stmt); ok { // another was quicker
		return first.(*sql.Stmt), stmt.Close()
	}
	return stmt, nil
}
