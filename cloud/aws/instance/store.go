package instance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"wherry/agent"
	"wherry/platform"
)

// Sizes of the parts of a multipart upload. S3 takes at most 10,000 parts, and objects of 5 TB: the first parts are small,
// because they are held in memory, and later ones larger, so that there is room for what is large.
const (
	smallPart  = 16 << 20
	largePart  = 512 << 20
	smallParts = 2000
)

// store is a work directory in S3.
type store struct {
	client *s3.Client
	bucket string
	prefix string // with a slash at its end, or empty
}

// Store is the run's work directory, which must be in S3.
func (i *Instance) Store(ctx context.Context, spec platform.Spec) (agent.Store, error) {
	u, err := url.Parse(spec.Launch.WorkDir)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return nil, fmt.Errorf("the work directory %q is not in S3", spec.Launch.WorkDir)
	}
	config, err := i.config(ctx, spec)
	if err != nil {
		return nil, err
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &store{client: s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = i.byPath() }), bucket: u.Host, prefix: prefix}, nil
}

// Put sends what is small at once, and the rest in parts.
func (s *store) Put(ctx context.Context, key string, body io.Reader) error {
	part, last, err := readPart(body, smallPart)
	if err != nil {
		return err
	}
	if last {
		_, err = s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.key(key), Body: bytes.NewReader(part)})
	} else {
		err = s.putParts(ctx, key, part, body)
	}
	if err != nil {
		return fmt.Errorf("S3 did not take %s: %w", key, err)
	}
	return nil
}

// putParts sends a large body. A failed upload is left as it is: to remove its parts is none of the role's permissions.
func (s *store) putParts(ctx context.Context, key string, part []byte, body io.Reader) error {
	made, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: s.key(key)})
	if err != nil {
		return err
	}
	var done types.CompletedMultipartUpload
	for last := false; len(part) > 0; {
		number := int32(len(done.Parts) + 1)
		next := readNext(body, number, last)
		sent, err := s.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &s.bucket, Key: s.key(key), UploadId: made.UploadId,
			PartNumber: &number, Body: bytes.NewReader(part)})
		read := next()
		if err = cmp.Or(err, read.err); err != nil {
			return err
		}
		done.Parts = append(done.Parts, types.CompletedPart{PartNumber: &number, ETag: sent.ETag, ChecksumCRC32: sent.ChecksumCRC32})
		part, last = read.part, read.last
	}
	_, err = s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &s.bucket, Key: s.key(key), UploadId: made.UploadId, MultipartUpload: &done})
	return err
}

// partRead is a part of a body; last tells that there is no more.
type partRead struct {
	part []byte
	last bool
	err  error
}

// readNext reads the part after the one of a number, and returns what waits for it. A small one is read while the one before
// is sent: what packs an archive need not wait for the network. There is none after the last.
func readNext(body io.Reader, number int32, last bool) (wait func() partRead) {
	read := func(size int64) (r partRead) {
		r.part, r.last, r.err = readPart(body, size)
		return r
	}
	switch {
	case last:
		return func() partRead { return partRead{} }
	case number >= smallParts:
		return func() partRead { return read(largePart) }
	}
	done := make(chan partRead, 1)
	go func() { done <- read(smallPart) }()
	return func() partRead { return <-done }
}

// readPart reads up to size bytes; last tells that there is no more.
func readPart(body io.Reader, size int64) (part []byte, last bool, err error) {
	var buffer bytes.Buffer
	_, err = io.CopyN(&buffer, body, size)
	if errors.Is(err, io.EOF) {
		return buffer.Bytes(), true, nil
	}
	return buffer.Bytes(), false, err
}

// Get opens an object.
func (s *store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	var missing *types.NoSuchKey
	if errors.As(err, &missing) {
		return nil, &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, fmt.Errorf("S3 did not give %s: %w", key, err)
	}
	return out.Body, nil
}

// List lists objects. S3 gives them in the order of their keys.
func (s *store) List(ctx context.Context, prefix string) (keys []string, err error) {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("S3 did not list %s: %w", prefix, err)
		}
		for _, o := range page.Contents {
			keys = append(keys, strings.TrimPrefix(awssdk.ToString(o.Key), s.prefix))
		}
	}
	return keys, nil
}

// Delete removes an object. S3 says the same whether there was one or not.
func (s *store) Delete(ctx context.Context, key string) error {
	if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(key)}); err != nil {
		return fmt.Errorf("S3 did not remove %s: %w", key, err)
	}
	return nil
}

func (s *store) key(key string) *string { return awssdk.String(s.prefix + key) }
