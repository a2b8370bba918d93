// A real browser: Debian's Chromium, driven by playwright-core through a short declarative list of steps.
//
// Settings: { ca, out, chromium?, timeout?, javascript?, viewport?, mobile?, locale?, steps: [...] }, or `runs: [{ ... }]`
// with any of the last five keys in each run: one browser start, one fresh context (cookies, cache) for each run.
//
// Prints one line: { ok: true, results } or { ok: false, run, step, error, url, console }, and exits 0 or 1. `results` is
// what the steps collected, in order; with `runs` it is one such list for each run.
import { dieWithParent, settings } from './peer.mjs';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';

const config = settings();
const { out, timeout = 10_000 } = config;
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const WCAG = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** A HOME whose certificate database trusts our CA, so that a certificate error in the product stays an error here. */
function freshHome(ca) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'peer-browser-'));
  const database = path.join(home, '.pki', 'nssdb');
  fs.mkdirSync(database, { recursive: true });
  execFileSync('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
  execFileSync('certutil', ['-A', '-n', 'dev-ca', '-t', 'C,,', '-i', ca, '-d', `sql:${database}`]);
  return home;
}

class Run {
  constructor(browser, options) {
    this.browser = browser;
    this.options = { javascript: true, locale: 'en', ...options };
    this.errors = []; // console errors, which include CSP violations, and uncaught exceptions
    this.documents = new Map(); // URL -> last main-frame response, for the accessibility check of script-less pages
    this.results = [];
  }

  contextOptions(javascript) {
    const { mobile, viewport, locale, userAgent } = this.options;
    return {
      javaScriptEnabled: javascript, locale, userAgent, serviceWorkers: 'block',
      viewport: viewport ?? (mobile ? { width: 390, height: 844 } : { width: 1280, height: 800 }),
      ...(mobile ? { isMobile: true, hasTouch: true, deviceScaleFactor: 2 } : {}),
    };
  }

  async open() {
    this.context = await this.browser.newContext(this.contextOptions(this.options.javascript));
    this.context.setDefaultTimeout(timeout);
    this.context.on('console', (message) => message.type() === 'error' && this.errors.push(message.text()));
    this.context.on('weberror', (error) => this.errors.push(String(error.error())));
    this.context.on('response', (response) => {
      const request = response.request();
      if (request.isNavigationRequest() && !request.frame().parentFrame()) this.documents.set(response.url(), response);
    });
    this.page = await this.context.newPage();
  }

  /** Does something that may navigate, and waits for the new page if it did, so that the next step sees that one. */
  async settle(action) {
    let navigating = false;
    const mark = (request) => { navigating ||= request.isNavigationRequest() && request.frame() === this.page.mainFrame(); };
    const loaded = this.page.waitForEvent('load', { timeout }).catch(() => {});
    this.page.on('request', mark);
    await action();
    await new Promise((resolve) => setTimeout(resolve, 100));
    this.page.off('request', mark);
    if (navigating) await loaded;
  }

  /** Polls from here, not in the page: works without JavaScript and across navigations. */
  async until(what, probe) {
    const end = Date.now() + timeout;
    for (;;) {
      const seen = await probe().catch((error) => error);
      if (seen === true) return;
      if (Date.now() > end) throw new Error(`${what}; saw: ${seen instanceof Error ? seen.message : JSON.stringify(seen)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  collect(result) { this.results.push(result); }

  steps = {
    goto: (url) => this.page.goto(url, { waitUntil: 'load' }),
    back: () => this.page.goBack(),
    reload: () => this.page.reload(),
    click: (selector) => this.settle(() => this.page.click(selector)),
    press: (key) => this.settle(() => this.page.keyboard.press(key)),
    check: (selector) => this.page.check(selector),
    fill: ({ selector, value }) => this.page.fill(selector, value),
    select: ({ selector, value }) => this.page.selectOption(selector, value),
    waitFor: (selector) => this.page.waitForSelector(selector),
    clearCookies: () => this.context.clearCookies(),
    wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    newTab: async (url) => { this.page = await this.context.newPage(); await this.page.goto(url); },
    tab: async (index) => { this.page = this.context.pages()[index]; await this.page.bringToFront(); },
    text: async (selector) => this.collect({ text: selector, value: await this.page.innerText(selector) }),
    attribute: async ({ selector, name }) => this.collect({ attribute: name, value: await this.page.getAttribute(selector, name) }),
    url: () => this.collect({ url: this.page.url() }),
    cookies: async () => this.collect({ cookies: await this.context.cookies() }),
    expectUrl: (part) => this.until(`the address has no ${part}`, async () => this.page.url().includes(part) || this.page.url()),
    expectText: ({ selector = 'body', text }) => this.until(`no "${text}" in ${selector}`, async () => {
      const texts = await this.page.locator(selector).allInnerTexts();
      return texts.some((one) => one.includes(text)) || texts;
    }),
    expectNo: (selector) => this.until(`there is a ${selector}`, async () => {
      const count = await this.page.locator(selector).count();
      return count === 0 || count;
    }),
    screenshot: async (name) => {
      const file = path.join(out, `${name}.png`);
      await this.page.screenshot({ path: file, fullPage: true });
      this.collect({ screenshot: file });
    },
    focusAndEnter: (selector) => this.focusAndEnter(selector),
    // A name, or { name, except: [rule, …] } where a rule cannot hold and the test says why.
    axe: (value) => this.axe(value.name ?? value, value.except ?? []),
    noHorizontalScroll: async () => {
      const { width } = this.page.viewportSize();
      const wide = await this.page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) throw new Error(`the page is ${wide} px wide in a window of ${width} px`);
    },
    // `{ consoleClean: { allow: ["status of 400"] } }` lets expected errors through.
    consoleClean: async ({ allow = [] } = {}) => {
      const bad = this.errors.filter((text) => !allow.some((part) => text.includes(part)));
      if (bad.length) throw new Error(`console errors: ${JSON.stringify(bad)}`);
    },
  };

  /** Reaches an element the way a person without a mouse does, and reports whether the focus could be seen there. */
  async focusAndEnter(selector) {
    for (let tabs = 1; tabs <= 60; tabs += 1) {
      await this.page.keyboard.press('Tab');
      const focus = await this.page.evaluate((wanted) => {
        const element = document.activeElement;
        if (!element?.matches(wanted)) return null;
        const style = getComputedStyle(element);
        return { visible: style.outlineStyle !== 'none' || style.boxShadow !== 'none' };
      }, selector);
      if (!focus) continue;
      this.collect({ focusAndEnter: selector, tabs, focusVisible: focus.visible });
      return this.settle(() => this.page.keyboard.press('Enter'));
    }
    throw new Error(`60 times Tab never reached ${selector}`);
  }

  async axe(name, except) {
    const other = this.options.javascript ? undefined : await this.scriptedCopy();
    try {
      const { violations, passes, incomplete } = await new AxeBuilder({ page: other?.page ?? this.page }).withTags(WCAG).analyze();
      fs.writeFileSync(path.join(out, `axe-${name}.json`), JSON.stringify({ violations, incomplete }, null, 2));
      this.collect({ axe: name, passes: passes.length, incomplete: incomplete.map(({ id }) => id) });
      const found = violations.filter(({ id }) => !except.includes(id)).map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map(({ target, failureSummary }) => ({ target, failureSummary })) }));
      if (found.length) throw new Error(`axe: ${JSON.stringify(found)}`);
    } finally {
      await other?.context.close();
    }
  }

  /**
   * axe is JavaScript, so a page of a script-less run is shown again, byte for byte and under its own headers, in a context
   * that may run scripts. The page's own scripts are taken out and <noscript> is unwrapped: what is judged is what
   * somebody without JavaScript sees. Nothing is requested twice except style sheets and images.
   */
  async scriptedCopy() {
    const url = this.page.url();
    const response = this.documents.get(url.replace(/#.*$/, ''));
    const html = (await response?.text().catch(() => undefined)) ?? await this.page.content();
    const body = html.replace(/<script\b[\s\S]*?<\/script\s*>/gi, '').replace(/<\/?noscript\b[^>]*>/gi, '');
    const drop = new Set(['set-cookie', 'content-length', 'content-encoding', 'transfer-encoding', 'connection', 'refresh']);
    const headers = Object.fromEntries(Object.entries(response?.headers() ?? { 'content-type': 'text/html; charset=utf-8' }).filter(([key]) => !drop.has(key)));
    const context = await this.browser.newContext({ ...this.contextOptions(true), storageState: await this.context.storageState() });
    const page = await context.newPage();
    await page.route((at) => at.href === url.replace(/#.*$/, ''), (route) => route.fulfill({ status: response?.status() ?? 200, headers, body }));
    await page.goto(url);
    return { context, page };
  }

  async go() {
    await this.open();
    for (const [index, step] of this.options.steps.entries()) {
      const [[name, value]] = Object.entries(step);
      this.current = { index, ...step };
      if (!Object.hasOwn(this.steps, name)) throw new Error(`unknown step ${name}`);
      await this.steps[name](value === true ? undefined : value);
    }
  }

  async saveFailure() {
    await this.page?.screenshot({ path: path.join(out, 'failure.png'), fullPage: true, timeout: 5_000 }).catch(() => {});
    await this.page?.content().then((html) => fs.writeFileSync(path.join(out, 'failure.html'), html)).catch(() => {});
  }
}

fs.mkdirSync(out, { recursive: true });
const home = freshHome(config.ca);
let browser;
const cleanUp = async () => { await browser?.close(); fs.rmSync(home, { recursive: true, force: true, maxRetries: 3 }); };
dieWithParent(cleanUp);

const results = [];
let verdict;
let run;
try {
  const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: `${home}/config`, XDG_CACHE_HOME: `${home}/cache` };
  browser = await chromium.launch({
    executablePath: config.chromium ?? '/usr/bin/chromium', args: FLAGS, env, handleSIGTERM: false, handleSIGINT: false, handleSIGHUP: false,
  });
  for (const options of config.runs ?? [config]) {
    const { javascript, viewport, mobile, locale } = config;
    const common = Object.fromEntries(Object.entries({ javascript, viewport, mobile, locale }).filter(([, value]) => value !== undefined));
    run = new Run(browser, { ...common, ...options });
    await run.go();
    results.push(run.results);
    await run.context.close();
  }
  verdict = { ok: true, results: config.runs ? results : results[0] };
} catch (error) {
  await run?.saveFailure();
  verdict = { ok: false, run: results.length, step: run?.current, error: stripVTControlCharacters(error.message), url: run?.page?.url(), console: run?.errors };
}
await cleanUp().catch((error) => console.error(error));
process.stdout.write(`${JSON.stringify(verdict)}\n`, () => process.exit(verdict.ok ? 0 : 1));
