package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"wherry/agent/binaries"
	"wherry/cloud"
	"wherry/cloud/aws"
	"wherry/cloud/aws/prices"
	"wherry/cloud/local"
	"wherry/db"
	"wherry/handlers"
	"wherry/handlers/api"
	"wherry/jobs"
	"wherry/metrics"
	"wherry/platform"
	"wherry/web"
	"wherry/web/certificates"
	"wherry/web/studios"
)

// portal is a whole Wherry: the data folder with its lease, the loops and the server.
type portal struct {
	settings
	lease    *db.Lease
	db       *db.DB
	clouds   map[platform.PlatformName]cloud.Cloud
	jobs     *jobs.Jobs
	server   *web.Server
	listener net.Listener
	// studioListener is for the one origin of all Studios; nil: each has a name of its own.
	studioListener net.Listener
	// httpListener is for plain HTTP beside TLS; nil: nobody listens there.
	httpListener net.Listener
	certificates *certificates.Certificates // nil: the portal speaks no TLS

	throttled *metrics.Counter // by service and operation of the cloud
}

// openPortal takes the data folder, and gets everything ready to run. It listens before it returns, so that an address
// that is taken is an error at once.
func openPortal(ctx context.Context, s settings) (p *portal, err error) {
	p = &portal{settings: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p.lease, err = db.TakeLease(ctx, s.data, func() {
		s.log.Info("another process works on this data folder; waiting for its end", "data", s.data)
	})
	if err != nil {
		return p, err
	}
	if p.db, err = db.OpenWith(ctx, s.data, s.key); err != nil {
		return p, err
	}
	p.db.SessionTimes = s.signIn.sessions
	key, err := p.db.MachineKey(ctx)
	if err != nil {
		return p, err
	}
	if err := p.db.SettleMasterKey(ctx); err != nil {
		return p, err
	}
	if p.listener, err = net.Listen("tcp", s.address); err != nil {
		return p, fmt.Errorf("listening: %w (is another portal running? --address takes another one)", err)
	}
	id, err := p.db.PortalID(ctx)
	if err != nil {
		return p, err
	}
	if p.studios.address != "" {
		if p.studioListener, err = net.Listen("tcp", p.studios.address); err != nil {
			return p, fmt.Errorf("listening for Studios: %w (WHERRY_STUDIOS_ADDRESS takes another address)", err)
		}
	}
	if p.tls.httpAddress != "" {
		if p.httpListener, err = net.Listen("tcp", p.tls.httpAddress); err != nil {
			return p, fmt.Errorf("listening for plain HTTP: %w (WHERRY_HTTP_ADDRESS takes another address)", err)
		}
	}
	return p, p.wire(key, id)
}

func (p *portal) wire(key []byte, id string) error {
	here := localURL(p.listener.Addr())
	if p.tls.on() {
		here = p.url // the certificate is for this name, and not for the listener's address
	}
	if p.url == "" {
		p.url = here
	}
	reachable := p.agentURL != "" || reachedByMachines(here, os.Getenv("AWS_ENDPOINT_URL"))
	if p.agentURL == "" {
		p.agentURL = here
	}
	source := prices.NewSource(p.data, p.log)
	amazon := p.amazon(id, source)
	p.clouds = map[platform.PlatformName]cloud.Cloud{platform.PlatformAWSCloud: amazon, platform.PlatformLocal: local.New(local.Config{
		Dir: filepath.Join(p.data, "local"), Nextflow: p.nextflow, Log: p.log})}
	accounts := map[platform.PlatformName]cloud.Account{platform.PlatformAWSCloud: amazon}
	p.jobs = &jobs.Jobs{DB: p.db, Clouds: p.clouds, Accounts: accounts, Key: key, PortalURL: p.agentURL, Log: p.log,
		Times: jobs.Times{Lifetime: p.lifetime}, AuditRetention: p.auditRetention, Fitting: func(e platform.ComputeEnv, s platform.Shortage) []platform.InstanceOffer {
			return source.Table().Fitting(e.Region, e.Config.ARM64Enabled, max(s.CPUs, 1), s.MemoryMiB(), s.GPUs)
		}}
	origins, err := p.studios.origins(p.url)
	if err != nil {
		return err
	}
	provider, err := p.signIn.provider(p.url)
	if err != nil {
		return err
	}
	st := studios.New(studios.Config{DB: p.db, Log: p.log, Origins: origins, PortalURL: p.url, Key: key, Templates: p.studios.templates, MaxUpload: p.studios.maxUpload,
		Token: func(sessionID string) string { return jobs.StudioToken(key, sessionID) }})
	if p.certificates, err = p.tls.certificates(p.data, st, p.log); err != nil {
		return err
	}
	p.server = &web.Server{DB: p.db, Hub: web.NewHub(p.db), HTTPS: strings.HasPrefix(p.url, "https://"), Log: p.log, Studios: st, URL: p.url, TrustedProxies: p.proxies,
		Pages: &handlers.Handlers{DB: p.db, Clouds: p.clouds, Log: p.log, SignIns: handlers.NewSignInLimit(), RequireSecondFactor: p.signIn.secondFactor,
			Provider: provider, NoPasswords: p.signIn.noPasswords, Accounts: accounts,
			PortalURL: p.url, Pending: handlers.NewPending(), JumpRoleARN: p.jumpRole, InstanceCredentials: p.instanceCredentials,
			Templates: p.studios.templates, AgentURLReachable: reachable, Price: func(e platform.ComputeEnv) platform.Price {
				price, _ := source.Table().Hour(e.Region, aws.InstanceType(e), e.Config.Spot) // none is the zero Price
				return price
			}},
		API: &api.API{DB: p.db, Key: key, PortalURL: p.url, Version: version, Log: p.log, Templates: p.studios.templates, StudioURL: st.URL}}
	if sender := newMailSender(p.mail); sender != nil {
		p.server.Pages.Mail = sender.Send
	}
	p.monitor()
	return nil
}

// reachedByMachines tells whether machines in AWS may reach an address. One that is of use on this host alone they reach only
// where AWS itself is played on this host, and they with it: endpoint is AWS's address, empty for AWS's own.
func reachedByMachines(address, endpoint string) bool {
	return !isLoopback(address) || isLoopback(endpoint)
}

// isLoopback tells whether an address means another host everywhere else.
func isLoopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// amazon is AWS as this portal reaches it.
func (p *portal) amazon(portalID string, source *prices.Source) *aws.AWS {
	return aws.New(aws.Config{Credentials: p.useCredentials, PortalID: portalID, JumpRoleARN: p.jumpRole, InstanceCredentials: p.instanceCredentials,
		ConsoleOutput: p.consoleOutput, KnownEnv: p.knowsEnv, Throttled: func(service, operation string) { p.throttled.Add(service, operation) },
		AgentDigest: func(arch string) (string, bool) {
			_, digest, ok := binaries.Get(arch)
			return digest, ok
		},
		Price: func(region, instanceType string, spot bool) (int64, bool) {
			price, _ := source.Table().Hour(region, instanceType, spot) // none is the zero Price
			return int64(price.Hour), price.Estimate
		}})
}

// knowsEnv tells whether an environment is one that this portal sweeps. Where that cannot be told now, it is: nobody ends then
// what may be somebody's.
func (p *portal) knowsEnv(ctx context.Context, id string) bool {
	env, err := p.db.AnyComputeEnv(ctx, id)
	return platform.ErrorCode(err) != platform.CodeNotFound && env.Status != platform.ComputeEnvDeleted
}

// useCredentials opens credentials for a use, and writes down that they were used.
func (p *portal) useCredentials(ctx context.Context, id string) (platform.Credentials, error) {
	c, err := p.db.OpenCredentials(ctx, id)
	if err != nil {
		return c, err
	}
	return c, p.db.CredentialsUsed(ctx, c)
}

// run works until ctx is done. The loops stop last, so that what a request has just wished for is begun.
func (p *portal) run(ctx context.Context) error {
	jobsCtx, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	loops.Go(func() { p.jobs.Run(jobsCtx) })
	loops.Go(func() { p.tellAuditHead(jobsCtx, auditHeadEvery) })
	err := p.serve(ctx)
	stopJobs()
	loops.Wait()
	p.logAuditHead(context.WithoutCancel(ctx))
	return err
}

// serve answers requests until ctx is done, or one of the listeners fails.
func (p *portal) serve(ctx context.Context) error {
	secure := func(l net.Listener) net.Listener { return l }
	if p.certificates != nil {
		secure = func(l net.Listener) net.Listener { return tls.NewListener(l, p.certificates.Config()) }
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.server.Serve(ctx, secure(p.listener)) })
	if p.studioListener != nil {
		g.Go(func() error { return p.server.ServeStudios(ctx, secure(p.studioListener)) })
	}
	if p.httpListener != nil {
		g.Go(func() error { return p.server.ServePlain(ctx, p.httpListener, p.certificates.Challenges) })
	}
	return g.Wait()
}

// close lets go of the data folder.
func (p *portal) close() error {
	var failures []error
	for _, listener := range []net.Listener{p.listener, p.studioListener, p.httpListener} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			failures = append(failures, err)
		}
	}
	if p.server != nil {
		p.server.Hub.Close()
	}
	if p.db != nil {
		failures = append(failures, p.db.Close())
	}
	if p.lease != nil {
		failures = append(failures, p.lease.Release())
	}
	return errors.Join(failures...)
}

// serveCommand serves the portal until it is told to stop. Machines go on without it.
func serveCommand(ctx context.Context, args []string) error {
	s, rest, err := readSettings("serve", args, nil)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("serve takes no arguments, but got %q", rest)
	}
	p, err := openPortal(ctx, s)
	if err != nil {
		return err
	}
	users, err := p.db.UserCount(ctx)
	if err != nil {
		return errors.Join(err, p.close())
	}
	if err := p.db.ServedWith(ctx, s.shown()); err != nil {
		return errors.Join(err, p.close())
	}
	p.log.Info("serving", "url", p.url, "data", p.data, "version", version)
	if users == 0 {
		fmt.Fprintf(os.Stderr, "\nThis portal is new. Make its first owner at %s/set-up\n\n", p.url)
	}
	return errors.Join(p.run(ctx), p.close())
}
