// A real federation: `@openid-federation/core` makes and reads every statement, and `jose` signs. An anchor, and a portal below it.
//
// Settings: { port, cert, key, ca, gateway, subordinate }: the gateway's issuer, and an entity here that the gateway vouches for.
//
// GET /keys the anchor's, and the subordinate's; /resolve?sub= what an entity is by the anchor's word, found by this library's own climbing;
// POST /request a request of the portal, signed; POST /assertion an assertion of the portal's.
import { body, send, serve, settings, trusting } from './peer.mjs';
import { createEntityConfiguration, createEntityStatement, fetchEntityConfiguration, resolveTrustChains } from '@openid-federation/core';
import * as jose from 'jose';

const config = settings();
globalThis.fetch = trusting(config.ca);
const at = `https://localhost:${config.port}`;
const entity = (name) => `${at}/${name}`;

async function make() {
  const { publicKey, privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
  const jwk = await jose.exportJWK(publicKey);
  return { privateKey, jwk: { ...jwk, kid: await jose.calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig' } };
}
const keys = { anchor: await make(), portal: await make(), county: await make(), 'portal-protocol': await make() };

/** The library hands over what is to be signed; the signature is made by the platform's own cryptography. */
const signing = (who) => async ({ toBeSigned }) =>
  new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, keys[who].privateKey, toBeSigned));
const verifyJwtCallback = async ({ data, signature, jwk }) => {
  const key = await crypto.subtle.importKey('jwk', { ...jwk, ext: true }, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
  return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, signature, data);
};
const now = () => Math.floor(Date.now() / 1000);
const times = () => ({ iat: now(), exp: now() + 300 });
const jwks = (who) => ({ keys: [keys[who].jwk] });

const own = (who, more) => createEntityConfiguration({
  claims: { iss: entity(who), sub: entity(who), ...times(), jwks: jwks(who), ...more },
  header: { kid: keys[who].jwk.kid, typ: 'entity-statement+jwt', alg: 'ES256' },
  signJwtCallback: signing(who),
});

const relyingParty = () => ({
  client_registration_types: ['automatic'], client_name: 'A portal of another federation', redirect_uris: [`${entity('portal')}/callback`],
  response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'private_key_jwt',
  id_token_signed_response_alg: 'ES256', scope: 'openid profile email', contacts: ['portal@portal.example'],
  jwks: { keys: [keys['portal-protocol'].jwk] },
});

const configurations = {
  anchor: () => own('anchor', { metadata: { federation_entity: { organization_name: 'An anchor', federation_fetch_endpoint: `${entity('anchor')}/fetch` } } }),
  portal: () => own('portal', { authority_hints: [entity('anchor')], metadata: { openid_relying_party: relyingParty() } }),
  county: () => own('county', { authority_hints: [config.gateway], metadata: { openid_relying_party: relyingParty() } }),
};

/** What the anchor says: of the portal, with a policy; of the gateway, with the keys that the gateway itself published. */
async function said(sub) {
  const policies = { [entity('portal')]: { openid_relying_party: { contacts: { add: ['anchor@federation.example'] }, grant_types: { subset_of: ['authorization_code'] } } } };
  const known = sub === config.gateway
    ? (await fetchEntityConfiguration({ entityId: sub, verifyJwtCallback })).jwks
    : sub === entity('portal') ? jwks('portal') : undefined;
  return known && createEntityStatement({
    claims: { iss: entity('anchor'), sub, ...times(), jwks: known, metadata_policy: policies[sub] },
    header: { kid: keys.anchor.jwk.kid, typ: 'entity-statement+jwt', alg: 'ES256' },
    jwk: keys.anchor.jwk, signJwtCallback: signing('anchor'),
  });
}

const sign = (claims, typ) => new jose.SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ, kid: keys['portal-protocol'].jwk.kid })
  .setIssuedAt().setExpirationTime('1m').setJti(crypto.randomUUID()).setIssuer(entity('portal')).setAudience(config.gateway)
  .sign(keys['portal-protocol'].privateKey);

serve(config, async (req, res) => {
  const url = new URL(req.url, at);
  const found = url.pathname.match(/^\/(\w+)\/\.well-known\/openid-federation$/);
  const json = (value) => send(res, 200, 'application/json', JSON.stringify(value));
  const statement = (token) => token
    ? (res.writeHead(200, { 'content-type': 'application/entity-statement+jwt' }), res.end(token))
    : send(res, 404, 'application/json', '{"error":"not_found"}');
  if (found) statement(await configurations[found[1]]?.());
  else if (url.pathname === '/anchor/fetch') statement(await said(url.searchParams.get('sub')));
  else if (url.pathname === '/keys') json({ anchor: jwks('anchor'), county: jwks('county') });
  else if (url.pathname === '/resolve') {
    const chains = await resolveTrustChains({ entityId: url.searchParams.get('sub'), trustAnchorEntityIds: [entity('anchor')], verifyJwtCallback });
    json(chains.map(({ chain, resolvedLeafMetadata }) => ({ length: chain.length, metadata: resolvedLeafMetadata })));
  } else if (url.pathname === '/request') send(res, 200, 'text/plain', await sign(JSON.parse(await body(req)), 'oauth-authz-req+jwt'));
  else if (url.pathname === '/assertion') send(res, 200, 'text/plain', await sign({ sub: entity('portal') }, 'JWT'));
  else send(res, 404, 'text/plain', 'not found');
});
