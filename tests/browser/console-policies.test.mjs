// Policies in a real browser: typing one and seeing its findings, comparing it, trying it on a case,
// activating it after proving again who it is, and going back.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Demo, accept, assertAccessible, assertInPanels, eventually, launch, submit, visit } from "./harness.mjs";

let demo, browser;

before(async () => {
  [demo, browser] = await Promise.all([Demo.start(), launch()]);
});

after(async () => {
  await Promise.all([demo?.stop(), browser?.close()]);
});

const at = (page, path) => new URL(path, page.url()).href;
const click = (page, selector) => submit(page, () => page.click(selector));
const main = (page) => page.locator("main").innerText();

async function assertGood(page) {
  await assertAccessible(page);
  await assertInPanels(page);
}

/** The link to the policy that decides where no other does. */
const active = (page) => page.locator("section[aria-labelledby=in-use] tbody tr >> nth=0");

/** Stores a copy of the first policy under another name; the page of the new one. */
async function storeCopy(page, name) {
  await page.goto(at(page, "/policies"));
  await click(page, "section[aria-labelledby=all] tbody a >> nth=0");
  await click(page, 'a[href^="/policies/new?from="]');
  const text = page.locator("textarea[name=text]");
  const typed = await text.inputValue();
  // A mistake is shown at its line, and what was typed stays.
  await text.fill(`${typed}\n[[no-such-table]]\n`);
  await click(page, "button[value=check]");
  assert.ok((await page.locator(".finding.bad").count()) > 0);
  assert.match(await text.inputValue(), /no-such-table/);
  await assertGood(page);

  // Its examples say how the first one decides.
  const rules = typed.slice(0, typed.indexOf("\n[[example]]"));
  const changed = rules.replace(/^name = ".*"$/m, `name = "${name}"`).replaceAll('"far-0.01%"', "50");
  assert.notEqual(changed, rules);
  await text.fill(changed);
  await click(page, "button[value=store]");
  assert.match(page.url(), /\/policies\/sha256:[0-9a-f]{64}/);
  assert.ok((await main(page)).includes(name));
  await assertGood(page);
  return page.url().split("?")[0];
}

test("a policy is typed, compared, tried, activated and rolled back", async () => {
  const id = await demo.verified("policies", "pass-58.2-policy");
  const user = await demo.user("policymaker");
  const expected = /status of (4\d\d)/;
  await visit(browser, "policies", { expected }, async (page) => {
    await accept(page, user);
    await page.goto(at(page, "/policies"));
    await assertGood(page);
    const before = await active(page).innerText();
    const address = await storeCopy(page, "milder");

    await click(page, 'form[action$="/diff"] button');
    assert.ok((await page.locator("tr.came").count()) > 0 && (await page.locator("tr.gone").count()) > 0);
    await assertGood(page);

    await page.goto(`${address}/dry-run`);
    await page.fill("#q", id);
    await click(page, "main form button");
    assert.match(await main(page), /The outcome changes/);
    assert.equal((await demo.verification(id)).decision.outcome, "review", "nothing is written");
    await assertGood(page);

    await page.goto(`${address}/backtests`);
    await assertGood(page);
    await click(page, 'form[action$="/backtests"] button');
    await eventually("the backtest is done", async () => {
      await page.goto(page.url());
      return (await page.locator("progress").count()) === 0;
    });
    assert.match(await page.locator(".answer").innerText(), /would be approved/);
    assert.ok((await page.locator("#flips tbody tr, #flips li").count()) > 0);
    await assertGood(page);

    // The proof at signing in is older than ten minutes.
    await demo.query("update user_sessions set confirmed_at = now() - interval '11 minutes'");
    await page.goto(address);
    await click(page, "button[value=activate]");
    assert.match(page.url(), /\/confirm/);
    await page.fill("[name=password]", user.password);
    await click(page, "main form button");
    if (!page.url().includes("/policies/change")) {
      await page.goto(address);
      await click(page, "button[value=activate]");
    }
    // It says what it changes before it does.
    assert.match(await page.locator(".said").innerText(), /milder.* decides from now on/);
    await assertGood(page);
    await page.fill("[name=purpose]", "fewer reviews");
    await click(page, 'form[action="/policies/change"] button.primary');
    await page.goto(at(page, "/policies"));
    assert.match(await active(page).innerText(), /milder/);
    assert.match(await page.locator("section[aria-labelledby=history]").innerText(), /fewer reviews/);
    // A process learns of an activation within a moment.
    let tries = 0;
    await eventually("the new policy decides", async () => {
      const later = await demo.verified("policies", `pass-58.2-after${tries++}`);
      return (await demo.decision(later)).outcome === "approve";
    });

    await click(page, 'a[href*="do=roll-back"] >> nth=0');
    await page.fill("[name=purpose]", "too mild");
    await click(page, 'form[action="/policies/change"] button.primary');
    await page.goto(at(page, "/policies"));
    assert.equal(
      (await active(page).innerText()).split("\n")[1]?.split(" ")[0],
      before.split("\n")[1]?.split(" ")[0],
    );
    assert.doesNotMatch(await active(page).innerText(), /milder/);
  });
});
