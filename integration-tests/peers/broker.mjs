// The comparison for the benchmark: the shortest honest broker from two certified libraries. `oidc-provider` faces the
// portals, `openid-client` faces the upstream provider, everything is in memory, and there is no policy, audit or consent
// record. One POST stands for the consent page.
//
// Settings: { port, cert, key, ca, issuer?, clients: [client metadata], upstream: { issuer, client_id, client_secret } }
//
// By plain HTTP: authorize -> 303 /interaction/UID -> 303 upstream -> (log in there) -> /callback -> 303 /interaction/UID
// -> POST consent=yes there -> 303s to the portal's callback.
import { memoryAdapter, page, redirect, serve, settings, trusting } from './peer.mjs';
import { randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import * as oidc from 'openid-client';

const config = settings();
const { port, issuer = `https://localhost:${port}`, upstream } = config;
const fetch = trusting(config.ca);
const people = new Map(); // sub -> claims
const hops = new Map(); // interaction uid -> { state, nonce, verifier } and, once upstream answered, { sub }
const byState = new Map(); // state -> interaction uid

let discovered;
function up() {
  discovered ??= oidc.discovery(new URL(upstream.issuer), upstream.client_id, upstream.metadata ?? {}, oidc.ClientSecretBasic(upstream.client_secret),
    { [oidc.customFetch]: fetch, execute: [oidc.enableNonRepudiationChecks] }).catch((error) => { discovered = undefined; throw error; });
  return discovered;
}

const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const provider = new Provider(issuer, {
  clients: config.clients.map((client) => ({ id_token_signed_response_alg: 'ES256', ...client })),
  adapter: memoryAdapter(),
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: randomBytes(6).toString('base64url') }] },
  fetch,
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], profile: ['name', 'family_name', 'given_name', 'birthdate', 'locale'], email: ['email', 'email_verified'] },
  // The old portal's library has no PKCE.
  pkce: { required: (ctx, client) => client.tokenEndpointAuthMethod !== 'client_secret_basic' },
  features: { devInteractions: { enabled: false }, resourceIndicators: { enabled: false }, introspection: { enabled: true } },
  cookies: {
    keys: [randomBytes(32).toString('base64url')],
    names: { session: `session_${port}`, interaction: `interaction_${port}`, resume: `resume_${port}`, state: `state_${port}` },
  },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 900, Session: 3600, Grant: 3600 },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, sub) => people.has(sub) ? { accountId: sub, claims: () => ({ ...people.get(sub), sub }) } : undefined,
});
provider.on('server_error', (ctx, error) => console.error(error));

async function goUpstream(res, uid, params) {
  const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
  hops.set(uid, { state, nonce, verifier });
  byState.set(state, uid);
  redirect(res, oidc.buildAuthorizationUrl(await up(), {
    redirect_uri: `${issuer}/callback`, scope: params.scope, state, nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }));
}

async function fromUpstream(res, url) {
  const state = url.searchParams.get('state');
  const uid = byState.get(state);
  const hop = hops.get(uid);
  if (!byState.delete(state)) return page(res, 'Unknown login', '<p>Start again at the portal.</p>', 400);
  try {
    const tokens = await oidc.authorizationCodeGrant(await up(), url, { expectedState: state, expectedNonce: hop.nonce, pkceCodeVerifier: hop.verifier });
    const { sub } = tokens.claims();
    const userinfo = await oidc.fetchUserInfo(await up(), tokens.access_token, sub);
    people.set(sub, { ...tokens.claims(), ...userinfo });
    hops.set(uid, { sub, acr: tokens.claims().acr, amr: tokens.claims().amr });
  } catch (error) {
    hops.set(uid, { error: error.error ?? 'server_error' });
  }
  return redirect(res, `/interaction/${uid}`); // only there is the cookie that proves this browser started the login
}

async function interaction(req, res) {
  const { uid, params, prompt, grantId, session } = await provider.interactionDetails(req, res);
  const hop = hops.get(uid);
  if (prompt.name === 'login' && !hop?.sub && !hop?.error) return goUpstream(res, uid, params);
  if (hop?.error) { hops.delete(uid); return provider.interactionFinished(req, res, { error: hop.error }); }
  if (req.method !== 'POST') {
    return page(res, 'Share your details?', '<form method="post"><button name="consent" value="yes">Agree</button></form>');
  }
  hops.delete(uid);
  const accountId = hop?.sub ?? session.accountId;
  const grant = (grantId && await provider.Grant.find(grantId)) ?? new provider.Grant({ clientId: params.client_id, accountId });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(req, res, {
    ...(hop?.sub ? { login: { accountId, acr: hop.acr, amr: hop.amr } } : {}), consent: { grantId: await grant.save() },
  }, { mergeWithLastSubmission: false });
}

const callback = provider.callback();
serve(config, (req, res) => {
  if (req.url.startsWith('/callback')) return fromUpstream(res, new URL(req.url, issuer));
  return req.url.startsWith('/interaction/') ? interaction(req, res) : callback(req, res);
}, { issuer, redirect_uri: `${issuer}/callback` });
