// Every page of the console, in both languages and both themes: accessible, small, silent, usable on a
// phone and at 200 % zoom, and without movement for people who want none.

import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  Demo,
  PHONE,
  accept,
  assertAccessible,
  assertFitsScreen,
  assertInPanels,
  choose,
  eventually,
  launch,
  serve,
  submit,
  visit,
} from "./harness.mjs";

const SETTINGS = `[reviews]
golden_share = 0
again_share = 0
undo_seconds = 60
`;
const MAX_REQUESTS = 6;
const MAX_BYTES = 60 * 1024;
/** A person is looked up by number, and one is shown for a purpose. */
const SHOWN = /^POST \S+\/reveal:/;

let demo, browser, receiver, ids;

before(async () => {
  [demo, browser, receiver] = await Promise.all([Demo.start(SETTINGS), launch(), serve({})]);
  ids = await demo.cases("pages", 6);
  await demo.verified("pages", "invalidbiz-p1");
  // Its requests fail: the page of an endpoint shows that.
  await demo.command("webhooks", "add", "--url", `${receiver.url}/hook`, "--start", "beginning");
});

after(async () => {
  await Promise.all([demo?.stop(), browser?.close(), receiver?.close()]);
});

const at = (page, path) => new URL(path, page.url()).href;
const press = (page, key) => submit(page, () => page.keyboard.press(key));

/** Pages that an address leads to, by name. */
async function addresses(page) {
  const navigation = await page.locator(".bar nav a").evaluateAll((all) => all.map((a) => a.href));
  const [{ id: endpoint }] = await demo.query("select id from webhook_endpoints");
  const [{ id: user }] = await demo.query("select id from users where name = 'demo'");
  const [{ digest }] = await demo.query("select digest from policies limit 1");
  const details = [
    `/policies/${digest}`,
    `/policies/${digest}/backtests`,
    `/policies/${digest}/dry-run`,
    "/policies/new",
    `/verifications/${ids[0]}`,
    `/verifications?q=${ids[0]}`,
    "/operations/dead-letters",
    `/webhook-endpoints/${endpoint}`,
    `/users/${user}`,
    "/sessions",
    "/confirm?next=/cases",
    "/cases?scene=pages&held=free",
  ];
  return [...new Set([...navigation, ...details.map((path) => at(page, path))])];
}

/** Opens pages that come of an action, one after another. */
async function* actions(page) {
  await page.goto(at(page, "/cases"));
  await press(page, "n");
  yield "faces";
  await press(page, "2");
  // One with scores: their table is the widest.
  while ((await page.locator("td.bounds").count()) === 0) {
    await press(page, "s");
    await press(page, "n");
    await press(page, "2");
  }
  yield "verdict";
  await page.selectOption("[name=purpose]", { index: 1 });
  await press(page, "x");
  yield "revealed";
  await page.keyboard.press("t");
  await page.keyboard.press("1");
  await press(page, "w");
  yield "given";
  await press(page, "u");
  await press(page, "g");
  yield "given back";
  await page.goto(at(page, "/operations/dead-letters"));
  await press(page, "a");
  yield "refetch all";
  await page.goto(at(page, "/persons"));
  await page.fill("[name=number]", "110101190001011009");
  await page.fill("[name=purpose]", "a look");
  await submit(page, () => page.click("main form button"));
  yield "person";
  await page.goto(at(page, "/nothing"));
  yield "not found";
}

for (const [language, theme] of [["en", "light"], ["zh", "dark"], ["en", "dark"], ["zh", "light"]]) {
  test(`every page is accessible and small: ${language}, ${theme}`, async () => {
    const options = {
      colorScheme: theme === "dark" ? "light" : "dark",
      reducedMotion: "reduce",
      expected: /status of (404|422)/,
      shown: SHOWN,
    };
    await visit(browser, `pages-${language}-${theme}`, options, async (page, watch) => {
      await demo.signIn(page);
      await choose(page, { language, theme });
      const check = async (what) => {
        assert.equal(await page.locator("html").getAttribute("lang"), language === "zh" ? "zh-Hans" : "en");
        assert.match(await page.title(), /^[^·]+ · Verdict/, what);
        const scheme = await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
        assert.equal(scheme, theme, what);
        await assertAccessible(page);
        await assertInPanels(page);
        assert.ok(await page.evaluate(moves).then((all) => all.length === 0), `${what} moves`);
      };
      for (const address of await addresses(page)) {
        await assertLight(page, watch, address);
        await check(address);
      }
      for await (const what of actions(page)) await check(what);
    });
  });
}

/** Animations and transitions that somebody who wants none would see. */
function moves() {
  const long = (times) => times.split(",").some((time) => parseFloat(time) > 0.01);
  return [...document.querySelectorAll("*")].filter((element) => {
    const style = getComputedStyle(element);
    return long(style.transitionDuration) || (style.animationName !== "none" && long(style.animationDuration));
  });
}

/** At most six requests and 60 KB as they are sent, without pictures, with nothing in the cache. */
async function assertLight(page, watch, address) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
  const from = watch.requests.length;
  const answer = await page.goto(address);
  assert.equal(answer.status(), 200, address);
  assert.equal(await answer.headerValue("cache-control"), "no-store", address);
  const requests = watch.requests.slice(from);
  assert.ok(requests.length <= MAX_REQUESTS, `${address}: ${requests.map((it) => it.url()).join(" ")}`);
  let bytes = 0;
  for (const request of requests.filter((it) => it.resourceType() !== "image")) {
    const response = await request.response();
    if (response.status() < 300) bytes += (await request.sizes()).responseBodySize;
  }
  assert.ok(bytes <= MAX_BYTES, `${address}: ${bytes} bytes`);
  await devtools.detach();
}

// 200 % of a window of 1280 by 720 is half as many pixels of the page.
const SCREENS = { phone: PHONE, zoomed: { viewport: { width: 640, height: 360 }, deviceScaleFactor: 2 } };
for (const [screen, options] of Object.entries(SCREENS)) {
  test(`every page fits a screen that is ${screen}`, async () => {
    const all = { ...options, expected: /status of (404|422)/, shown: SHOWN };
    await visit(browser, screen, all, async (page) => {
      await demo.signIn(page);
      await assertFitsScreen(page);
      for (const address of await addresses(page)) {
        await page.goto(address);
        await assertFitsScreen(page);
      }
      for await (const _ of actions(page)) await assertFitsScreen(page);
    });
  });
}

test("a reveal of pictures makes at most six requests, and shows all of them in turn", async () => {
  const [{ count }] = await demo.query(
    "select count(distinct kind)::int as count from images where verification_id = $1 and state = 'archived'",
    ids[0],
  );
  assert.ok(count > 2, `only ${count} pictures`);
  await visit(browser, "pictures-in-turn", { shown: SHOWN }, async (page, watch) => {
    await demo.signIn(page);
    await page.goto(at(page, `/verifications/${ids[0]}`));
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
    await page.selectOption("[name=purpose]", { index: 1 });
    const seen = new Set();
    for (let key = "i"; key; key = (await page.locator("[name=from]").count()) && "m") {
      const from = watch.requests.length;
      await press(page, key);
      await page.waitForFunction(() => [...document.images].every((image) => image.naturalWidth > 0));
      const requests = watch.requests.slice(from).map((request) => request.url());
      assert.ok(requests.length <= MAX_REQUESTS, requests.join(" "));
      for (const picture of requests.filter((url) => url.includes("/images/"))) seen.add(new URL(picture).pathname);
      await assertAccessible(page);
      await assertFitsScreen(page);
    }
    assert.equal(seen.size, count);
  });
});

test("a person who may do nothing sees only what everybody may", async () => {
  const user = await demo.user("nobody", "events:read");
  await visit(browser, "nobody", { expected: /status of 403/ }, async (page) => {
    await accept(page, user);
    assert.match(page.url(), /\/sessions$/);
    assert.equal(await page.locator(".bar nav a").count(), 0);
    await page.goto(at(page, "/operations"));
    assert.match(await page.locator("main").innerText(), /operations:read/);
    await assertAccessible(page);
  });
});

/** Pictures of the documentation, in the order of a tour; `UPDATE=1 scripts/browser-check.sh` keeps them. */
const PICTURES = [
  "queue",
  "faces",
  "verdict",
  "reviewers",
  "verification",
  "operations",
  "policies",
  "backtest",
];
const MAX_PICTURE_BYTES = 80 * 1024;

test("the pictures of the documentation are of these pages", async () => {
  const folder = join(process.env.VERDICT_PICTURES, "console");
  const listed = (await readdir(folder)).filter((file) => file.endsWith(".webp")).sort();
  const update = process.env.UPDATE === "1";
  if (!update) assert.deepEqual(listed, PICTURES.map((name) => `${name}.webp`).sort());
  const busy = await demo.user("lin@example.com");
  await cases();
  await visit(browser, "busy", {}, async (other) => {
    await accept(other, busy);
    await press(other, "n");
    const options = { viewport: { width: 1280, height: 800 }, colorScheme: "light", shown: SHOWN };
    await visit(browser, "pictures", options, async (page) => {
      await demo.signIn(page);
      await choose(page, { language: "en", theme: "light" });
      for await (const name of tour(page)) {
        const picture = await photograph(page);
        assert.ok(picture.length <= MAX_PICTURE_BYTES, `${name}: ${picture.length} bytes`);
        if (update) await writeFile(join(folder, `${name}.webp`), picture);
      }
    });
  });
});

/** Cases of several scenes that came one after another, the oldest hours ago. */
async function cases() {
  for (const scene of ["onboarding", "withdrawal", "new-device"]) await demo.cases(scene, 2);
  await demo.query(`update cases c set opened_at = now() - place * place * interval '9 minutes'
    from (select decision_id, row_number() over (order by biz_type = 'demo' desc, opened_at desc) as place
          from cases where closed_at is null) older where older.decision_id = c.decision_id`);
}

async function* tour(page) {
  await page.goto(at(page, "/cases"));
  yield "queue";
  await press(page, "n");
  yield "faces";
  await press(page, "2");
  yield "verdict";
  await press(page, "g");
  await page.goto(at(page, "/reviewers"));
  yield "reviewers";
  await page.goto(at(page, `/verifications/${ids[0]}`));
  yield "verification";
  await page.goto(at(page, "/operations"));
  yield "operations";
  await page.goto(at(page, "/policies"));
  yield "policies";
  await milder(page);
  await submit(page, () => page.click('form[action$="/backtests"] button'));
  await eventually("the backtest is done", async () => {
    await page.goto(page.url());
    return (await page.locator("progress").count()) === 0;
  });
  yield "backtest";
}

/** Stores a milder copy of the first policy; its backtests. */
async function milder(page) {
  await submit(page, () => page.click("section[aria-labelledby=all] tbody a >> nth=0"));
  await submit(page, () => page.click('a[href^="/policies/new?from="]'));
  const text = page.locator("textarea[name=text]");
  const typed = await text.inputValue();
  // Its examples say how the first one decides.
  const rules = typed.slice(0, typed.indexOf("\n[[example]]"));
  await text.fill(rules.replace(/^name = ".*"$/m, 'name = "milder"').replaceAll('"far-0.01%"', "50"));
  await submit(page, () => page.click("button[value=store]"));
  await page.goto(`${page.url().split("?")[0]}/backtests`);
}

/** WebP, of which a page takes a third of the bytes of a PNG. */
async function photograph(page) {
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));
  const devtools = await page.context().newCDPSession(page);
  const settings = { format: "webp", quality: 70 };
  const { data } = await devtools.send("Page.captureScreenshot", settings);
  await devtools.detach();
  return Buffer.from(data, "base64");
}
