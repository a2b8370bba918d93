// A real portal (relying party): the certified `openid-client`, over HTTPS, with every check it offers.
//
// Settings: { port, cert, key, ca, issuer, client_id, redirect_uri?, params?, id_token_signed_response_alg?,
//             auth: { method: client_secret_basic | client_secret_post | private_key_jwt | none, secret?, jwk? },
//             registration?: { initial_access_token, metadata } (it registers itself then), metadata?, par?, dpop?, userinfo? (false: do not call it), token_params?, expose_tokens? }
//
// POST /backchannel takes logout tokens (Back-Channel Logout 1.0 section 2.6), GET /heard lists what they said, and GET
// /answer?status=N makes the next ones be answered with N. The answer of a login names the end_session_endpoint.
//
// GET /login starts; its query parameters override `params` (an empty value removes one). /callback answers JSON, or a page
// with the same JSON in <pre id="result"> when the Accept header begins with text/html.
import { body, escape, page, redirect, send, serve, settings, trusting } from './peer.mjs';
import { randomBytes } from 'node:crypto';
import { createRemoteJWKSet, customFetch, decodeJwt, decodeProtectedHeader, importJWK, jwtVerify } from 'jose';
import * as oidc from 'openid-client';

const config = settings();
const { port, client_id, auth = { method: 'none' } } = config;
const origin = `https://localhost:${port}`;
const redirectUri = config.redirect_uri ?? `${origin}/callback`;
const fetch = trusting(config.ca);
const cookie = `portal_${port}`; // cookies do not know ports, so the name does
const pending = new Map(); // state -> what this portal remembers of a login it started

async function clientAuthentication() {
  switch (auth.method) {
    case 'client_secret_basic': return oidc.ClientSecretBasic(auth.secret);
    case 'client_secret_post': return oidc.ClientSecretPost(auth.secret);
    case 'private_key_jwt': return oidc.PrivateKeyJwt({ key: await importJWK(auth.jwk, auth.jwk.alg ?? 'ES256'), kid: auth.jwk.kid });
    case 'none': return oidc.None();
    default: throw new Error(`unknown client authentication ${auth.method}`);
  }
}

/** One configuration per response mode, discovered at the first login because the gateway may start after its portals. */
const configurations = new Map();
function configuration(jarm) {
  if (!configurations.has(jarm)) {
    const made = (async () => {
      const metadata = { ...config.metadata };
      if (config.id_token_signed_response_alg) metadata.id_token_signed_response_alg = config.id_token_signed_response_alg;
      // Without the last one the library trusts TLS and leaves the ID token's signature unread.
      const execute = [oidc.enableNonRepudiationChecks, ...(jarm ? [oidc.useJwtResponseMode] : [])];
      if (config.registration) {
        const { initial_access_token: initialAccessToken, metadata: asked } = config.registration;
        const options = { [oidc.customFetch]: fetch, execute, initialAccessToken };
        return oidc.dynamicClientRegistration(new URL(config.issuer), { ...asked, redirect_uris: [redirectUri] }, undefined, options);
      }
      return oidc.discovery(new URL(config.issuer), client_id, metadata, await clientAuthentication(), { [oidc.customFetch]: fetch, execute });
    })();
    made.catch(() => configurations.delete(jarm)); // a gateway that was not up yet is asked again
    configurations.set(jarm, made);
  }
  return configurations.get(jarm);
}

/** Arrays become repeated parameters (`resource`), objects become JSON (`claims`). Later wins, so a test can spoil anything. */
function parameters(own, overrides) {
  const chosen = { scope: 'openid', ...own, ...config.params };
  for (const name of new Set(overrides.keys())) chosen[name] = overrides.getAll(name).filter((value) => value !== '');
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(chosen)) {
    for (const one of Array.isArray(value) ? value : [value]) out.append(name, typeof one === 'object' ? JSON.stringify(one) : String(one));
  }
  return out;
}

async function login(req, res, url) {
  const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
  const params = parameters({
    redirect_uri: redirectUri, state, nonce, code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }, url.searchParams);
  const jarm = /jwt$/.test(params.get('response_mode') ?? '');
  const client = await configuration(jarm);
  const browser = cookieOf(req) ?? randomBytes(24).toString('base64url');
  const dpop = config.dpop ? oidc.getDPoPHandle(client, await oidc.randomDPoPKeyPair('ES256')) : undefined;
  pending.set(params.get('state') ?? state, {
    browser, verifier, dpop, jarm, nonce, maxAge: params.has('max_age') ? Number(params.get('max_age')) : undefined,
  });
  const target = config.par ? await oidc.buildAuthorizationUrlWithPAR(client, params, { DPoP: dpop }) : oidc.buildAuthorizationUrl(client, params);
  // SameSite=None, because form_post comes back as a cross-site POST.
  redirect(res, target, { 'set-cookie': `${cookie}=${browser}; Path=/; Secure; HttpOnly; SameSite=None` });
}

const cookieOf = (req) => req.headers.cookie?.split('; ').find((pair) => pair.startsWith(`${cookie}=`))?.slice(cookie.length + 1);

/** The response as the library wants it, and the state it names, unverified: good only to find the login it claims to end. */
async function responseOf(req, url) {
  if (req.method !== 'POST') return [url, stateIn(url.searchParams)];
  const text = await body(req);
  const request = new Request(new URL(url.pathname, redirectUri), { method: 'POST', body: text, headers: { 'content-type': req.headers['content-type'] ?? '' } });
  return [request, stateIn(new URLSearchParams(text))];
}
const stateIn = (params) => (params.has('response') ? decodeJwt(params.get('response')).state : params.get('state'));

async function callback(req, url) {
  const [response, state] = await responseOf(req, url);
  const started = pending.get(state);
  if (!started || started.browser !== cookieOf(req)) {
    const [code, message] = ['PORTAL_UNKNOWN_STATE', 'this browser started no login with that state'];
    return { ok: false, code, message, error: url.searchParams.get('error') ?? undefined };
  }
  pending.delete(state); // one answer per login
  const client = await configuration(started.jarm);
  const options = { DPoP: started.dpop };
  const tokens = await oidc.authorizationCodeGrant(client, response, {
    expectedState: state, expectedNonce: started.nonce, pkceCodeVerifier: started.verifier, maxAge: started.maxAge, idTokenExpected: true,
  }, config.token_params, options);
  const claims = tokens.claims();
  const ask = config.userinfo !== false && client.serverMetadata().userinfo_endpoint;
  const userinfo = ask ? await oidc.fetchUserInfo(client, tokens.access_token, claims.sub, options) : undefined;
  return {
    ok: true, end_session_endpoint: client.serverMetadata().end_session_endpoint, id_token: tokens.id_token, id_token_header: decodeProtectedHeader(tokens.id_token), id_token_claims: claims, userinfo,
    token_response_keys: Object.keys(tokens).sort(), ...(config.expose_tokens ? { token_response: { ...tokens } } : {}),
  };
}

const heard = []; // logout tokens, verified
let status = 200;

/** Every check of Back-Channel Logout section 2.6; the keys are the ones that discovery names. */
async function backchannel(req, res) {
  const token = new URLSearchParams(await body(req)).get('logout_token');
  if (status !== 200) return send(res, status, 'text/plain', 'not now');
  const { issuer, jwks_uri } = (await configuration(false)).serverMetadata();
  const keys = createRemoteJWKSet(new URL(jwks_uri), { [customFetch]: fetch });
  const { payload } = await jwtVerify(token, keys, { issuer, audience: client_id, typ: 'logout+jwt', requiredClaims: ['iat', 'exp', 'jti'] });
  const event = payload.events?.['http://schemas.openid.net/event/backchannel-logout'];
  if (typeof event !== 'object' || 'nonce' in payload || !(payload.sub || payload.sid) || heard.some(({ jti }) => jti === payload.jti)) {
    return send(res, 400, 'application/json', JSON.stringify({ error: 'invalid_request' }));
  }
  heard.push(payload);
  return send(res, 200, 'text/plain', '');
}

/** The library's own words: `error` is what the gateway said, `code` is the check that failed here. */
function failure(error) {
  console.error(error);
  const { error: name, error_description, code, message, status, cause } = error;
  const reason = cause instanceof Error ? cause.message : undefined;
  return { ok: false, error: name, error_description, code, message, status, reason };
}

function answer(req, res, result) {
  const text = JSON.stringify(result, null, 2);
  if (!/^\s*text\/html/.test(req.headers.accept ?? '')) return send(res, 200, 'application/json', text);
  return page(res, result.ok ? 'Signed in' : 'Sign-in failed', `<pre id="result">${escape(text)}</pre>`);
}

serve(config, async (req, res) => {
  const url = new URL(req.url, redirectUri);
  try {
    if (url.pathname === '/login') await login(req, res, url);
    else if (url.pathname === new URL(redirectUri).pathname) answer(req, res, await callback(req, url));
    else if (url.pathname === '/backchannel') await backchannel(req, res);
    else if (url.pathname === '/heard') send(res, 200, 'application/json', JSON.stringify(heard));
    else if (url.pathname === '/answer') {
      status = Number(url.searchParams.get('status'));
      send(res, 200, 'text/plain', '');
    } else if (url.pathname === '/') page(res, 'Portal', '<p><a id="login" href="/login">Sign in</a></p>');
    else send(res, 404, 'text/plain', 'not found');
  } catch (error) {
    answer(req, res, failure(error));
  }
}, { login: `${origin}/login`, redirect_uri: redirectUri });
