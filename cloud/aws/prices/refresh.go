package prices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// PublicURL is where AWS publishes its prices, for everyone and without credentials: AWS Billing user guide, "Getting price
// list files manually".
const PublicURL = "https://pricing.us-east-1.amazonaws.com"

const (
	// answerLimit is how long the beginning of an answer may take, and stallLimit how long nothing more of it may come.
	answerLimit = 30 * time.Second
	stallLimit  = time.Minute
)

// Refresh fetches a region's newest prices, and writes them into the data folder once they are whole. What is there stays
// when anything fails. url is where to ask, PublicURL or a mirror of it. It returns how many types have a price, and as of
// when.
func Refresh(ctx context.Context, dataDir, url, region string) (types int, at time.Time, err error) {
	return refresher{url: url, stall: stallLimit}.refresh(ctx, dataDir, region)
}

type refresher struct {
	url   string
	stall time.Duration
}

func (r refresher) refresh(ctx context.Context, dataDir, region string) (types int, at time.Time, err error) {
	if !regionForm.MatchString(region) {
		return 0, at, fmt.Errorf("%q is not the name of a commercial region, such as eu-west-1", region)
	}
	d, err := r.fetch(ctx, region)
	if err != nil {
		return 0, at, fmt.Errorf("reading the prices of %s: %w; the prices that were known are kept", region, err)
	}
	got := d.Regions[region]
	if was := len(shippedTable().regionHours(region)); len(got.Hours) < was*4/5 {
		return 0, at, fmt.Errorf("the price list of %s has prices of %d types, and %d were known: it seems to be cut off, so the prices that were known are kept. Try again", region, len(got.Hours), was)
	}
	if err := write(filepath.Join(dataDir, FolderName), region+fileEnd, d); err != nil {
		return 0, at, fmt.Errorf("writing the prices of %s: %w", region, err)
	}
	return len(got.Hours), got.At, nil
}

func (t *Table) regionHours(region string) map[string]Hour {
	if r := t.regions[region]; r != nil {
		return r.Hours
	}
	return nil
}

func (r refresher) fetch(ctx context.Context, region string) (Document, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	address := r.url + "/offers/v1.0/aws/AmazonEC2/current/" + region + "/index.csv"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Document{}, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerLimit
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, CheckRedirect: stay}).Do(request)
	if err != nil {
		return Document{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Document{}, fmt.Errorf("%s answered %s", address, response.Status)
	}
	body := newStallReader(response.Body, r.stall, cancel)
	defer body.timer.Stop()
	d, err := readPriceList(body, region)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return d, cause
	}
	return d, err
}

// stay keeps a client at the address that the operator gave.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// stallReader ends a download of which nothing has come for a while. How long all of it takes is nobody's business.
type stallReader struct {
	r     io.Reader
	limit time.Duration
	timer *time.Timer
}

func newStallReader(r io.Reader, limit time.Duration, cancel context.CancelCauseFunc) *stallReader {
	return &stallReader{r, limit, time.AfterFunc(limit, func() { cancel(fmt.Errorf("nothing came for %s", limit)) })}
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.timer.Reset(s.limit)
	return n, err
}

// write writes a document under another name first, and has it on the disk before it gets its own, so that nobody ever
// reads half of one.
func write(dir, name string, d Document) error {
	var content bytes.Buffer
	if err := d.Write(&content); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	part, err := os.CreateTemp(dir, name+".part-")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	_, err = part.Write(content.Bytes())
	if err := errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
