// `npm test`: the peers against each other, so that a failing test of the gateway is not a broken peer.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { exportJWK, generateKeyPair } from 'jose';
import { trusting } from './peer.mjs';

const here = import.meta.dirname;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'peers-smoke-'));
const [ca, cert, key] = ['ca.pem', 'leaf.pem', 'leaf.key'].map((name) => path.join(dir, name));
const children = [];
const at = {}; // name -> origin
let fetch;

function makeCertificates() {
  const openssl = (...args) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
  fs.writeFileSync(path.join(dir, 'leaf.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n');
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...ec, '-days', '2', '-subj', '/CN=smoke test CA', '-keyout', 'ca.key', '-out', 'ca.pem',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
  openssl('req', ...ec, '-subj', '/CN=localhost', '-keyout', 'leaf.key', '-out', 'leaf.csr');
  openssl('x509', '-req', '-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'leaf.ext', '-out', 'leaf.pem');
}

async function freePort() {
  const server = net.createServer().listen(0);
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a script and waits for its one line. */
async function start(script, config) {
  const child = spawn(process.execPath, [path.join(here, script), JSON.stringify({ cert, key, ca, ...config })], { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  child.log = '';
  child.stderr.on('data', (chunk) => { child.log += chunk; });
  const [line] = await Promise.race([
    new Promise((resolve) => readline.createInterface(child.stdout).once('line', (text) => resolve([text]))),
    new Promise((_, reject) => child.once('exit', (code) => reject(new Error(`${script} ended with ${code}: ${child.log}`)))),
  ]);
  return { child, line: JSON.parse(line) };
}

/** The plain HTTP client the Rust tests need too: a cookie jar that knows paths, and redirects by hand. */
class Visitor {
  jar = new Map();

  async request(url, options = {}) {
    const { pathname } = new URL(url);
    const cookie = [...this.jar.values()].filter((one) => pathname === one.path || pathname.startsWith(one.path.replace(/\/?$/, '/')))
      .map(({ name, value }) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', ...options, headers: { ...(cookie ? { cookie } : {}), ...options.headers } });
    for (const line of response.headers.getSetCookie()) {
      const [[name, value], ...attributes] = line.split(';').map((part) => part.trim().split(/=(.*)/s));
      const at = Object.fromEntries(attributes.map(([k, v]) => [k.toLowerCase(), v ?? true]));
      const entry = { name, value, path: at.path ?? '/' };
      if (value === '' || (at.expires && new Date(at.expires) < new Date())) this.jar.delete(`${name} ${entry.path}`);
      else this.jar.set(`${name} ${entry.path}`, entry);
    }
    return response;
  }

  /** Follows redirects until something answers otherwise. */
  async visit(url, options) {
    for (let hop = 0; hop < 15; hop += 1) {
      const response = await this.request(url, options);
      if (response.status < 300 || response.status > 399) return { url, status: response.status, text: await response.text() };
      url = new URL(response.headers.get('location'), url).href;
      options = {};
    }
    throw new Error('too many redirects');
  }

  submit(url, fields) {
    return this.visit(url, { method: 'POST', body: new URLSearchParams(fields) });
  }
}

const accounts = [{ id: 'chan-tai-man', claims: { name: '陳大文', given_name: '大文', family_name: '陳', birthdate: '1990-01-02', id_number: 'Z000001(0)' } }];
const browsers = ['/usr/bin/chromium', '/usr/bin/certutil'].every((file) => fs.existsSync(file));
let assertionKey;

before(async () => {
  makeCertificates();
  fetch = trusting(ca);
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  assertionKey = { ...(await exportJWK(privateKey)), alg: 'ES256', kid: 'portal-1' };
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig', kid: 'portal-1' }] });
  const keys = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (req, res) => res.setHeader('content-type', 'application/json').end(jwks));
  await new Promise((resolve) => keys.listen(0, resolve));
  keys.unref();

  for (const name of ['provider', 'broker', 'basic', 'strict', 'brokered']) at[name] = `https://localhost:${await freePort()}`;
  const port = (name) => Number(new URL(at[name]).port);
  const client = (name, more) => ({ client_id: name, client_secret: 'a secret of the smoke test only', redirect_uris: [`${at[name]}/callback`], ...more });
  const auth = { method: 'client_secret_basic', secret: 'a secret of the smoke test only' };
  await Promise.all([
    start('provider.mjs', {
      port: port('provider'), issuer: at.provider, accounts, acr_values: ['loa2', 'loa3'], acr: 'loa2', amr: ['pwd', 'otp'],
      features: { jwtResponseModes: { enabled: true } },
      clients: [client('basic'), client('broker', { id_token_signed_response_alg: 'ES256' }), {
        client_id: 'strict', redirect_uris: [`${at.strict}/callback`], token_endpoint_auth_method: 'private_key_jwt', dpop_bound_access_tokens: true,
        id_token_signed_response_alg: 'ES256', authorization_signed_response_alg: 'ES256', jwks_uri: `https://localhost:${keys.address().port}/`,
      }],
    }),
    start('broker.mjs', {
      port: port('broker'), issuer: at.broker, clients: [client('brokered')],
      upstream: { issuer: at.provider, client_id: 'broker', client_secret: auth.secret },
    }),
    start('portal.mjs', { port: port('basic'), issuer: at.provider, client_id: 'basic', auth, params: { scope: 'openid profile' } }),
    start('portal.mjs', {
      port: port('strict'), issuer: at.provider, client_id: 'strict', auth: { method: 'private_key_jwt', jwk: assertionKey }, par: true, dpop: true,
      id_token_signed_response_alg: 'ES256', metadata: { authorization_signed_response_alg: 'ES256' },
      params: { response_mode: 'jwt', claims: { userinfo: { id_number: null }, id_token: { birthdate: { essential: true } } } },
    }),
    start('portal.mjs', { port: port('brokered'), issuer: at.broker, client_id: 'brokered', auth, id_token_signed_response_alg: 'ES256', params: { scope: 'openid profile' } }),
  ]);
});

after(() => {
  for (const child of children) child.stdin.end(); // and so the peers must end by themselves
  return Promise.all(children.map((child) => child.exitCode ?? new Promise((resolve) => child.once('exit', resolve))))
    .then(() => fs.rmSync(dir, { recursive: true, force: true }));
});

async function login(origin, fields = { login: 'chan-tai-man' }, query = '') {
  const visitor = new Visitor();
  const form = await visitor.visit(`${origin}/login${query}`);
  assert.match(form.url, /\/interaction\//, form.text);
  return { visitor, ...(await visitor.submit(form.url, fields)) };
}

test('portal to provider by plain HTTP', async () => {
  const result = JSON.parse((await login(at.basic, undefined, '?max_age=0&prompt=login')).text);
  assert.equal(result.ok, true, JSON.stringify(result));
  assert.equal(result.userinfo.name, '陳大文');
  const { acr, amr, auth_time, sub } = result.id_token_claims;
  assert.deepEqual({ acr, amr, sub }, { acr: 'loa2', amr: ['pwd', 'otp'], sub: 'chan-tai-man' });
  assert.ok(auth_time > 1_600_000_000);
  assert.equal(result.id_token_header.alg, 'RS256');
});

test('private_key_jwt by jwks_uri, PAR, DPoP, JARM and the claims parameter', async () => {
  const result = JSON.parse((await login(at.strict)).text);
  assert.equal(result.ok, true, JSON.stringify(result));
  assert.equal(result.userinfo.id_number, 'Z000001(0)');
  assert.equal(result.id_token_claims.birthdate, '1990-01-02');
  assert.equal(result.id_token_header.alg, 'ES256');
});

test('refusals reach the portal as errors', async () => {
  const cancelled = JSON.parse((await login(at.basic, { abort: '1' })).text);
  assert.deepEqual([cancelled.ok, cancelled.error], [false, 'access_denied']);
  const claims = encodeURIComponent(JSON.stringify({ id_token: { acr: { essential: true, values: ['loa3'] } } }));
  const unmet = JSON.parse((await login(at.basic, undefined, `?claims=${claims}`)).text);
  assert.deepEqual([unmet.ok, unmet.error], [false, 'unmet_authentication_requirements']);
  const stray = JSON.parse((await new Visitor().visit(`${at.basic}/callback?code=x&state=y`)).text);
  assert.deepEqual([stray.ok, stray.code], [false, 'PORTAL_UNKNOWN_STATE']);
});

test('portal to broker to provider by plain HTTP', async () => {
  const { visitor, url, text } = await login(at.brokered);
  assert.ok(url.startsWith(`${at.broker}/interaction/`), text);
  const result = JSON.parse((await visitor.submit(url, { consent: 'yes' })).text);
  assert.equal(result.ok, true, JSON.stringify(result));
  assert.deepEqual([result.id_token_claims.iss, result.id_token_claims.acr, result.userinfo.name], [at.broker, 'loa2', '陳大文']);
  const again = JSON.parse((await visitor.visit(`${at.brokered}/login`)).text); // the broker's session: no page at all
  assert.equal(again.ok, true, JSON.stringify(again));
});

test('the same in a browser, with and without JavaScript', { skip: !browsers && 'needs chromium and certutil' }, async () => {
  const steps = (name) => [
    { goto: `${at.brokered}/` }, { axe: `${name}-portal` }, { focusAndEnter: '#login' }, { expectUrl: at.provider }, { axe: `${name}-provider` }, { noHorizontalScroll: true },
    { screenshot: `${name}-provider` }, { click: 'button[name=login]' }, { expectUrl: `${at.broker}/interaction/` }, { click: 'button[name=consent]' },
    { expectUrl: `${at.brokered}/callback` }, { expectText: { selector: '#result', text: '"ok": true' } }, { expectNo: '.error' }, { text: '#result' }, { consoleClean: true },
  ];
  const runs = [{ javascript: true, steps: steps('scripted') }, { javascript: false, mobile: true, locale: 'zh-HK', steps: steps('plain') }];
  const { line } = await start('browser.mjs', { out: path.join(dir, 'screens'), runs });
  assert.equal(line.ok, true, JSON.stringify(line));
  for (const results of line.results) assert.equal(JSON.parse(results.find(({ text }) => text === '#result').value).userinfo.name, '陳大文');
  assert.ok(fs.statSync(path.join(dir, 'screens', 'plain-provider.png')).size > 1000);
});
