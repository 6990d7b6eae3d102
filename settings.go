package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wherry/cloud/aws/prices"
	"wherry/db"
	"wherry/mail"
	"wherry/platform"
	"wherry/web"
)

// settings are what an operator can set: each by a WHERRY_* variable, the first two by an option too. docs/operating.md
// has the table.
type settings struct {
	data     string        // WHERRY_DATA, --data: the data folder
	address  string        // WHERRY_ADDRESS, --address: where to listen
	url      string        // WHERRY_URL: how browsers reach the portal; empty: http:// and the address
	agentURL string        // WHERRY_AGENT_PORTAL: how agents reach it; empty: http:// and the address
	nextflow string        // WHERRY_NEXTFLOW: the nextflow command of machines on this host
	lifetime time.Duration // WHERRY_MACHINE_LIFETIME: how long a machine lives without word from the portal
	priceURL string        // WHERRY_PRICE_LIST_URL: where AWS's price list is
	log      *slog.Logger
	studios  studioSettings
	tls      tlsSettings
	signIn   signInSettings
	mail     mail.Settings  // WHERRY_SMTP_*: by which server mail is sent; the zero Settings: none is
	proxies  []netip.Prefix // WHERRY_TRUSTED_PROXIES: whose X-Forwarded-For counts
	key      db.KeySource   // WHERRY_KEY, WHERRY_KEY_FILE: the master key; the zero KeySource: wherry.key in the data folder

	auditRetention time.Duration // WHERRY_AUDIT_RETENTION: for how long entries of the audit log are kept; 0: for ever

	metricsToken platform.Secret // WHERRY_METRICS_TOKEN: shows the metrics to whoever has it; empty: to nobody

	// The names of these two are those that users of the reference platform have in their deployments.
	jumpRole            string // TOWER_AWS_JUMP_ROLE_ARN: a role that the portal assumes before those of credentials
	consoleOutput       bool   // WHERRY_CONSOLE_OUTPUT: read a machine's console where its boot is never heard of
	instanceCredentials bool   // TOWER_ALLOW_INSTANCE_CREDENTIALS: credentials may be a role without an External ID
}

// readWords is readSettings for commands whose words may stand before their options or behind them.
func readWords(name string, args []string, more func(*flag.FlagSet)) (settings, []string, error) {
	n := 0
	for n < len(args) && !strings.HasPrefix(args[n], "-") {
		n++
	}
	s, rest, err := readSettings(name, args[n:], more)
	return s, append(args[:n:n], rest...), err
}

// readSettings reads variables and options. more may add options of a command's own.
func readSettings(name string, args []string, more func(*flag.FlagSet)) (settings, []string, error) {
	s := settings{jumpRole: os.Getenv("TOWER_AWS_JUMP_ROLE_ARN"), url: os.Getenv("WHERRY_URL"), agentURL: os.Getenv("WHERRY_AGENT_PORTAL"),
		metricsToken: platform.NewSecret(os.Getenv("WHERRY_METRICS_TOKEN")),
		key:          db.KeySource{Value: platform.NewSecret(os.Getenv("WHERRY_KEY")), File: os.Getenv("WHERRY_KEY_FILE")},
		nextflow:     envOr("WHERRY_NEXTFLOW", "nextflow"), priceURL: envOr("WHERRY_PRICE_LIST_URL", prices.PublicURL)}
	flags := flag.NewFlagSet("wherry "+name, flag.ContinueOnError)
	flags.StringVar(&s.data, "data", envOr("WHERRY_DATA", "data"), "the data `folder`")
	flags.StringVar(&s.address, "address", envOr("WHERRY_ADDRESS", "127.0.0.1:8080"), "where to listen, as `host:port`")
	if more != nil {
		more(flags)
	}
	if err := flags.Parse(args); err != nil {
		return s, nil, err
	}
	var err error
	if s.instanceCredentials, err = boolSetting("TOWER_ALLOW_INSTANCE_CREDENTIALS"); err != nil {
		return s, nil, err
	}
	if s.consoleOutput, err = boolSetting("WHERRY_CONSOLE_OUTPUT"); err != nil {
		return s, nil, err
	}
	if s.data, err = filepath.Abs(s.data); err != nil {
		return s, nil, err
	}
	if s.log, err = newLogger(os.Stderr, envOr("WHERRY_LOG_LEVEL", "info"), envOr("WHERRY_LOG_FORMAT", "text")); err != nil {
		return s, nil, err
	}
	if s.lifetime, err = time.ParseDuration(envOr("WHERRY_MACHINE_LIFETIME", platform.LostAfter.String())); err != nil || s.lifetime < time.Second {
		return s, nil, fmt.Errorf("WHERRY_MACHINE_LIFETIME is %q; it must be a duration of a second or more, such as 30m", os.Getenv("WHERRY_MACHINE_LIFETIME"))
	}
	if s.auditRetention, err = readAuditRetention(envOr("WHERRY_AUDIT_RETENTION", "0")); err != nil {
		return s, nil, err
	}
	if s.studios, err = readStudioSettings(); err != nil {
		return s, nil, err
	}
	if s.tls, err = readTLSSettings(); err != nil {
		return s, nil, err
	}
	if s.signIn, err = readSignInSettings(); err != nil {
		return s, nil, err
	}
	if s.mail, err = readMailSettings(); err != nil {
		return s, nil, err
	}
	if s.proxies, err = readTrustedProxies(); err != nil {
		return s, nil, err
	}
	return s, flags.Args(), s.check()
}

func (s *settings) check() error {
	if _, _, err := net.SplitHostPort(s.address); err != nil {
		return fmt.Errorf("the address %q is not host:port: %w", s.address, err)
	}
	for name, value := range map[string]string{"WHERRY_URL": s.url, "WHERRY_AGENT_PORTAL": s.agentURL} {
		if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "") {
			return fmt.Errorf("%s is %q; it must be http:// or https:// and a host, without a path", name, value)
		}
	}
	if u, err := url.Parse(s.priceURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("WHERRY_PRICE_LIST_URL is %q; it must be http:// or https://, a host, and a path if there is one", s.priceURL)
	}
	s.priceURL = strings.TrimRight(s.priceURL, "/")
	if s.jumpRole != "" && !platform.IsRoleARN(s.jumpRole) {
		return fmt.Errorf("TOWER_AWS_JUMP_ROLE_ARN is %q; it must be a role's ARN, such as arn:aws:iam::123456789012:role/Name", s.jumpRole)
	}
	s.url, s.agentURL = strings.TrimRight(s.url, "/"), strings.TrimRight(s.agentURL, "/")
	return s.tls.check(s.url, s.agentURL, s.studios.url)
}

func boolSetting(name string) (bool, error) {
	value, err := strconv.ParseBool(envOr(name, "false"))
	if err != nil {
		return false, fmt.Errorf("%s is %q; it must be true or false", name, os.Getenv(name))
	}
	return value, nil
}

func envOr(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("WHERRY_LOG_LEVEL is %q; it must be debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(web.LogHandler(slog.NewTextHandler(w, options))), nil
	case "json":
		return slog.New(web.LogHandler(slog.NewJSONHandler(w, options))), nil
	}
	return nil, fmt.Errorf("WHERRY_LOG_FORMAT is %q; it must be text or json", format)
}

// localURL is the http address of a listener as this host reaches it.
func localURL(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}
