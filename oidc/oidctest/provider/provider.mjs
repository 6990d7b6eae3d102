// An OpenID Connect provider for tests: oidc-provider with a form to sign in, accounts and one client. What it is to be comes
// as JSON in the variable PROVIDER, and the first line that it prints is the address at which it answers.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'

const { Provider } = await import(pathToFileURL(`${process.env.OIDC_PROVIDER}/node_modules/oidc-provider/lib/index.js`))
const options = JSON.parse(process.env.PROVIDER)
const accounts = new Map(options.users.map((user) => [user.login, user]))

// The address must be known before the provider is made, and the port is the system's choice unless it is a second start.
const server = createServer()
await new Promise((resolve, reject) => server.once('error', reject).listen(options.port, '127.0.0.1', resolve))
const address = `http://127.0.0.1:${server.address().port}`

// Each start has keys of its own: starting again is a rotation.
function newKey (alg) {
  const { privateKey } = alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomBytes(8).toString('hex') }
}

function claimsOf (user) {
  const claims = { sub: user.subject, ...user.claims }
  if (user.email) Object.assign(claims, { email: user.email, email_verified: !user.emailUnverified })
  if (user.name) claims.name = user.name
  if (user.userName) claims.preferred_username = user.userName
  if (user.groups) claims[options.groupsClaim] = user.groups
  return claims
}

async function findAccount (ctx, id) {
  const user = options.users.find((user) => user.subject === id)
  return user && { accountId: id, claims: async () => claimsOf(user) }
}

// Everybody agrees to whatever is asked; denying is a link on the form.
async function loadExistingGrant (ctx) {
  const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
  grant.addOIDCScope('openid email profile groups')
  await grant.save()
  return grant
}

const provider = new Provider(options.issuer || address, {
  clients: [{
    client_id: options.clientID,
    client_secret: options.clientSecret,
    redirect_uris: options.redirectURIs,
    post_logout_redirect_uris: options.logoutURIs,
    token_endpoint_auth_method: options.secretInBody ? 'client_secret_post' : 'client_secret_basic',
    id_token_signed_response_alg: options.algorithm,
    require_auth_time: false
  }],
  jwks: { keys: [newKey(options.algorithm)] },
  enabledJWA: { idTokenSigningAlgValues: [options.algorithm] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  pkce: { required: () => true },
  conformIdTokenClaims: !!options.claimsInUserInfo, // true keeps what a person is called out of the ID token
  claims: {
    openid: ['sub', ...(options.claimsInUserInfo ? [] : [options.groupsClaim]), ...options.users.flatMap((user) => Object.keys(user.claims ?? {}))],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username', ...(options.claimsInUserInfo ? [options.groupsClaim] : [])]
  },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
  scopes: ['openid', 'groups'],
  features: { devInteractions: { enabled: false }, userinfo: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
  findAccount,
  loadExistingGrant
})

const form = (uid, again) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Test provider</title></head><body><main><h1>Test provider</h1>
${again ? '<p role="alert">There is no such account with this password.</p>' : ''}
<form method="post" action="/interaction/${uid}">
<label>Login <input name="login" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button></form>
<p><a href="/interaction/${uid}/abort">Cancel</a></p></main></body></html>`

async function body (request) {
  let text = ''
  for await (const chunk of request) text += chunk
  return new URLSearchParams(text)
}

async function interact (request, response) {
  const { uid } = await provider.interactionDetails(request, response)
  if (request.url.endsWith('/abort')) {
    return provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'End-User aborted interaction' })
  }
  let again = false
  if (request.method === 'POST') {
    const entered = await body(request)
    const user = accounts.get(entered.get('login'))
    if (user && user.password === entered.get('password')) {
      return provider.interactionFinished(request, response, { login: { accountId: user.subject } })
    }
    again = true
  }
  response.setHeader('content-type', 'text/html; charset=utf-8').end(form(uid, again))
}

const protocol = provider.callback()
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) return protocol(request, response)
  interact(request, response).catch((error) => response.writeHead(400).end(String(error)))
})
provider.on('server_error', (ctx, error) => console.error(error))
console.log(address)
