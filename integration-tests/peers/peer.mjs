// What every peer script shares: reading the settings, trusting the test CA, listening over TLS, and dying with the
// parent. No OpenID Connect in here.

// A peer's stdout carries exactly one line (`ready`), and libraries like to print notices there. This module is imported
// first by every script, so the redirection is in place before a library is loaded.
console.log = console.info = console.debug = console.error;

import fs from 'node:fs';
import https from 'node:https';
import { Agent, fetch } from 'undici';

/** The only argument: a JSON object, or the path of a file that holds one. */
export function settings() {
  const arg = process.argv[2] ?? '{}';
  return JSON.parse(arg.trimStart().startsWith('{') ? arg : fs.readFileSync(arg, 'utf8'));
}

/**
 * `fetch` that trusts the PEM file `ca` and nothing else. It is undici's own, because a dispatcher made by one version of
 * undici should not be handed to the other version inside Node. It also drops the dispatcher a caller brings along:
 * oidc-provider's refuses loopback addresses, which is where all our peers live.
 */
export function trusting(ca) {
  const dispatcher = new Agent({ connect: { ca: fs.readFileSync(ca) } });
  return (url, options) => fetch(url, { ...options, dispatcher });
}

/** Ends the process when the parent asks (SIGTERM) or is gone (the pipe on stdin closes), after an optional clean-up. */
export function dieWithParent(cleanUp = async () => {}) {
  let ending;
  const end = () => { ending ??= cleanUp().catch(() => {}).finally(() => process.exit(0)); };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, end);
  // Only a pipe says something about the parent: /dev/null is at its end from the start, and a terminal is a developer.
  const stdin = fs.fstatSync(0, { throwIfNoEntry: false });
  if (stdin?.isFIFO() || stdin?.isSocket()) process.stdin.on('end', end).on('close', end).on('error', end).resume();
}

/** Listens on localhost over TLS and prints the one `ready` line. `handler` may be async; what it throws is a 500. */
export function serve({ port, cert, key }, handler, ready = {}) {
  const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, async (req, res) => {
    try {
      await handler(req, res);
    } catch (error) {
      console.error(req.method, req.url, error);
      if (!res.headersSent) send(res, error.statusCode ?? 500, 'text/plain', `${error.error ?? error}: ${error.error_description ?? ''}`);
    }
  });
  // A login keeps several connections open for a while; a benchmark reuses them.
  server.keepAliveTimeout = 30_000;
  server.on('error', (error) => { console.error(error); process.exit(1); });
  // `localhost` may be 127.0.0.1 or ::1 depending on the client; without a host Node listens on both.
  server.listen(port, () => process.stdout.write(`${JSON.stringify({ ready: true, port: server.address().port, pid: process.pid, ...ready })}\n`));
  dieWithParent();
  return server;
}

export function send(res, status, type, body, headers = {}) {
  res.writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store', ...headers });
  res.end(body);
}

export function redirect(res, location, headers = {}) {
  res.writeHead(303, { location: String(location), 'cache-control': 'no-store', ...headers });
  res.end();
}

export async function body(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

export const form = async (req) => new URLSearchParams(await body(req));

export const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** A page that is readable, passes an accessibility check and has no script. */
export function page(res, title, main, status = 200) {
  send(res, status, 'text/html', `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>body{font:1rem/1.5 sans-serif;max-width:40rem;margin:1rem auto;padding:0 1rem}
button{font:inherit;min-height:2.75rem;margin:.25rem 0}pre{white-space:pre-wrap;overflow-wrap:anywhere}</style>
</head><body><main><h1>${escape(title)}</h1>
${main}
</main></body></html>`, { 'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'" });
}

/**
 * A store for oidc-provider, private to one provider. Its own in-memory store forgets the oldest of 1,000 entries, which a
 * benchmark reaches within seconds; this one forgets only what has expired.
 */
export function memoryAdapter() {
  const entries = new Map(); // "Model:id" -> { payload, expires }
  const index = new Map(); // "uid:..." or "user_code:..." -> id
  const grants = new Map(); // grant id -> set of keys
  const forget = (key) => {
    const { payload } = entries.get(key) ?? {};
    entries.delete(key);
    // A session changes its id at login and keeps its uid: the index may already point at the new id.
    if (payload?.uid && key.endsWith(`:${index.get(`uid:${payload.uid}`)}`)) index.delete(`uid:${payload.uid}`);
    const members = grants.get(payload?.grantId);
    if (members?.delete(key) && members.size === 0) grants.delete(payload.grantId);
  };
  setInterval(() => { const now = Date.now(); for (const [key, { expires }] of entries) if (expires <= now) forget(key); }, 5_000).unref();
  return (model) => ({
    async upsert(id, payload, expiresIn) {
      const key = `${model}:${id}`;
      forget(key);
      entries.set(key, { payload, expires: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
      if (payload.uid) index.set(`uid:${payload.uid}`, id);
      if (payload.userCode) index.set(`user_code:${payload.userCode}`, id);
      if (payload.grantId && model !== 'Session') {
        if (!grants.has(payload.grantId)) grants.set(payload.grantId, new Set());
        grants.get(payload.grantId).add(key);
      }
    },
    async find(id) {
      const entry = entries.get(`${model}:${id}`);
      return entry && entry.expires > Date.now() ? entry.payload : undefined;
    },
    async findByUid(uid) { return this.find(index.get(`uid:${uid}`)); },
    async findByUserCode(code) { return this.find(index.get(`user_code:${code}`)); },
    async consume(id) { const payload = await this.find(id); if (payload) payload.consumed = Math.floor(Date.now() / 1000); },
    async destroy(id) { forget(`${model}:${id}`); },
    async revokeByGrantId(grantId) { for (const key of grants.get(grantId) ?? []) forget(key); grants.delete(grantId); },
  });
}
