package web

import (
	"container/list"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"wherry/handlers"
	"wherry/metrics"
	"wherry/platform"
)

// allowance is how many requests somebody may make: burst at once, and then so many a second.
type allowance struct {
	rate  rate.Limit
	burst int
}

// These bound what one can take from the others, and are far above what anyone needs. A page is some ten requests, and a page of a busy
// run asks for its parts up to five times a second. Static files are not counted, a stream or a long poll is one request.
var (
	// ofUser is for who is signed in, in all their windows and with all their tokens.
	ofUser = allowance{100, 1500}
	// ofAddress is for who is not, behind one address.
	ofAddress = allowance{20, 500}
	// ofFleet is for machines that have no work yet, and so no key, behind one address: each asks every 25 seconds.
	ofFleet = allowance{100, 3000}
	// ofMachine is for the agent of a machine, which sends logs and what Nextflow says of its tasks.
	ofMachine = allowance{50, 1500}
)

// maxTracked is how many of each kind are remembered. Who is forgotten, because so many others came since, begins anew.
const maxTracked = 10_000

// meter counts the requests of many, each under a key.
type meter struct {
	allowance
	max int

	mu     sync.Mutex
	byKey  map[string]*list.Element
	newest list.List // of *metered, in the order of their last request
}

type metered struct {
	key     string
	limiter *rate.Limiter
}

func newMeter(a allowance) *meter {
	return &meter{allowance: a, max: maxTracked, byKey: map[string]*list.Element{}}
}

// take counts a request. wait is above 0 for one that is too many, and then how long until the next may come.
func (m *meter) take(key string, now time.Time) (wait time.Duration) {
	limiter := m.find(key)
	r := limiter.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (m *meter) find(key string) *rate.Limiter {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byKey[key]
	if ok {
		m.newest.MoveToFront(e)
		return e.Value.(*metered).limiter
	}
	if m.newest.Len() >= m.max {
		oldest := m.newest.Remove(m.newest.Back()).(*metered)
		delete(m.byKey, oldest.key)
	}
	found := &metered{key, rate.NewLimiter(m.rate, m.burst)}
	m.byKey[key] = m.newest.PushFront(found)
	return found.limiter
}

// limits are how many requests the portal takes, by who sends them.
type limits struct {
	users, addresses, fleets, machines *meter
	refused                            *metrics.Counter // by what was counted
}

func newLimits(m *Monitor) *limits {
	return &limits{users: newMeter(ofUser), addresses: newMeter(ofAddress), fleets: newMeter(ofFleet), machines: newMeter(ofMachine),
		refused: m.Metrics.Counter("wherry_http_refused_total", "Requests that were refused because too many came, by what was counted.", "by")}
}

// uncounted are what a proxy or a monitor must always get an answer to, and what costs nothing.
func uncounted(path string) bool {
	return path == "/healthz" || path == "/readyz" || strings.HasPrefix(path, "/static/") || path == "/favicon.ico"
}

// counted is in a request's context once the request was counted.
const counted = "wherry.counted"

// countStrangers counts the requests of who brings nothing that says who they are, before anything is done for them, and those
// that came to nothing before it was known who sent them, or whether they may.
func (s *Server) countStrangers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, err := c.Cookie(s.sessions.name()); err != nil && c.Request().Header.Get("Authorization") == "" {
			if err := s.countPerson(c); err != nil {
				return err
			}
		}
		err := next(c)
		if err != nil {
			if tooMany := s.countPerson(c); tooMany != nil {
				return tooMany
			}
		}
		return err
	}
}

// countKnown counts a request for whom it has turned out to come from.
func (s *Server) countKnown(p platform.Permission, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		var err error
		if _, signedIn := handlers.User(c); p == platform.ByAgent || p == platform.ByClient && !signedIn {
			err = s.count(c, s.limits.machines, "machine", handlers.Machine(c).ID)
		} else {
			err = s.countPerson(c)
		}
		if err != nil {
			return err
		}
		return next(c)
	}
}

// countPerson counts a request for who is signed in, and else for its address.
func (s *Server) countPerson(c echo.Context) error {
	if user, ok := handlers.User(c); ok {
		return s.count(c, s.limits.users, "user", fmt.Sprint(user.ID))
	}
	if strings.HasPrefix(c.Request().URL.Path, "/agent/") {
		return s.count(c, s.limits.fleets, "fleet", handlers.AddressKey(c.RealIP()))
	}
	return s.count(c, s.limits.addresses, "address", handlers.AddressKey(c.RealIP()))
}

// count counts a request once, and refuses one that is too many.
func (s *Server) count(c echo.Context, m *meter, by, key string) error {
	if c.Get(counted) != nil || uncounted(c.Request().URL.Path) {
		return nil
	}
	c.Set(counted, true)
	wait := m.take(key, time.Now())
	if wait <= 0 {
		return nil
	}
	s.limits.refused.Add(by)
	seconds := int(math.Ceil(wait.Seconds()))
	c.Response().Header().Set("Retry-After", fmt.Sprint(seconds))
	return echo.NewHTTPError(http.StatusTooManyRequests, fmt.Sprintf("Too many requests came from here. Nothing was done; try again in %d s.", seconds))
}
