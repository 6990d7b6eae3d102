package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/agent/binaries"
	"wherry/platform"
)

// Download gives a machine its agent. It needs no token: the machine knows the digest, and the binary holds no secret.
func (a *API) Download(c echo.Context) error {
	arch := c.Param("arch")
	if !slices.Contains(binaries.Architectures, arch) {
		return platform.Errorf(platform.CodeNotFound, "There are agents for %s, and none for %q.", strings.Join(binaries.Architectures, " and "), arch)
	}
	gz, digest, ok := binaries.Get(arch)
	if !ok {
		return platform.Errorf(platform.CodeNotFound, "This portal was built without the agent for %s. Install a release, or build it with “make build”.", arch)
	}
	h := c.Response().Header()
	compressed := acceptsGzip(c.Request().Header.Get("Accept-Encoding"))
	tag := fmt.Sprintf("%q", digest)
	if compressed {
		tag = fmt.Sprintf("%q", digest+"-gzip")
	}
	h.Set("ETag", tag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if slices.Contains(strings.Split(c.Request().Header.Get("If-None-Match"), ", "), tag) {
		return c.NoContent(http.StatusNotModified)
	}
	if compressed {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(gz)))
		return c.Blob(http.StatusOK, echo.MIMEOctetStream, gz)
	}
	binary, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return err
	}
	h.Set(echo.HeaderContentType, echo.MIMEOctetStream)
	c.Response().WriteHeader(http.StatusOK)
	_, err = io.Copy(c.Response(), binary)
	return err
}

// acceptsGzip tells whether a client takes what is compressed with gzip (RFC 9110, 12.5.3).
func acceptsGzip(accept string) bool {
	for _, one := range strings.Split(accept, ",") {
		name, parameters, _ := strings.Cut(one, ";")
		weight, given := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, err := strconv.ParseFloat(weight, 64)
			return !given || (err == nil && q > 0)
		}
	}
	return false
}
