package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud"
	"wherry/platform"
)

// Open opens a file in a run's work directory in S3, with s3:GetObject alone.
func (a *AWS) Open(ctx context.Context, env platform.ComputeEnv, workDir, name string) (fs.File, error) {
	bucket, key, err := keyIn(workDir, name)
	if err != nil {
		return nil, err
	}
	f := &s3File{ctx: ctx, bucket: bucket, key: key}
	if f.get, err = a.getter(ctx, env, bucket, key); err != nil {
		return nil, err
	}
	out, err := f.get(ctx, 0)
	if err != nil {
		return nil, err
	}
	f.body, f.size, f.modified = out.Body, awssdk.ToInt64(out.ContentLength), awssdk.ToTime(out.LastModified)
	return f, nil
}

// keyIn is where a file of a work directory is.
func keyIn(workDir, name string) (bucket, key string, err error) {
	bucket, dir, ok := platform.SplitS3(workDir)
	if !ok {
		return "", "", cloud.Errorf(cloud.KindInvalid, nil, "%q is not a folder in S3.", workDir)
	}
	if !fs.ValidPath(name) || name == "." {
		return "", "", cloud.Errorf(cloud.KindInvalid, nil, "%q is not a file in the work directory.", name)
	}
	return bucket, path.Join(strings.Trim(dir, "/"), name), nil
}

// getFrom reads an object from a byte offset on. fs.ErrNotExist means that there is none, or that it ends before.
type getFrom func(ctx context.Context, offset int64) (*s3.GetObjectOutput, error)

// getter reads an object. A bucket may be in another region than the environment; S3 then tells which.
func (a *AWS) getter(ctx context.Context, env platform.ComputeEnv, bucket, key string) (getFrom, error) {
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return nil, err
	}
	region := env.Region
	return func(ctx context.Context, offset int64) (*s3.GetObjectOutput, error) {
		in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
		if offset > 0 {
			in.Range = awssdk.String("bytes=" + strconv.FormatInt(offset, 10) + "-")
		}
		client := func() *s3.Client {
			return s3.NewFromConfig(cfg, func(o *s3.Options) { o.Region, o.DisableLogOutputChecksumValidationSkipped = region, true })
		}
		out, err := client().GetObject(ctx, in)
		if other := regionOfBucket(err); other != "" && other != region {
			region = other
			out, err = client().GetObject(ctx, in)
		}
		return out, objectError(err, bucket, key)
	}, nil
}

// regionOfBucket is the region that S3 names when it was asked in another one.
func regionOfBucket(err error) string {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil {
		return ""
	}
	switch response.HTTPStatusCode() {
	case http.StatusMovedPermanently, http.StatusBadRequest, http.StatusTemporaryRedirect:
		return response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// objectError puts what S3 says of an object into words.
func objectError(err error, bucket, key string) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, "NoSuchKey", "NotFound", "InvalidRange"), hasCode(err, "404", "416"):
		return &fs.PathError{Op: "open", Path: "s3://" + bucket + "/" + key, Err: fs.ErrNotExist}
	case hasCode(err, "NoSuchBucket"):
		return &cloud.Error{Kind: cloud.KindInvalid, Details: details(err), Message: fmt.Sprintf("There is no bucket %s any more.", bucket)}
	case hasCode(err, "AccessDenied", "403"):
		// S3 says of an object that is not there that it is denied, to who may not list the bucket
		// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html). Wherry does not ask for that permission.
		return &missingOrDenied{&cloud.Error{Kind: cloud.KindDenied, Permission: "s3:GetObject", Details: details(err), Message: fmt.Sprintf(
			"s3://%s/%s is not there, or the credentials do not have the permission s3:GetObject for it: S3 does not tell which.", bucket, key)}}
	}
	return translate(err)
}

// missingOrDenied is an error for an object of which S3 does not tell whether it is there. It counts as not being there.
type missingOrDenied struct{ denied *cloud.Error }

func (m *missingOrDenied) Is(target error) bool { return target == fs.ErrNotExist }
func (m *missingOrDenied) Unwrap() error        { return m.denied }
func (m *missingOrDenied) Error() string        { return m.denied.Error() }

// s3File reads an object as a file. After a Seek it asks S3 for what follows.
type s3File struct {
	ctx         context.Context // of Open: fs.File has none of its own
	get         getFrom
	bucket, key string
	size        int64
	modified    time.Time
	offset      int64
	body        io.ReadCloser // from offset on; nil: ask
}

// Stat tells the size of the object.
func (f *s3File) Stat() (fs.FileInfo, error) { return f, nil }

func (f *s3File) Read(b []byte) (int, error) {
	if f.offset >= f.size {
		return 0, io.EOF
	}
	if f.body == nil {
		out, err := f.get(f.ctx, f.offset)
		if err != nil {
			return 0, err
		}
		f.body = out.Body
	}
	n, err := f.body.Read(b)
	f.offset += int64(n)
	if err != nil && err != io.EOF {
		return n, translate(err)
	}
	return n, err
}

// Seek moves to another offset.
func (f *s3File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return f.offset, fs.ErrInvalid
	}
	if offset != f.offset {
		_ = f.Close() // what was not read of it is not needed
	}
	f.offset = offset
	return offset, nil
}

func (f *s3File) Close() error {
	if f.body == nil {
		return nil
	}
	body := f.body
	f.body = nil
	return body.Close()
}

// Name and the other methods of fs.FileInfo.
func (f *s3File) Name() string       { return path.Base(f.key) }
func (f *s3File) Size() int64        { return f.size }
func (f *s3File) Mode() fs.FileMode  { return 0o444 }
func (f *s3File) ModTime() time.Time { return f.modified }
func (f *s3File) IsDir() bool        { return false }
func (f *s3File) Sys() any           { return nil }
