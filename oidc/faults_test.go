package oidc_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wherry/oidc"
	"wherry/oidc/oidctest"
	"wherry/platform"
)

func TestOnlyTheBrowserThatBeganASignInEndsIt(t *testing.T) {
	t.Parallel()
	_, c := setUp(t, oidctest.Options{})
	to, flow := begin(t, c)
	_, other := begin(t, c)
	answer := oidctest.NewBrowser(t, back).SignIn(to, oidctest.Ada).Query()
	with := func(name string, values ...string) url.Values {
		changed := url.Values{}
		for n, v := range answer {
			changed[n] = v
		}
		if changed[name] = values; len(values) == 0 {
			delete(changed, name)
		}
		return changed
	}
	expired := flow
	expired.Created = time.Now().Add(-oidc.FlowLifetime - time.Second)
	for what, try := range map[string]struct {
		flow  oidc.Flow
		query url.Values
		code  platform.Code
		words string
	}{
		"another browser's flow": {other, answer, platform.CodeInvalid, "does not belong to a sign-in that this browser began"},
		"no flow":                {oidc.Flow{}, answer, platform.CodeInvalid, "does not belong"},
		"no flow and no state":   {oidc.Flow{}, with("state"), platform.CodeInvalid, "does not belong"},
		"no state":               {flow, with("state"), platform.CodeInvalid, "does not belong"},
		"another state":          {flow, with("state", other.State), platform.CodeInvalid, "does not belong"},
		"two states":             {flow, with("state", flow.State, other.State), platform.CodeInvalid, "not whole or was changed"},
		"two codes":              {flow, with("code", "a", "b"), platform.CodeInvalid, "not whole or was changed"},
		"no code":                {flow, with("code"), platform.CodeInvalid, "no answer with you"},
		"an old flow":            {expired, answer, platform.CodeGone, "more than 10 minutes ago"},
		"a mixed-up issuer":      {flow, with("iss", "https://evil.example.org"), platform.CodeInvalid, "not from the provider at which"},
		"an empty issuer":        {flow, with("iss", ""), platform.CodeInvalid, "not from the provider at which"},
		"no issuer, where the provider says that it sends one": {flow, with("iss"), platform.CodeInvalid, "not from the provider at which"},
	} {
		t.Run(what, func(t *testing.T) {
			who, err := c.Finish(t.Context(), try.flow, try.query)
			fails(t, err, try.code, try.words)
			if who.Subject != "" {
				t.Errorf("it is %+v", who)
			}
		})
	}
	if who, err := c.Finish(t.Context(), flow, answer); err != nil || who.Subject != "subject-of-ada" {
		t.Errorf("after all that the right one is %+v, %v", who, err)
	}
	_, err := c.Finish(t.Context(), flow, answer)
	fails(t, err, platform.CodeUnauthorized, "used before")
}

func TestAnAnswerIsWorthNothingWithOtherSecrets(t *testing.T) {
	t.Parallel()
	_, c := setUp(t, oidctest.Options{})
	for what, try := range map[string]struct {
		change func(f *oidc.Flow)
		words  string
	}{
		"nonce":    {func(f *oidc.Flow) { f.Nonce = strings.Repeat("n", 43) }, "could not be verified"},
		"verifier": {func(f *oidc.Flow) { f.Verifier = strings.Repeat("v", 43) }, "does not accept this answer"},
	} {
		to, flow := begin(t, c)
		answer := oidctest.NewBrowser(t, back).SignIn(to, oidctest.Ada).Query()
		try.change(&flow)
		_, err := c.Finish(t.Context(), flow, answer)
		fails(t, err, platform.CodeUnauthorized, try.words)
		if t.Failed() {
			t.Log(what)
		}
	}
}

func TestSigningInWithoutPKCEIsNotPossible(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{})
	c := ofProxy(t, p)
	to, flow := begin(t, c)
	u, _ := url.Parse(to)
	query := u.Query()
	query.Del("code_challenge")
	query.Del("code_challenge_method")
	u.RawQuery = query.Encode()
	// Somebody who takes the challenge out of the address gets no code from this provider, which demands it …
	_, err := c.Finish(t.Context(), flow, oidctest.NewBrowser(t, back).Refused(u.String()).Query())
	fails(t, err, platform.CodeConflict, "did not sign you in")
	// … and the portal does not work with one that has only the plain method.
	x.on("/.well-known/openid-configuration", members(map[string]any{"code_challenge_methods_supported": []string{"plain"}}))
	_, _, err = ofProxy(t, p).Begin(t.Context())
	fails(t, err, platform.CodeConflict, "does not support PKCE")
}

func TestSomebodyWhoCancelsIsToldSo(t *testing.T) {
	t.Parallel()
	_, c := setUp(t, oidctest.Options{})
	to, flow := begin(t, c)
	_, err := c.Finish(t.Context(), flow, oidctest.NewBrowser(t, back).Cancel(to).Query())
	fails(t, err, platform.CodeForbidden, "access was denied")
	if _, details := platform.SplitDetails(err.Error()); !strings.Contains(details, "access_denied") {
		t.Errorf("the details are %q", details)
	}
}

func TestWhatTheProviderSaysOfAnErrorIsBounded(t *testing.T) {
	t.Parallel()
	_, c := setUp(t, oidctest.Options{})
	for code, want := range map[string]platform.Code{"access_denied": platform.CodeForbidden, "server_error": platform.CodeNotReady, "login_required": platform.CodeUnauthorized,
		"invalid_scope": platform.CodeConflict, "anything": platform.CodeConflict} {
		_, flow := begin(t, c)
		_, err := c.Finish(t.Context(), flow, url.Values{"state": {flow.State}, "iss": {configIssuer(t, c)}, "error": {code},
			"error_description": {"first\nsecond " + strings.Repeat("long ", 1000) + flow.State}})
		fails(t, err, want, "sign-in provider")
		if len(err.Error()) > 1000 || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("it has %d bytes: %s", len(err.Error()), err)
		}
	}
}

// configIssuer is the issuer that a client has, as its logout address says it.
func configIssuer(t *testing.T, c *oidc.Client) string {
	t.Helper()
	u, err := url.Parse(c.LogoutURL("http://127.0.0.1:9/"))
	if err != nil || u.Host == "" {
		t.Fatalf("the logout address is %v, %v", u, err)
	}
	return u.Scheme + "://" + u.Host
}

func TestAProviderThatIsDownIsAskedAgainSoonButNotAllTheTime(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{})
	const discovery = "/.well-known/openid-configuration"
	x.status[discovery] = 503
	c := ofProxy(t, p)
	var later atomic.Int64
	c.SetClock(func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
	if err := c.Problem(); err != nil || x.count(discovery) != 0 {
		t.Fatalf("before anybody signs in there is %v, after %d requests", err, x.count(discovery))
	}
	for range 5 {
		_, _, err := c.Begin(t.Context())
		fails(t, err, platform.CodeConflict, "does not work")
	}
	if n := x.count(discovery); n != 1 {
		t.Errorf("it was asked %d times at once", n)
	}
	fails(t, c.Problem(), platform.CodeConflict, "does not work")
	x.mu.Lock()
	x.status[discovery] = 0
	x.mu.Unlock()
	later.Store(int64(oidc.RetryAfter))
	if who, err := signIn(t, c, oidctest.Ada); err != nil || who.Subject == "" || c.Problem() != nil {
		t.Errorf("when it is up again it is %+v, %v, %v", who, err, c.Problem())
	}
	p.Stop()
	later.Add(int64(2 * time.Hour)) // what it says of itself is old now, and cannot be renewed
	x.on(discovery, func([]byte) []byte { return []byte("nothing") })
	if _, _, err := c.Begin(t.Context()); err != nil {
		t.Errorf("what it said before is forgotten: %v", err)
	}
}

func TestAProviderWithoutAnswerIsNamed(t *testing.T) {
	t.Parallel()
	p, c := setUp(t, oidctest.Options{})
	p.Stop()
	_, _, err := c.Begin(t.Context())
	fails(t, err, platform.CodeNotReady, "does not answer")
	config := configOf(p)
	config.AllowPrivate = false
	config.Issuer = strings.Replace(config.Issuer, "http://", "https://", 1)
	if config.Check() == nil {
		t.Error("a private issuer passes, although they are not allowed")
	}
	_, _, err = oidc.New(config).Begin(t.Context())
	fails(t, err, platform.CodeConflict, "WHERRY_OIDC_PRIVATE")
	p.Restart()
	if who, err := signIn(t, newClient(t, configOf(p)), oidctest.Ada); err != nil || who.Subject == "" {
		t.Errorf("when it is there again: %+v, %v", who, err)
	}
}

func TestAProviderMayChangeItsKeys(t *testing.T) {
	t.Parallel()
	p, c := setUp(t, oidctest.Options{})
	for range 2 {
		if _, err := signIn(t, c, oidctest.Ada); err != nil {
			t.Fatal(err)
		}
		p.Stop()
		p.Restart()
	}
}

func TestADiscoveryThatIsNotRightIsRefused(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{})
	for words, change := range map[string]func([]byte) []byte{
		"calls itself by another name": members(map[string]any{"issuer": x.URL + "/other"}),
		"says of itself cannot":        members(map[string]any{"token_endpoint": "http://169.254.169.254/latest/meta-data"}),
		"cannot be used":               members(map[string]any{"jwks_uri": "https://[fd00:ec2::254]/"}),
		"of itself":                    members(map[string]any{"authorization_endpoint": "javascript:alert(1)"}),
		"not an OpenID":                func([]byte) []byte { return []byte("<html>") },
		"or it does not work":          func([]byte) []byte { return []byte(`{"a":"` + strings.Repeat("x", 2<<20) + `"}`) },
	} {
		x.on("/.well-known/openid-configuration", change)
		_, _, err := ofProxy(t, p).Begin(t.Context())
		fails(t, err, platform.CodeConflict, words)
	}
	config := configOf(p)
	config.Issuer += "/"
	x.on("/.well-known/openid-configuration", nil)
	_, _, err := newClient(t, config).Begin(t.Context())
	fails(t, err, platform.CodeConflict, "WHERRY_OIDC_ISSUER")
}

func TestAWrongClientSecretIsNamed(t *testing.T) {
	t.Parallel()
	p, _ := setUp(t, oidctest.Options{})
	config := configOf(p)
	config.ClientSecret = platform.NewSecret("not-the-secret-of-the-client")
	_, err := signIn(t, newClient(t, config), oidctest.Ada)
	fails(t, err, platform.CodeConflict, "WHERRY_OIDC_CLIENT_SECRET")
	if strings.Contains(err.Error(), "not-the-secret") {
		t.Errorf("it tells the secret: %v", err)
	}
}

func TestAnIDTokenThatProvesNothingIsRefused(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{Algorithm: "ES256"})
	f := newForger(t)
	now := time.Now().Unix()
	tokens := func(change func(id string) any) func([]byte) []byte {
		return func(answer []byte) []byte {
			var t struct {
				ID string `json:"id_token"`
			}
			json.Unmarshal(answer, &t)
			return members(map[string]any{"id_token": change(t.ID)})(answer)
		}
	}
	for what, try := range map[string]struct {
		forged bool // with a key that jwks_uri has
		token  func([]byte) []byte
		code   platform.Code
		words  string
	}{
		"a right one":           {true, f.sign(t, nil), "", ""},
		"no signature of its":   {false, f.sign(t, map[string]any{"sub": "somebody else"}), platform.CodeUnauthorized, "could not be verified"},
		"changed claims":        {false, tokens(otherSubject), platform.CodeUnauthorized, "could not be verified"},
		"no algorithm":          {false, tokens(withoutAlgorithm), platform.CodeUnauthorized, "could not be verified"},
		"no token":              {false, tokens(func(string) any { return nil }), platform.CodeConflict, "did not say who you are"},
		"rubbish":               {false, tokens(func(string) any { return "rubbish" }), platform.CodeUnauthorized, "could not be verified"},
		"another issuer":        {true, f.sign(t, map[string]any{"iss": "https://evil.example.org"}), platform.CodeUnauthorized, "could not be verified"},
		"another audience":      {true, f.sign(t, map[string]any{"aud": "another"}), platform.CodeUnauthorized, "could not be verified"},
		"many audiences":        {true, f.sign(t, map[string]any{"aud": []string{"wherry", "another"}}), platform.CodeUnauthorized, "could not be verified"},
		"another party":         {true, f.sign(t, map[string]any{"aud": []string{"wherry", "another"}, "azp": "another"}), platform.CodeUnauthorized, "could not be verified"},
		"another nonce":         {true, f.sign(t, map[string]any{"nonce": "another"}), platform.CodeUnauthorized, "could not be verified"},
		"no nonce":              {true, f.sign(t, map[string]any{"nonce": nil}), platform.CodeUnauthorized, "could not be verified"},
		"another access token":  {true, f.sign(t, map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), platform.CodeUnauthorized, "could not be verified"},
		"no subject":            {true, f.sign(t, map[string]any{"sub": ""}), platform.CodeUnauthorized, "could not be verified"},
		"a long subject":        {true, f.sign(t, map[string]any{"sub": strings.Repeat("s", 256)}), platform.CodeUnauthorized, ""},
		"an end long ago":       {true, f.sign(t, map[string]any{"exp": now - 3600}), platform.CodeConflict, "clocks"},
		"a beginning far ahead": {true, f.sign(t, map[string]any{"iat": now + 3600, "exp": now + 7200}), platform.CodeConflict, "clocks"},
		"an end a moment ago":   {true, f.sign(t, map[string]any{"exp": now - 20}), "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			x.on("/jwks", nil)
			if try.forged {
				x.on("/jwks", f.keys)
			}
			x.on("/token", try.token)
			who, err := signIn(t, ofProxy(t, p), oidctest.Ada)
			if try.code == "" {
				if err != nil || who.Subject != "subject-of-ada" {
					t.Errorf("it is %+v, %v", who, err)
				}
				return
			}
			fails(t, err, try.code, try.words)
			if who.Subject != "" || strings.Contains(fmt.Sprint(err), "eyJ") {
				t.Errorf("it tells %+v, %v", who, err)
			}
		})
	}
}

// otherSubject changes a token and leaves its signature.
func otherSubject(id string) any {
	parts := strings.Split(id, ".")
	parts[1] = encode(strings.ReplaceAll(decode(parts[1]), "subject-of-ada", "subject-of-eve"))
	return strings.Join(parts, ".")
}

// withoutAlgorithm is a token that says that it is not signed.
func withoutAlgorithm(id string) any {
	return encode(`{"alg":"none"}`) + "." + strings.Split(id, ".")[1] + "."
}

func TestAnswersThatCannotBeUsedAreErrors(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{ClaimsInUserInfo: true})
	big := func([]byte) []byte { return []byte(`{"sub":"` + strings.Repeat("x", 2<<20) + `"}`) }
	for what, try := range map[string]struct {
		path   string
		change func([]byte) []byte
		status int
		code   platform.Code
		words  string
	}{
		"a large token answer":            {"/token", big, 0, platform.CodeConflict, "cannot be read"},
		"a token answer that is no JSON":  {"/token", func([]byte) []byte { return []byte("<html>") }, 0, platform.CodeConflict, "cannot be read"},
		"a fault at the token endpoint":   {"/token", nil, 502, platform.CodeNotReady, "fault of its own"},
		"large keys":                      {"/jwks", big, 0, platform.CodeNotReady, "keys could not be fetched"},
		"no keys":                         {"/jwks", nil, 500, platform.CodeNotReady, "keys could not be fetched"},
		"a large UserInfo":                {"/me", big, 0, platform.CodeConflict, "did not tell what it knows"},
		"a UserInfo that fails":           {"/me", nil, 500, platform.CodeConflict, "did not tell what it knows"},
		"a UserInfo of somebody else":     {"/me", members(map[string]any{"sub": "subject-of-eve"}), 0, platform.CodeUnauthorized, "could not be verified"},
		"a UserInfo of nobody":            {"/me", members(map[string]any{"sub": nil}), 0, platform.CodeUnauthorized, "could not be verified"},
		"groups that are elsewhere":       {"/me", members(map[string]any{"groups": nil, "_claim_names": map[string]any{"groups": "src1"}}), 0, platform.CodeConflict, "more groups than"},
		"groups that are numbers":         {"/me", members(map[string]any{"groups": []int{1}}), 0, platform.CodeConflict, "cannot be read"},
		"too many groups":                 {"/me", members(map[string]any{"groups": slices.Repeat([]string{"g"}, 1001)}), 0, platform.CodeConflict, "cannot be used"},
		"a group with a very long name":   {"/me", members(map[string]any{"groups": []string{strings.Repeat("g", 257)}}), 0, platform.CodeConflict, "cannot be used"},
		"a group that cannot be printed":  {"/me", members(map[string]any{"groups": []string{"a\u202eb"}}), 0, platform.CodeConflict, "cannot be used"},
		"a redirect of the token request": {"/token", nil, 307, platform.CodeConflict, ""},
	} {
		t.Run(what, func(t *testing.T) {
			x.mu.Lock()
			x.status = map[string]int{try.path: try.status}
			x.mu.Unlock()
			x.on(try.path, try.change)
			defer x.on(try.path, nil)
			_, err := signIn(t, ofProxy(t, p), oidctest.Ada)
			fails(t, err, try.code, try.words)
		})
	}
}

func TestGroupsAreReadAsProvidersWriteThem(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{ClaimsInUserInfo: true})
	for _, try := range []struct {
		said any
		want []string
	}{
		{[]string{"a", "b"}, []string{"a", "b"}},
		{"a", []string{"a"}},
		{"a b,c", []string{"a b,c"}},
		{[]string{}, []string{}},
		{[]string{"", "a"}, []string{"a"}},
		{"", []string{}},
		{nil, nil},
		{json.RawMessage("null"), nil},
		{[]string{"cn=a,ou=b", "/path/of/group", "Größe 1"}, []string{"cn=a,ou=b", "/path/of/group", "Größe 1"}},
	} {
		x.on("/me", members(map[string]any{"groups": try.said}))
		who, err := signIn(t, ofProxy(t, p), oidctest.Ada)
		if err != nil || !slices.Equal(who.Groups, try.want) || (who.Groups == nil) != (try.want == nil) {
			t.Errorf("%v is read as %#v, %v", try.said, who.Groups, err)
		}
	}
}

func TestWhatIsSaidOfAPersonIsBounded(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{ClaimsInUserInfo: true})
	x.on("/me", members(map[string]any{"name": strings.Repeat("ä", 5000) + "\u0000", "preferred_username": 7, "email": "Ada <ada@example.org>", "email_verified": true}))
	who, err := signIn(t, ofProxy(t, p), oidctest.Ada)
	if err != nil || len(who.Name) != 200 || who.UserName != "" || who.Email != "" || who.EmailVerified {
		t.Errorf("it is %+v, %v", who, err)
	}
	x.on("/me", members(map[string]any{"name": " A\u0000da\r\n ", "email_verified": "true", "email": "ada@example.org"}))
	if who, err = signIn(t, ofProxy(t, p), oidctest.Ada); err != nil || who.Name != "Ada" || !who.EmailVerified {
		t.Errorf("it is %+v, %v", who, err)
	}
}

func TestSecretsAreNotInErrors(t *testing.T) {
	t.Parallel()
	x, p := behindProxy(t, oidctest.Options{})
	c := ofProxy(t, p)
	to, flow := begin(t, c)
	answer := oidctest.NewBrowser(t, back).SignIn(to, oidctest.Ada).Query()
	x.status["/token"] = 400
	x.on("/token", func(body []byte) []byte {
		text, _ := json.Marshal(map[string]string{"error": "invalid_request", "error_description": "I got " + answer.Get("code") + " and " + flow.Verifier + " of " + p.ClientSecret + " " + url.QueryEscape(p.ClientSecret),
			"tokens": string(body)})
		return text
	})
	_, err := c.Finish(t.Context(), flow, answer)
	fails(t, err, platform.CodeConflict, "did not accept the portal's request")
	shown := fmt.Sprintf("%v %+v %#v %s", err, flow, flow, slog.AnyValue(flow).Resolve())
	for _, secret := range []string{answer.Get("code"), flow.Verifier, flow.Nonce, flow.State, p.ClientSecret, url.QueryEscape(p.ClientSecret), "eyJ"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s tells %s", shown, secret)
		}
	}
	kept, jsonErr := json.Marshal(flow)
	var again oidc.Flow
	if jsonErr != nil || json.Unmarshal(kept, &again) != nil || again.Verifier != flow.Verifier || !again.Created.Equal(flow.Created) {
		t.Errorf("a flow is kept as %s", kept)
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	t.Parallel()
	right := oidc.Config{Issuer: "https://login.example.org/realm", ClientID: "wherry", ClientSecret: platform.NewSecret("secret"), RedirectURL: "https://wherry.example.org/back"}
	if err := right.Check(); err != nil {
		t.Fatal(err)
	}
	for words, change := range map[string]func(*oidc.Config){
		"must be https://":      func(c *oidc.Config) { c.Issuer = "http://login.example.org" },
		"without a query":       func(c *oidc.Config) { c.Issuer += "?a=b" },
		"a host":                func(c *oidc.Config) { c.Issuer = "login.example.org" },
		"metadata service":      func(c *oidc.Config) { c.Issuer, c.AllowPrivate = "https://169.254.169.254", true },
		"private network":       func(c *oidc.Config) { c.Issuer = "https://10.0.0.1" },
		"client ID":             func(c *oidc.Config) { c.ClientID = "" },
		"secret is missing":     func(c *oidc.Config) { c.ClientSecret = platform.Secret{} },
		"is not a scope":        func(c *oidc.Config) { c.Scopes = []string{"openid email"} },
		"address of the portal": func(c *oidc.Config) { c.RedirectURL = "/back" },
	} {
		wrong := right
		change(&wrong)
		if err := wrong.Check(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v passes with %v, want %q", wrong, err, words)
		}
	}
}

func TestSigningOutAtTheProviderToo(t *testing.T) {
	t.Parallel()
	const home = "http://127.0.0.1:9/"
	p, c := setUp(t, oidctest.Options{LogoutURIs: []string{home}})
	if to := c.LogoutURL(home); to != "" {
		t.Errorf("nobody knows the provider yet, and its address is %q", to)
	}
	begin(t, c)
	if to := c.LogoutURL(home); !strings.HasPrefix(to, p.Issuer+"/session/end?") || !strings.Contains(to, "client_id=wherry") || !strings.Contains(to, url.QueryEscape(home)) {
		t.Errorf("it is %q", to)
	}
}
