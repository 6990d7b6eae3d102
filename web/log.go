package web

import (
	"context"
	"log/slog"
)

// request is what log lines say of the request during which they are written.
type request struct {
	id  string
	run string // empty: it is about none
}

type requestKey struct{}

func withRequest(ctx context.Context, r *request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// requestOf is the request that ctx belongs to; outside of one it is a new one, which nobody reads.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// LogHandler adds to every line that is written with a request's context that request's id, and the run that it is about.
func LogHandler(inner slog.Handler) slog.Handler { return logHandler{inner} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, line slog.Record) error {
	r := requestOf(ctx)
	if r.id != "" {
		line.AddAttrs(slog.String("request", r.id))
	}
	if r.run != "" {
		line.AddAttrs(slog.String("run", r.run))
	}
	return h.Handler.Handle(ctx, line)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }
