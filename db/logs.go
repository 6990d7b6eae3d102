package db

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"wherry/platform"
)

// mergeBelow is the size in bytes up to which the newest chunk of a log grows, so that a log that trickles in line by line
// does not become a row a line.
const mergeBelow = 16 << 10

// AppendLog adds data to a log of a run or a Studio's session at a byte offset, and answers where the next chunk must begin. What the log has
// already is passed over; a gap is CodeConflict, and adds nothing.
func (d *DB) AppendLog(ctx context.Context, m platform.Machine, stream platform.LogStream, offset int64, data []byte) (next int64, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		var newlines int64
		err := t.QueryRowContext(ctx, `SELECT size, newlines FROM log_streams WHERE work_id = ? AND stream = ?`, m.WorkID(), stream).Scan(&next, &newlines)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if offset > next {
			return platform.Errorf(platform.CodeConflict, "The log has %d bytes; a chunk at %d would leave a gap.", next, offset)
		}
		if known := next - offset; known >= int64(len(data)) {
			return nil
		} else {
			data = data[known:]
		}
		if err := t.appendChunk(ctx, m.WorkID(), stream, next, newlines, data); err != nil {
			return err
		}
		next += int64(len(data))
		newlines += int64(bytes.Count(data, []byte{'\n'}))
		t.changeOf(m, platform.ChangeLog)
		_, err = t.ExecContext(ctx, `INSERT OR REPLACE INTO log_streams (work_id, stream, size, newlines) VALUES (?, ?, ?, ?)`, m.WorkID(), stream, next, newlines)
		return err
	})
	return next, err
}

func (t *tx) appendChunk(ctx context.Context, workID string, stream platform.LogStream, position, newlines int64, data []byte) error {
	var id, size int64
	err := t.QueryRowContext(ctx, `SELECT id, length(data) FROM log_chunks WHERE work_id = ? AND stream = ? ORDER BY position DESC LIMIT 1`, workID, stream).Scan(&id, &size)
	switch {
	case err == nil && size+int64(len(data)) <= mergeBelow:
		_, err = t.ExecContext(ctx, `UPDATE log_chunks SET data = CAST(data || ? AS BLOB) WHERE id = ?`, data, id)
		return err
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	}
	_, err = t.ExecContext(ctx, `INSERT INTO log_chunks (work_id, stream, position, newlines_before, data) VALUES (?, ?, ?, ?, ?)`,
		workID, stream, position, newlines, data)
	return err
}

// LogSize tells how many bytes, and how many line ends, a log has.
func (d *DB) LogSize(ctx context.Context, workID string, stream platform.LogStream) (size, newlines int64, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT size, newlines FROM log_streams WHERE work_id = ? AND stream = ?`, workID, stream).Scan(&size, &newlines)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, nil
	}
	return size, newlines, err
}

// maxWindow bounds how many bytes of a log one window reads, unless its first line alone is longer, and how many of one line
// are searched.
const maxWindow = 4 << 20

// LogLines reads a window of at most count lines of a log. first counts from 0; a negative one counts from the end, so
// that -100 begins with the hundredth line from the end.
func (d *DB) LogLines(ctx context.Context, workID string, stream platform.LogStream, first int64, count int) (w platform.LogLines, err error) {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // size and chunks of one moment
	if err != nil {
		return w, err
	}
	defer tx.Rollback()
	var newlines int64
	err = tx.QueryRowContext(ctx, `SELECT size, newlines FROM log_streams WHERE work_id = ? AND stream = ?`, workID, stream).Scan(&w.Size, &newlines)
	if errors.Is(err, sql.ErrNoRows) {
		return platform.LogLines{Lines: []string{}}, nil
	}
	if err != nil {
		return w, err
	}
	w.Total = newlines
	unfinished, err := endsWithoutNewline(ctx, tx, workID, stream)
	if err != nil {
		return w, err
	}
	if unfinished {
		w.Total++
	}
	if first < 0 {
		first = max(0, w.Total+first)
	}
	w.First = min(first, w.Total)
	w.Lines, err = readLines(ctx, tx, workID, stream, w.First, int(min(int64(count), w.Total-w.First)))
	w.Partial = unfinished && len(w.Lines) > 0 && w.First+int64(len(w.Lines)) == w.Total
	return w, err
}

func endsWithoutNewline(ctx context.Context, q queryer, workID string, stream platform.LogStream) (bool, error) {
	var last []byte
	err := q.QueryRowContext(ctx, `SELECT substr(data, -1) FROM log_chunks WHERE work_id = ? AND stream = ? ORDER BY position DESC LIMIT 1`, workID, stream).Scan(&last)
	return len(last) == 1 && last[0] != '\n', err
}

// readLines reads count whole lines from line first on.
func readLines(ctx context.Context, q queryer, workID string, stream platform.LogStream, first int64, count int) ([]string, error) {
	lines := []string{}
	if count <= 0 {
		return lines, nil
	}
	rows, err := chunksFrom(ctx, q, workID, stream, first)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var line []byte
	var at int64 = -1 // number of the line that is being read
	read := 0
	whole := false // the log was read to its end
	for len(lines) < count && (read < maxWindow || len(lines) == 0) {
		if whole = !rows.Next(); whole {
			break
		}
		var before int64
		var data sql.RawBytes
		if err := rows.Scan(&before, &data); err != nil {
			return nil, err
		}
		if at < 0 {
			at = before
		}
		read += len(data)
		for rest := []byte(data); len(rest) > 0 && len(lines) < count; {
			part, after, ended := bytes.Cut(rest, []byte{'\n'})
			if at >= first && len(line) <= platform.MaxLogLine {
				line = append(line, part...)
			}
			if rest = after; !ended {
				break
			}
			if at >= first {
				lines = append(lines, showLine(line))
			}
			line, at = line[:0], at+1
		}
	}
	if whole && at >= first && len(line) > 0 {
		lines = append(lines, showLine(line))
	}
	return lines, rows.Err()
}

// chunksFrom reads chunks, with the line ends before each, from the one in which a line begins. The line may begin in the
// chunk before the first one that has as many line ends before it.
func chunksFrom(ctx context.Context, q queryer, workID string, stream platform.LogStream, first int64) (*sql.Rows, error) {
	return q.QueryContext(ctx, `SELECT newlines_before, data FROM log_chunks WHERE work_id = ?1 AND stream = ?2 AND position >= coalesce(
		(SELECT position FROM log_chunks WHERE work_id = ?1 AND stream = ?2 AND newlines_before < ?3 ORDER BY newlines_before DESC, position DESC LIMIT 1), 0)
		ORDER BY position`, workID, stream, first)
}

// showLine makes a line fit for JSON and for the eye: valid UTF-8, not endless, no carriage return at its end.
func showLine(line []byte) string {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if len(line) > platform.MaxLogLine {
		cut := platform.MaxLogLine
		for cut > platform.MaxLogLine-utf8.UTFMax && !utf8.RuneStart(line[cut]) {
			cut--
		}
		return strings.ToValidUTF8(string(line[:cut]), "\uFFFD") + " … (the line is longer; download the log to see it all)"
	}
	return strings.ToValidUTF8(string(line), "\uFFFD")
}

// SearchLog finds the numbers of the lines that contain text, whatever its case, at most limit of them; more tells that
// there are others.
func (d *DB) SearchLog(ctx context.Context, workID string, stream platform.LogStream, text string, limit int) (matches []int64, more bool, err error) {
	needle := bytes.ToLower([]byte(text))
	err = d.eachLine(ctx, workID, stream, func(number int64, line []byte) bool {
		if bytes.Contains(bytes.ToLower(line), needle) {
			if more = len(matches) == limit; more {
				return false
			}
			matches = append(matches, number)
		}
		return true
	})
	return matches, more, err
}

func (d *DB) eachLine(ctx context.Context, workID string, stream platform.LogStream, f func(number int64, line []byte) bool) error {
	rows, err := chunksFrom(ctx, d.read, workID, stream, 0)
	if err != nil {
		return err
	}
	defer rows.Close()
	var line []byte
	var number int64
	for rows.Next() {
		var before int64
		var data sql.RawBytes
		if err := rows.Scan(&before, &data); err != nil {
			return err
		}
		for rest := []byte(data); len(rest) > 0; {
			part, after, ended := bytes.Cut(rest, []byte{'\n'})
			if len(line) < maxWindow {
				line = append(line, part...)
			}
			if rest = after; !ended {
				break
			}
			if !f(number, line) {
				return nil
			}
			line, number = line[:0], number+1
		}
	}
	if len(line) > 0 {
		f(number, line)
	}
	return rows.Err()
}

// CopyLog writes a whole log as it is now, byte for byte. It reads piece by piece, so that a slow reader keeps neither a
// connection nor the write-ahead log busy.
func (d *DB) CopyLog(ctx context.Context, w io.Writer, workID string, stream platform.LogStream) error {
	size, _, err := d.LogSize(ctx, workID, stream)
	if err != nil {
		return err
	}
	for at := int64(0); at < size; {
		var data []byte
		// The newest chunk may have grown since the last piece, so the next piece may begin in the middle of a chunk.
		err := d.read.QueryRowContext(ctx, `SELECT substr(data, ?3 - position + 1) FROM log_chunks WHERE work_id = ?1 AND stream = ?2 AND position <= ?3
			ORDER BY position DESC LIMIT 1`, workID, stream, at).Scan(&data)
		if err != nil {
			return err
		}
		data = data[:min(int64(len(data)), size-at)]
		if len(data) == 0 {
			return fmt.Errorf("the log %s of run %s has nothing at byte %d of %d", stream, workID, at, size)
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		at += int64(len(data))
	}
	return nil
}
