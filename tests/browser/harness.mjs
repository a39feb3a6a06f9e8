// What every browser test needs: Verdict's demo on ports of its own, the system's Chromium, and a watch
// over what a page does. A visit that asks for anything beyond this machine fails, and so does one that
// the content security policy or the console complains about.
//
// scripts/browser-check.sh sets VERDICT_BINARY, CHROMIUM and VERDICT_SCREENSHOTS.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { chromium } from "playwright-core";
import { findPerson } from "./canary.mjs";

/** For anything that must happen: only a failing test waits this long. In milliseconds. */
export const PATIENCE = 60_000;

export const PHONE = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };

const POLL_INTERVAL = 50;

// A browser that hangs must not hold up a CI.
setTimeout(() => {
  console.error("the tests took too long");
  process.exit(1);
}, 15 * PATIENCE).unref();
const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** Polls `look` until it returns something. */
export async function eventually(what, look) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what}: not within ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
  }
}

/** `verdict demo`, as a newcomer runs it, or with other settings (TOML). */
export class Demo {
  static async start(settings = "") {
    const demo = new Demo();
    demo.folder = await mkdtemp(join(tmpdir(), "verdict-browser-"));
    demo.output = "";
    const more = join(demo.folder, "more.toml");
    await writeFile(more, settings);
    const words = ["demo", "--folder", join(demo.folder, "demo"), "--settings", more];
    demo.process = spawn(process.env.VERDICT_BINARY, words);
    for (const stream of [demo.process.stdout, demo.process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (demo.output += text));
    }
    demo.ended = new Promise((resolve) => demo.process.on("close", resolve));
    // A test that breaks off leaves nothing running.
    process.on("exit", () => demo.process.kill("SIGINT"));
    await demo.says(/^(It stays up)/m).catch(async (error) => {
      await demo.stop();
      throw error;
    });
    const [, url, key] = demo.output.match(/ verdict on (http:[^,]*),[^]*export VERDICT_API_KEY=(\S+)/);
    Object.assign(demo, { url, key, file: join(demo.folder, "demo", "verdict.toml") });
    const written = await readFile(demo.file, "utf8");
    demo.secret = written.match(/whsec_([^"]*)/)[1];
    demo.databaseUrl = written.match(/url = "(postgres:[^"]*)"/)[1];
    demo.consoleUrl = new URL(await demo.says(/^Console: (\S+)$/m)).origin;
    return demo;
  }

  /** Waits until the output has it; its first group. */
  async says(pattern) {
    const found = await eventually(`the demo says ${pattern}`, () => {
      assert.equal(this.process.exitCode, null, `the demo ended:\n${this.output}`);
      return this.output.match(pattern);
    });
    return found[1];
  }

  async stop() {
    await this.database?.end();
    this.process.kill("SIGINT");
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Calls the API; the answer has `status` and `json`. */
  async call(path, body, key = this.key) {
    const answer = await fetch(this.url + path, {
      method: body ? "POST" : "GET",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, json: await answer.json() };
  }

  /**
   * A callback about a verification of verify-result, whose `biz_id` scripts the provider; its id. Its
   * pictures are stored when it returns.
   */
  async verified(scene, bizId, reference = null) {
    const message = { product: "verify-result", biz_type: scene, biz_id: bizId, reference };
    const body = JSON.stringify({ ...message, client: { audit: "AUDIT_PASS", code: "1" } });
    const id = `msg_${randomUUID()}`;
    const timestamp = Math.floor(Date.now() / 1000);
    const mac = createHmac("sha256", Buffer.from(this.secret, "base64"));
    const signature = mac.update(`${id}.${timestamp}.${body}`).digest("base64");
    const answer = await fetch(`${this.url}/v1/callbacks/app`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": `${timestamp}`,
        "webhook-signature": `v1,${signature}`,
      },
      body,
    });
    const verification = await answer.json();
    assert.equal(answer.status, 202, JSON.stringify(verification));
    await eventually(`${bizId} has its pictures`, async () => {
      const { state } = await this.verification(verification.id, 5);
      if (state !== "decided") return state === "failed";
      const { items } = (await this.call(`/v1/verifications/${verification.id}/images`)).json;
      return items.every((image) => image.state !== "pending");
    });
    return verification.id;
  }

  /** Verifications that a person has to decide; their ids, oldest first. */
  async cases(scene, count) {
    const ids = [];
    for (let number = 0; number < count; number += 1) {
      ids.push(await this.verified(scene, `pass-58.2-${scene}${number}`, `${scene}-customer-${number}`));
    }
    return ids;
  }

  /** Rows of the database: for what no interface shows, and to let time pass. */
  async query(sql, ...parameters) {
    if (!this.database) {
      this.database = new pg.Client({ connectionString: this.databaseUrl });
      await this.database.connect();
    }
    return (await this.database.query(sql, parameters)).rows;
  }

  /** The output of a command of `verdict` with the demo's configuration. */
  async command(...words) {
    const run = promisify(execFile);
    return (await run(process.env.VERDICT_BINARY, ["--config", this.file, ...words])).stdout;
  }

  /** A new API key of a person. */
  async apiKey(person, scopes) {
    const words = ["keys", "create", "--name", person, "--person", person, "--scopes", scopes];
    return JSON.parse(await this.command(...words, "--json")).key;
  }

  /** Signs the demo's user in to the console, by the link that the demo prints. */
  async signIn(page) {
    await page.goto(await this.says(/^Console: (\S+)$/m));
  }

  /** A new user of the console, who has not yet chosen a password. */
  async user(name, scopes = "all", ...more) {
    const output = await this.command("users", "add", name, "--scopes", scopes, ...more);
    return { name, invitation: output.match(/http\S+/)[0], password: `the password of ${name}` };
  }

  /** Starts a verification of face-verify with a page. */
  async startWithPage(orderNumber, returnUrl) {
    const { status, json } = await this.call("/v1/verifications", {
      product: "face-verify",
      biz_type: "1000000006",
      biz_id: orderNumber,
      product_code: "ID_PRO",
      cert_type: "IDENTITY_CARD",
      cert_name: "测试甲",
      cert_no: "110101190001011009",
      meta_info: '{"deviceType":"h5"}',
      certify_url_type: "H5",
      return_url: returnUrl ?? `${this.url}/v1/returns/app`,
      source: "app",
    });
    assert.equal(status, 201, JSON.stringify(json));
    return { id: json.verification.id, page: json.certify_url, certifyId: json.certify_id };
  }

  async verification(id, wait = 0) {
    const { status, json } = await this.call(`/v1/verifications/${id}?wait=${wait}`);
    assert.equal(status, 200, JSON.stringify(json));
    return json;
  }

  /** Waits for the decision. */
  async decision(id) {
    return eventually(`${id} is decided`, async () => (await this.verification(id, 5)).decision);
  }

  /**
   * Another process that serves the console alone, with more settings, which `settings` makes from its
   * address, or with changed ones.
   */
  async console(settings, change = (base) => base) {
    const [port, operations] = await Promise.all([freePort(), freePort()]);
    const url = `http://127.0.0.1:${port}`;
    const file = join(this.folder, `console-${port}.toml`);
    const base = (await readFile(this.file, "utf8"))
      .replace(/(\[console\]\nlisten = ).*/, `$1"127.0.0.1:${port}"\npublic_url = "${url}"`)
      .replace(/(\[operations\]\nlisten = ).*/, `$1"127.0.0.1:${operations}"`);
    await writeFile(file, `${change(base)}\n${await settings(url)}`, { mode: 0o600 });
    const serve = ["--config", file, "serve", "--role", "console"];
    const server = spawn(process.env.VERDICT_BINARY, serve, { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    server.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    const ended = new Promise((resolve) => server.on("close", resolve));
    process.on("exit", () => server.kill("SIGINT"));
    await eventually("the console answers", async () => {
      assert.equal(server.exitCode, null, `the console ended:\n${errors}`);
      return fetch(`${url}/sign-in`).then((answer) => answer.ok).catch(() => false);
    });
    return {
      url,
      /** A link for a new user, whose first page is that of the users. */
      invite: async (name) => {
        const words = ["--config", file, "users", "add", name, "--scopes", "users:write"];
        const { stdout } = await promisify(execFile)(process.env.VERDICT_BINARY, words);
        return stdout.match(/http\S+/)[0];
      },
      stop: () => (server.kill("SIGINT"), ended),
    };
  }

  /** Adds an address where users may come back to, and waits until it counts. */
  async allowReturnTo(address) {
    const file = this.file;
    const text = await readFile(file, "utf8");
    const changed = text.replace(/^(return_urls = \[.*)\]$/m, `$1, "${address}"]`);
    assert.notEqual(changed, text);
    await writeFile(file, changed);
    const probe = `${this.url}/v1/returns/app?to=${encodeURIComponent(address)}`;
    await eventually(`${address} is listed`, async () => {
      const answer = await fetch(probe, { redirect: "manual" });
      return answer.headers.get("location") === address;
    });
  }
}

/** A port that nobody uses at the moment. */
async function freePort() {
  const { url, close } = await serve({});
  await close();
  return new URL(url).port;
}

/** A small site on this machine, for example the customer's app. `pages` maps paths to HTML. */
export async function serve(pages) {
  const visits = [];
  const server = createServer((request, response) => {
    visits.push(request.url);
    const page = pages[new URL(request.url, "http://localhost").pathname];
    response.writeHead(page === undefined ? 404 : 200, { "content-type": "text/html; charset=utf-8" });
    response.end(page);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, visits, pages, close };
}

/** The system's Chromium; without a window, and its profiles below the folder of temporary files. */
export async function launch() {
  const arguments_ = [
    "--no-proxy-server",
    // Not even a name is looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  ];
  // Chromium's sandbox refuses to run as root, as in a container.
  if (process.getuid?.() === 0) arguments_.push("--no-sandbox");
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: arguments_ });
}

/**
 * Opens a page in a profile of its own for `steps`, and watches it. `options` are those of Playwright's
 * `newContext`; `expected`, a pattern of complaints that belong to the test; and `shown`, a pattern of
 * addresses that may show a person. If anything fails, a screenshot is kept.
 */
export async function visit(browser, name, options, steps) {
  const { expected, shown, ...settings } = options;
  const context = await browser.newContext(settings);
  context.setDefaultTimeout(PATIENCE);
  const watch = await watchOver(context);
  const page = await context.newPage();
  try {
    await steps(page, watch);
    const complaints = watch.complaints.filter((complaint) => !expected?.test(complaint));
    const people = (await watch.people(context)).filter((found) => !shown?.test(found));
    const found = { outside: watch.outside, complaints, people };
    assert.deepEqual(found, { outside: [], complaints: [], people: [] });
  } catch (error) {
    for (const [index, open] of context.pages().entries()) {
      const file = await keepScreenshot(open, `failed-${name}-${index}`).catch(() => undefined);
      if (file) error.message += `\nscreenshot of ${open.url()}: ${file}`;
    }
    throw error;
  } finally {
    await context.close();
  }
}

/** Where an answer came from, and everything it says: address, headers and, if it is text, its body. */
async function read(response) {
  const url = response.url();
  const headers = await response.allHeaders().catch(() => ({}));
  const isText = /^(text|application)\//.test(headers["content-type"] ?? "");
  // A redirect has none, and a page that is left takes its own away.
  const body = isText ? await response.text().catch(() => "") : "";
  return [`${response.request().method()} ${url}`, `${url}\n${JSON.stringify(headers)}\n${body}`];
}

async function watchOver(context) {
  const watch = { requests: [], outside: [], complaints: [], answers: [] };
  /** Where a person stands: in an address, a title, a page, a header, a cookie. */
  watch.people = async (context) => {
    const texts = await Promise.all(watch.answers);
    texts.push(["the cookies", JSON.stringify(await context.cookies())]);
    return texts.flatMap(([where, text]) => {
      const found = findPerson(text);
      return found ? [`${where}: ${found}`] : [];
    });
  };
  await context.route("**", (route) => {
    const url = new URL(route.request().url());
    if (LOOPBACK.has(url.hostname) || url.protocol === "data:") return route.continue();
    watch.outside.push(url.href);
    return route.abort();
  });
  // Redirects do not pass the route a second time.
  context.on("request", (request) => {
    watch.requests.push(request);
    const url = new URL(request.url());
    if (!LOOPBACK.has(url.hostname) && /^(http|ws)s?:$/.test(url.protocol)) watch.outside.push(url.href);
  });
  context.on("response", (response) => watch.answers.push(read(response)));
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
      watch.complaints.push(`console: ${message.text()}`);
    }
  });
  context.on("weberror", (error) => watch.complaints.push(`error: ${error.error()}`));
  context.on("page", async (page) => {
    // Reported apart from the console, and without JavaScript as well.
    const devtools = await context.newCDPSession(page);
    devtools.on("Audits.issueAdded", ({ issue }) => {
      if (issue.code === "ContentSecurityPolicyIssue") {
        watch.complaints.push(`policy: ${JSON.stringify(issue.details)}`);
      }
    });
    await devtools.send("Audits.enable").catch(() => {});
  });
  return watch;
}

/** Keeps a screenshot outside the repository; its file. */
export async function keepScreenshot(page, name) {
  const folder = process.env.VERDICT_SCREENSHOTS ?? join(tmpdir(), "verdict-screenshots");
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${name.replace(/[^\w-]+/g, "-")}.png`);
  await page.screenshot({ path, fullPage: true });
  return path;
}

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No rule of axe (WCAG 2.2 AA and good practice) is broken on the page, or within one of its elements. */
export async function assertAccessible(page, element = "html") {
  // By the debugger, which no content security policy restricts.
  await page.evaluate(AXE);
  const violations = await page.evaluate(async (include) => {
    // The mark over a picture is hidden from readers of the page, and its contrast is that of the picture.
    const { violations } = await globalThis.axe.run({ include, exclude: [[".mark"]] });
    return violations.map(({ id, help, nodes }) => ({
      id,
      help,
      nodes: nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`),
    }));
  }, [element]);
  assert.deepEqual(violations, [], `axe on ${page.url()}`);
}

/** Chooses a password behind an invitation, and is signed in by it. */
export async function accept(page, user) {
  await page.goto(user.invitation);
  await page.fill("[name=password]", user.password);
  await page.fill("[name=again]", user.password);
  await submit(page, () => page.click("main form button"));
}

/** Signs in by name and password. */
export async function signIn(page, user) {
  await page.goto(new URL("/sign-in", user.invitation).href);
  await page.fill("[name=name]", user.name);
  await page.fill("[name=password]", user.password);
  await submit(page, () => page.click("main form button"));
}

/** Chooses language and theme of the console's pages. */
export async function choose(page, { language, theme }) {
  await page.goto(new URL("/sessions", page.url()).href);
  await page.selectOption("[name=language]", language);
  await page.selectOption("[name=theme]", theme);
  await submit(page, () => page.click('form[action="/sessions/reading"] button'));
}

/** Does something that leads to another page, and waits for that page. */
export async function submit(page, act) {
  await Promise.all([page.waitForEvent("load"), act()]);
}

/** Nothing sticks out of its panel. */
export async function assertInPanels(page) {
  const wide = await page.evaluate(() =>
    [...document.querySelectorAll(".panel")]
      .filter((panel) => panel.scrollWidth > panel.clientWidth + 1)
      .map((panel) => `${panel.innerText.slice(0, 80)}: ${panel.scrollWidth} of ${panel.clientWidth}`),
  );
  assert.deepEqual(wide, [], `panels of ${page.url()}`);
}

/** Nothing is wider than the screen, and every control is large enough for a finger (WCAG 2.5.8). */
export async function assertFitsScreen(page) {
  const [wide, screen] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok(wide <= screen, `${page.url()} is ${wide} pixels wide on a screen of ${screen}`);
  await assertInPanels(page);
  // A label is part of its control.
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("button, select, summary, input:not([type=hidden])")]
      .filter((control) => control.checkVisibility({ visibilityProperty: true }))
      .filter((control) => {
        const { width, height } = (control.closest("label") ?? control).getBoundingClientRect();
        return width < 24 || height < 24;
      })
      .map((control) => control.outerHTML),
  );
  assert.deepEqual(small, [], `too small for a finger on ${page.url()}`);
}
