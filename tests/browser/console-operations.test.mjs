// What operators do in a real browser: events delivered again, dead letters asked about again, a legal
// hold, an erasure after proving again who it is, and all that is held of a person.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { findPerson } from "./canary.mjs";
import { Demo, accept, assertAccessible, eventually, launch, submit, visit } from "./harness.mjs";

let demo, browser;

before(async () => {
  [demo, browser] = await Promise.all([Demo.start(), launch()]);
});

after(async () => {
  await Promise.all([demo?.stop(), browser?.close()]);
});

const click = (page, selector) => submit(page, () => page.click(selector));
const main = (page) => page.locator("main").innerText();
const at = (page, path) => new URL(path, page.url()).href;

/** A profile in which the demo's user, who may do everything, is signed in. */
const asOperator = (name, options, steps) =>
  visit(browser, name, options, async (page, watch) => {
    await demo.signIn(page);
    await steps(page, watch);
  });

test("an event is delivered again from the page of its endpoint", async () => {
  const received = [];
  let status = 204;
  const server = createServer((request, response) => {
    received.push(request.headers["webhook-id"]);
    response.writeHead(status).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${server.address().port}/hook`;
    await demo.command("webhooks", "add", "--url", url, "--start", "beginning");
    await eventually("events arrive", () => received.length >= 10);
    await asOperator("redelivery", {}, async (page) => {
      await page.goto(at(page, "/operations"));
      await click(page, `a:has-text("${url}")`);
      const again = page.locator('button[name=do][aria-label*="again" i], tbody button[name=do]').first();
      const event = await again.getAttribute("value");
      const before = received.filter((id) => id === event).length;
      assert.ok(before >= 1, `${event} of ${received}`);
      await submit(page, () => again.click());
      await eventually("it arrives again", () => received.filter((id) => id === event).length > before);
      await assertAccessible(page);

      // An endpoint that fails is shown as such, and all that failed is delivered again.
      status = 500;
      await demo.verified("ops", "pass-97-ops1");
      await eventually("a failed request is shown", async () => {
        await page.goto(page.url());
        return (await main(page)).includes("500");
      });
      status = 204;
      await click(page, "button[value=failed]");
      await assertAccessible(page);
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a dead letter is asked about again after one confirmation", async () => {
  // The provider knows it from the third call on.
  const id = await demo.verified("ops", "invalidbiz-then-pass-o1");
  await eventually("it is a dead letter", async () => (await demo.verification(id)).state === "failed");
  await asOperator("refetch", {}, async (page) => {
    await page.goto(at(page, "/operations"));
    await click(page, "#dead-letters tbody a >> nth=0");
    await click(page, `tr:has(a[href="/verifications/${id}"]) button`);
    assert.match(await main(page), /\b1\b/);
    await assertAccessible(page);
    assert.equal((await demo.verification(id)).state, "failed", "nothing before it is confirmed");
    await page.fill("[name=purpose]", "the provider mended it");
    await click(page, "main form button");
    assert.equal((await demo.decision(id)).outcome, "approve");
  });
});

test("a legal hold keeps a person from being erased, until it is lifted", async () => {
  const id = await demo.verified("ops", "pass-97-held");
  const user = await demo.user("eraser", "all");
  const expected = /status of (403|409|422)/;
  await visit(browser, "erasure", { expected }, async (page) => {
    await accept(page, user);
    await page.goto(at(page, `/verifications/${id}`));
    await page.fill('form[action$="/hold"] [name=purpose]', "court file 17");
    await click(page, 'form[action$="/hold"] button');
    assert.match(await main(page), /court file 17/);
    assert.equal(await page.locator('form[action$="/erase"] button').count(), 0);
    await assertAccessible(page);
    await page.fill('form[action$="/lift-hold"] [name=purpose]', "the court has ruled");
    await click(page, 'form[action$="/lift-hold"] button');
    assert.match(await main(page), /the court has ruled|court file 17/);

    // The proof at signing in is older than ten minutes.
    await demo.query("update user_sessions set confirmed_at = now() - interval '11 minutes'");
    const erase = async () => {
      await page.fill('form[action$="/erase"] [name=purpose]', "asked to be forgotten");
      await page.check("[name=sure]");
      await click(page, 'form[action$="/erase"] button');
    };
    await erase();
    assert.match(page.url(), /\/confirm/);
    assert.notEqual((await demo.verification(id)).state, "erased");
    await assertAccessible(page);
    await page.fill("[name=password]", "not the password");
    await click(page, "main form button");
    assert.match(page.url(), /\/confirm/);
    await page.fill("[name=password]", user.password);
    await click(page, "main form button");
    assert.match(page.url(), new RegExp(`/verifications/${id}`));
    await erase();
    const receipt = page.locator("#receipt");
    await receipt.waitFor();
    assert.match(await receipt.innerText(), /\S/);
    await assertAccessible(page);
    await eventually("the person is erased", async () => {
      return (await demo.verification(id)).state === "erased";
    });
  });
});

test("a person is found by number, and all that is held of the person is exported", async () => {
  const id = await demo.verified("ops", "pass-97-export");
  const options = { acceptDownloads: true, expected: /status of 422/ };
  await asOperator("person", options, async (page, watch) => {
    await page.goto(at(page, "/persons"));
    const number = await identityNumber(id);
    await page.fill("[name=number]", number);
    await page.fill("[name=purpose]", "request 4711");
    await click(page, "main form button");
    assert.ok((await main(page)).includes("pass-97-export"));
    assert.ok(!(await page.content()).includes(number));
    await assertAccessible(page);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.click('form[action="/persons/export"] button'),
    ]);
    const file = JSON.parse(await readFile(await download.path(), "utf8"));
    assert.ok(findPerson(JSON.stringify(file)), "the export names the person");
    // The file is the one answer that may.
    const named = (await Promise.all(watch.answers)).filter(([, text]) => findPerson(text));
    assert.ok(named.every(([where]) => where.includes("/persons/export")));
    watch.answers.length = 0;
  });
});

/** The number of the invented person, as somebody with the right would read it. */
async function identityNumber(id) {
  const key = await demo.apiKey("reader", "material:read");
  const answer = await fetch(`${demo.url}/v1/verifications/${id}/material`, {
    headers: { authorization: `Bearer ${key}`, "verdict-purpose": "test" },
  });
  return (await answer.json()).number;
}
