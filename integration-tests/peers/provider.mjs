// A real upstream identity provider: the certified `oidc-provider`, over HTTPS, with a login page of our own.
//
// Settings: { port, cert, key, ca, issuer?, clients: [client metadata], accounts: [{ id, claims, acr?, amr? }],
//             acr_values?, acr?, amr?, scopes?: { scope: [claim] }, features?, ttl? }
//
// By plain HTTP: GET the authorization URL -> 303 to /interaction/UID -> POST login=ID there (or abort=1) -> 303s to the
// callback. Nothing needs JavaScript, and consent is granted by the server, so there is no second page.
import { escape, form, memoryAdapter, page, serve, settings, trusting } from './peer.mjs';
import { randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const config = settings();
const { port, issuer = `https://localhost:${port}`, clients = [], acr_values: acrValues = [] } = config;
const accounts = new Map((config.accounts ?? []).map((account) => [account.id, account]));

/** Both algorithms clients ask for. The `kid` is new at every start, as after a real rotation: nobody may cache by position. */
async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${randomBytes(6).toString('base64url')}` };
}

/** A claim that no scope carries (an identity number, say) can still be asked for through the `claims` parameter. */
function claimsByScope() {
  const scopes = {
    // oidc-provider puts `acr` and `amr` into an ID token only when asked; real providers of this kind always do.
    openid: ['sub', 'acr', 'amr', 'auth_time'],
    profile: ['name', 'family_name', 'given_name', 'middle_name', 'nickname', 'preferred_username', 'profile', 'picture',
      'website', 'gender', 'birthdate', 'zoneinfo', 'locale', 'updated_at'],
    email: ['email', 'email_verified'],
    phone: ['phone_number', 'phone_number_verified'],
    address: ['address'],
    ...config.scopes,
  };
  const carried = new Set(Object.values(scopes).flat());
  const others = [...accounts.values()].flatMap(({ claims }) => Object.keys(claims ?? {})).filter((name) => !carried.has(name));
  return { ...scopes, sid: null, iss: null, ...Object.fromEntries(others.map((name) => [name, null])) };
}

// FAPI 2.0, with everything that it may ask of a client: pushed requests, tokens bound to a key, and nonces of its own.
const fapi = config.fapi ? {
  fapi: { enabled: true, profile: '2.0' },
  pushedAuthorizationRequests: { enabled: true },
  dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
} : {};

const provider = new Provider(issuer, {
  clients,
  adapter: memoryAdapter(),
  jwks: { keys: [await newKey('ES256'), await newKey('RS256')] },
  fetch: trusting(config.ca),
  claims: claimsByScope(),
  acrValues,
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    claimsParameter: { enabled: true },
    backchannelLogout: { enabled: true },
    resourceIndicators: { enabled: false },
    ...fapi,
    ...config.features,
  },
  // Cookies do not know ports: two providers on localhost would overwrite each other's sessions in one browser.
  cookies: {
    keys: [randomBytes(32).toString('base64url')],
    names: { session: `session_${port}`, interaction: `interaction_${port}`, resume: `resume_${port}`, state: `state_${port}` },
  },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 900, Session: 3600, Grant: 3600, RefreshToken: 3600, ...config.ttl },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => accounts.has(id) ? { accountId: id, claims: () => ({ ...accounts.get(id).claims, sub: id }) } : undefined,
  async loadExistingGrant(ctx) {
    // Consent is not what this peer is for: whatever was asked is granted, anew for each request.
    const { client, session, params, requestParamClaims } = ctx.oidc;
    const known = session.grantIdFor(client.clientId);
    const grant = (known && await ctx.oidc.provider.Grant.find(known))
      ?? new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    if (params.scope) grant.addOIDCScope(params.scope);
    if (requestParamClaims.size) grant.addOIDCClaims([...requestParamClaims]);
    await grant.save();
    return grant;
  },
  renderError(ctx, out) {
    ctx.type = 'html';
    ctx.body = `<!DOCTYPE html><html lang="en"><title>Error</title><main><h1>Error</h1><pre id="error">${escape(JSON.stringify(out))}</pre></main></html>`;
  },
});
for (const event of ['authorization.error', 'grant.error', 'userinfo.error', 'server_error', 'backchannel.error']) {
  provider.on(event, (ctx, error) => console.error(event, error.error ?? error, error.error_description ?? '', error.error_detail ?? ''));
}

/** What this login proves. A fixed `acr` wins; without one the provider "steps up" to the first requested value it knows. */
function proof(account, params) {
  const requested = JSON.parse(params.claims ?? '{}').id_token?.acr;
  const wanted = [requested?.value, ...(requested?.values ?? []), ...(params.acr_values?.split(' ') ?? [])].filter(Boolean);
  const acr = account.acr ?? config.acr ?? wanted.find((value) => acrValues.includes(value));
  const essential = requested?.essential ? [requested.value, ...(requested.values ?? [])].filter(Boolean) : [];
  return { acr, amr: account.amr ?? config.amr ?? ['pwd'], unmet: essential.length > 0 && !essential.includes(acr) };
}

async function interaction(req, res) {
  const { prompt, params } = await provider.interactionDetails(req, res);
  const finish = (result, options = { mergeWithLastSubmission: false }) => provider.interactionFinished(req, res, result, options);
  if (prompt.name !== 'login') return finish({ consent: {} }, { mergeWithLastSubmission: true }); // prompt=consent
  if (req.method !== 'POST') {
    const buttons = [...accounts.values()].map(({ id, claims }) =>
      `<p><button name="login" value="${escape(id)}">${escape(claims?.name ?? id)}</button></p>`);
    return page(res, 'Choose an account', `<form method="post">${buttons.join('\n')}
<p><button name="abort" value="1">Cancel</button></p></form>`);
  }
  const posted = await form(req);
  if (posted.has('abort')) return finish({ error: 'access_denied', error_description: 'the person cancelled' });
  const account = accounts.get(posted.get('login'));
  if (!account) return page(res, 'Unknown account', '<p>There is no such account.</p>', 400);
  const { acr, amr, unmet } = proof(account, params);
  if (unmet) return finish({ error: 'unmet_authentication_requirements', error_description: 'no such assurance here' });
  return finish({ login: { accountId: account.id, acr, amr } });
}

const callback = provider.callback();
serve(config, (req, res) => (req.url.startsWith('/interaction/') ? interaction(req, res) : callback(req, res)), { issuer });
