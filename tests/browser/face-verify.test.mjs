// A user goes through the page of face-verify at the simulated provider, from start over page and return
// to the decision.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Demo,
  PHONE,
  assertAccessible,
  assertFitsScreen,
  eventually,
  launch,
  serve,
  visit,
} from "./harness.mjs";

let demo, browser, app;

before(async () => {
  [demo, browser, app] = await Promise.all([
    Demo.start(),
    launch(),
    serve({ "/done": "<!doctype html><title>Back</title><h1>Thank you</h1>" }),
  ]);
  await demo.allowReturnTo(`${app.url}/done`);
});

after(async () => {
  await Promise.all([demo?.stop(), browser?.close(), app?.close()]);
});

/** Starts a verification that comes back to the test's own app. */
function start(orderNumber) {
  const to = encodeURIComponent(`${app.url}/done`);
  return demo.startWithPage(orderNumber, `${demo.url}/v1/returns/app?to=${to}`);
}

/**
 * Waits until the user has come back with a verification's id, and returns it. On a machine under load the
 * database may take longer than Verdict waits for it. Then the id is missing; the return can be repeated.
 */
async function comesBack(page, watch) {
  await page.waitForURL(/\/done/);
  return eventually("the return names the verification", async () => {
    const id = new URL(page.url()).searchParams.get("verification_id");
    return id ?? (await page.goto(returns(watch).at(-1).url()), null);
  });
}

function returns(watch) {
  return watch.requests.filter((request) => request.url().startsWith(`${demo.url}/v1/returns/`));
}

test("a user who passes comes back through Verdict and is approved", async () => {
  const { id, page: link } = await start("order1");
  assert.equal((await demo.verification(id)).state, "unfinished");
  await visit(browser, "pass", {}, async (page, watch) => {
    await page.goto(link);
    await assertAccessible(page);
    await page.click("#pass");
    assert.equal(await comesBack(page, watch), id);
    assert.equal(await page.locator("h1").innerText(), "Thank you");
    const answer = await returns(watch).at(-1).response();
    assert.equal(answer.status(), 303);
    assert.equal(await answer.headerValue("location"), `${app.url}/done?verification_id=${id}`);
  });
  const { outcome, reasons } = await demo.decision(id);
  assert.deepEqual({ outcome, reasons }, { outcome: "approve", reasons: ["face-passed"] });
});

for (const [code, outcome, reason] of [
  ["204", "reject", "face-differs"],
  ["206", "review", "stopped-by-risk-rule"],
  ["220", "retry", "consent-not-given"],
]) {
  test(`a user who fails with ${code} gets ${outcome}`, async () => {
    const { id, page: link } = await start(`order${code}`);
    await visit(browser, `fail-${code}`, {}, async (page, watch) => {
      await page.goto(link);
      await page.selectOption("#code", code);
      await page.click("#fail");
      assert.equal(await comesBack(page, watch), id);
    });
    const decision = await demo.decision(id);
    assert.equal(decision.outcome, outcome);
    assert.deepEqual(decision.reasons, [reason]);
  });
}

test("a user who leaves is not decided, and can go on", async () => {
  const { id, page: link } = await start("order2");
  await visit(browser, "leave", {}, async (page, watch) => {
    await page.goto(link);
    await page.click("#leave");
    assert.equal(await comesBack(page, watch), id);
    // The return makes it due: the provider is asked and has no result yet. An attempt counts from
    // its beginning, and until its end the verification is pending.
    const asked = await eventually("the provider has answered", async () => {
      const verification = await demo.verification(id);
      return verification.attempts > 0 && verification.state !== "pending" && verification;
    });
    assert.deepEqual([asked.state, asked.decision], ["unfinished", null]);
    await page.goto(link);
    await page.click("#pass");
    assert.equal(await comesBack(page, watch), id);
  });
  assert.equal((await demo.decision(id)).outcome, "approve");
});

test("a phone's browser shows the page without scrolling sideways", async () => {
  const { id, page: link } = await start("order3");
  await visit(browser, "phone", PHONE, async (page, watch) => {
    await page.goto(link);
    await assertFitsScreen(page);
    await page.tap("#pass");
    assert.equal(await comesBack(page, watch), id);
  });
  assert.equal((await demo.decision(id)).outcome, "approve");
});

test("the keyboard alone is enough", async () => {
  const { id, page: link } = await start("order4");
  await visit(browser, "keyboard", {}, async (page, watch) => {
    await page.goto(link);
    const focused = () => page.evaluate(() => document.activeElement.id);
    const order = [];
    for (let step = 0; step < 4; step += 1) {
      await page.keyboard.press("Tab");
      order.push(await focused());
    }
    assert.deepEqual(order, ["pass", "code", "fail", "leave"]);
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await comesBack(page, watch), id);
  });
  // The second of the list: 201.
  assert.equal((await demo.decision(id)).outcome, "reject");
});

test("no JavaScript and a dark screen are enough", async () => {
  const { id, page: link } = await start("order5");
  const options = { javaScriptEnabled: false, colorScheme: "dark" };
  await visit(browser, "no-script", options, async (page, watch) => {
    await page.goto(link);
    await page.click("#pass");
    assert.equal(await comesBack(page, watch), id);
  });
  assert.equal((await demo.decision(id)).outcome, "approve");
});

test("a dark page is as accessible as a light one", async () => {
  const { page: link } = await start("order6");
  await visit(browser, "dark", { colorScheme: "dark" }, async (page) => {
    await page.goto(link);
    await assertAccessible(page);
  });
});

test("an app that embeds the page gets a message", async () => {
  const { id, page: link, certifyId } = await start("order7");
  const address = await (await fetch(link, { redirect: "manual" })).headers.get("location");
  const embedded = new URL(address.replace("/h5?", "/h5iframe?"), link).href;
  app.pages["/embeds"] = `<!doctype html><title>App</title>
    <script>addEventListener("message", (event) => { window.told = event.data; });</script>
    <iframe src="${embedded.replaceAll("&", "&amp;")}" width="500" height="700"></iframe>`;
  await visit(browser, "embedded", {}, async (page) => {
    await page.goto(`${app.url}/embeds`);
    await page.frameLocator("iframe").locator("#pass").click();
    const told = await (await page.waitForFunction(() => window.told)).jsonValue();
    assert.deepEqual([told.code, told.extInfo.certifyId], [1000, certifyId]);
  });
  // Nobody came back: the provider's own callback makes it due.
  assert.equal((await demo.decision(id)).outcome, "approve");
});

test("a link is good for one submission, and not if it was changed", async () => {
  const { id, page: link } = await start("order8");
  const expected = /status of (403|404|410)/;
  await visit(browser, "used", { expected }, async (page, watch) => {
    const heading = page.locator("h1");
    await page.goto(link);
    const address = page.url();
    await page.goto(address.replace("certifyId=sha", "certifyId=shb"));
    assert.equal(await heading.innerText(), "Signature error");
    await page.goto(new URL("/s/nothing", address).href);
    assert.equal(await heading.innerText(), "Unknown link");
    await page.goto(address);
    await page.click("#pass");
    assert.equal(await comesBack(page, watch), id);
    await page.goto(link);
    assert.equal(await heading.innerText(), "Already used");
    await assertAccessible(page);
  });
  assert.equal((await demo.decision(id)).outcome, "approve");
});

test("the demo's link leads to a decision, in the browser and in the terminal", async () => {
  const link = await demo.says(/^A page of face-verify.*\n +(http:\S+)$/m);
  const backend = await demo.says(/Another one: (http:\S+)$/m);
  await visit(browser, "demo", PHONE, async (page, watch) => {
    await page.goto(link);
    await page.tap("#pass");
    const id = await comesBack(page, watch);
    assert.equal(await page.locator("#outcome").innerText(), "approve");
    await assertAccessible(page);
    await assertFitsScreen(page);
    await demo.says(new RegExp(`^(event .*face-verify  \\S+  ${id}  approve  *face-passed)$`, "m"));
    // Another one, which is left and then finished.
    await page.goto(backend);
    await assertAccessible(page);
    await page.click("button");
    await page.tap("#leave");
    await page.getByText("Back to the provider").click();
    await page.tap("#fail");
    await comesBack(page, watch);
    assert.equal(await page.locator("#outcome").innerText(), "reject");
  });
});
