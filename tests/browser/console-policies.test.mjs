// Policies in a real browser: typing one and seeing its findings, comparing it, trying it on a case,
// activating it after proving again who it is, and going back. Every page in both languages and both
// themes, the shadow's too.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
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
  keepScreenshot,
  launch,
  submit,
  visit,
} from "./harness.mjs";

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

/** A milder policy in shadow that has decided cases, and a backtest of it; the addresses of both. */
async function compared() {
  const typed = await demo.command("policy", "show");
  // Its examples say how the first one decides.
  const rules = typed.slice(0, typed.indexOf("\n[[example]]"));
  const text = rules.replace(/^name = ".*"$/m, 'name = "in-shadow"').replaceAll('"far-0.01%"', "50");
  const file = join(demo.folder, "in-shadow.toml");
  await writeFile(file, `${text}\n`);
  const digest = (await demo.command("policy", "add", file)).match(/sha256:[0-9a-f]{64}/)[0];
  await demo.command("policy", "shadow", digest, "--purpose", "a look beside the active one");
  // An activation takes a moment: what the shadow saw counts.
  let tries = 0;
  await eventually("the shadow decides", async () => {
    await demo.verified("shadow", `pass-97.123-first${tries++}`);
    return (await demo.query("select from shadow_decisions")).length > 0;
  });
  for (const score of ["58.361", "89.996", "97"]) {
    await demo.verified("shadow", `pass-${score}-beside`, `customer-${score}`);
  }
  const key = await demo.apiKey("petra", "policies:write");
  const { status, json } = await demo.call(`/v1/policies/${digest}/backtests`, {}, key);
  assert.equal(status, 202, JSON.stringify(json));
  await eventually("the backtest is done", async () => {
    return (await demo.call(`/v1/backtests/${json.id}`, undefined, key)).json.state === "done";
  });
  return { policy: `/policies/${digest}`, backtest: `/backtests/${json.id}` };
}

let comparison;

/** Every page of policies, one after another, by name. */
async function* pages(page) {
  comparison ??= compared();
  const { policy, backtest } = await comparison;
  const addresses = {
    list: "/policies",
    policy,
    shadow: `${policy}/shadow`,
    backtest,
    backtests: `${policy}/backtests`,
    diff: `${policy}/diff`,
    new: "/policies/new",
    change: `/policies/change?do=activate&policy=${policy.split("/").pop()}`,
  };
  for (const [name, path] of Object.entries(addresses)) {
    await page.goto(at(page, path));
    yield name;
  }
  await page.goto(at(page, `${policy}/dry-run`));
  const [{ id }] = await demo.query("select id from verifications where biz_id like 'pass-58.3%'");
  await page.fill("#q", id);
  await click(page, "main form button");
  yield "dry-run";
  await page.goto(at(page, "/policies/new"));
  await page.fill("textarea[name=text]", 'name = "wrong"\n[[rule]]\nname = "a"\n');
  await click(page, "button[value=check]");
  yield "findings";
}

for (const [language, theme] of [["en", "light"], ["zh", "dark"], ["en", "dark"], ["zh", "light"]]) {
  test(`every page of policies is accessible: ${language}, ${theme}`, async () => {
    const options = {
      colorScheme: theme === "dark" ? "light" : "dark",
      reducedMotion: "reduce",
      expected: /status of 422/,
    };
    // A reviewer does not see the values of an open case.
    const user = await demo.user(`analyst-${language}-${theme}`, "policies:write,decisions:read");
    await visit(browser, `policies-${language}-${theme}`, options, async (page) => {
      await accept(page, user);
      await choose(page, { language, theme });
      for await (const name of pages(page)) {
        const lang = await page.locator("html").getAttribute("lang");
        assert.equal(lang, language === "zh" ? "zh-Hans" : "en");
        const scheme = await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
        assert.equal(scheme, theme, name);
        await assertGood(page);
        if (process.env.VERDICT_LOOK) await keepScreenshot(page, `look-${name}-${language}-${theme}`);
        if (name === "shadow") await assertComparison(page, language);
      }
    });
  });
}

/** What the shadow decided otherwise, in words, in numbers, in a chart and case by case. */
async function assertComparison(page, language) {
  const said = await page.locator(".answer").innerText();
  assert.match(said, language === "zh" ? /会变为“通过”/ : /2 of 2 reviews would be approved/);
  assert.ok((await page.locator("svg.chart .bars").count()) > 0);
  const flips = page.locator("#flips tbody tr");
  assert.equal(await flips.count(), 2);
  // Newest first. The exact score is at hand.
  const older = flips.nth(1).locator("code", { hasText: "lowest_score" });
  assert.equal(await older.innerText(), "lowest_score 58.36 ≥ 50");
  assert.equal(await older.getAttribute("title"), "lowest_score 58.361 ≥ 50");
  assert.match(await flips.nth(0).innerText(), /lowest_score 90 ≥ 50/);
  const row = await page.locator(".matrix tbody tr").first().innerText();
  assert.doesNotMatch(row, /\d\.\d{3}/);
}

test("every page of policies fits a phone", async () => {
  await visit(browser, "policies-phone", { ...PHONE, expected: /status of 422/ }, async (page) => {
    await demo.signIn(page);
    for await (const name of pages(page)) {
      await assertFitsScreen(page);
      if (process.env.VERDICT_LOOK) await keepScreenshot(page, `look-${name}-phone`);
    }
  });
});

test("a running backtest is cancelled by its button", async () => {
  comparison ??= compared();
  const { policy } = await comparison;
  const digest = policy.split("/").pop();
  // One that never goes on: nobody has its work.
  const [{ id }] = await demo.query(
    `insert into backtests (id, digest, asked_by, created_at, updated_at, state, after, comparison, lane)
     values (gen_random_uuid(), $1, 'test', now(), now(), 'running', gen_random_uuid(), '{}', 1) returning id`,
    digest,
  );
  await visit(browser, "cancelled", {}, async (page) => {
    await demo.signIn(page);
    await page.goto(at(page, `/backtests/${id}`));
    await assertGood(page);
    await submit(page, () => page.keyboard.press("c"));
    assert.match(await main(page), /Cancelled/);
    assert.equal(await page.locator("progress").count(), 0);
    await assertGood(page);
  });
});
