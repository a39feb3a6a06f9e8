// The day of a reviewer in a real browser: signing in, by keyboard alone, without JavaScript, two at
// once, with four eyes, and with cases that others decide meanwhile. Each test has a scene of its own,
// which its people alone reach.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Demo,
  accept,
  assertAccessible,
  eventually,
  launch,
  signIn,
  submit,
  visit,
} from "./harness.mjs";

// A loaded machine may be slow to undo; where a test needs the time to be over, it says so.
const SETTINGS = `[reviews]
golden_share = 0
again_share = 0
four_eyes = "approvals"
undo_seconds = 60
`;
const REVIEWER = "reviews:write,images:read,material:read,decisions:read";
/** Answers that may show a person: those to a request for it. */
const REVEALED = /^POST \S+\/reveal:/;

let demo, browser;

before(async () => {
  [demo, browser] = await Promise.all([Demo.start(SETTINGS), launch()]);
});

after(async () => {
  await Promise.all([demo?.stop(), browser?.close()]);
});

/** A reviewer who reaches this scene alone. */
const reviewer = (name, scene) => demo.user(name, REVIEWER, "--scenes", scene);

/** A profile in which a new reviewer of this scene is signed in. */
async function atDesk(name, scene, options, steps) {
  const user = await reviewer(name, scene);
  await visit(browser, name, { shown: REVEALED, ...options }, async (page, watch) => {
    await accept(page, user);
    assert.match(page.url(), /\/cases$/);
    await steps(page, watch, user);
  });
}

/** Presses a key that leads to another page. */
const press = (page, key) => submit(page, () => page.keyboard.press(key));
const click = (page, selector) => submit(page, () => page.click(selector));
const message = (page) => page.locator(".messages").innerText();

async function assertFaces(page) {
  assert.match(page.url(), /\/assignments\//);
  assert.equal(await page.locator("button[name=judgement]").count(), 5);
  assert.equal(await page.locator("form#verdict").count(), 0);
}

const assertVerdict = (page) => page.locator("form#verdict").waitFor();

/** What the second step says of the verification. */
const facts = (page) => page.locator("#verification-title ~ dl").innerText();

/** Chooses an outcome and its first reason, each by the key on it. */
async function choose(page, outcome) {
  const radio = page.locator(`#outcome-${outcome}`);
  await page.keyboard.press(await radio.getAttribute("data-key"));
  assert.ok(await radio.isChecked(), `${outcome} by its key`);
  await page.keyboard.press("1");
  assert.ok(await page.locator(`.for-${outcome} input[name=reason]`).first().isChecked());
}

/** The time in which verdicts can be undone is over. */
async function undoTimeEnds(scene) {
  const sql = `update assignments a set commit_at = now() from verifications v
    where v.id = a.verification_id and v.biz_type = $1 and a.outcome is not null
      and a.ended_at is null`;
  await demo.query(sql, scene);
}

const decisionByPerson = (id) =>
  eventually(`${id} is decided by a person`, async () => {
    const { decision } = await demo.verification(id);
    return decision.by === "person" && decision;
  });

test("an invited person chooses a password, signs in with it, and out again", async () => {
  const user = await reviewer("invited", "nothing");
  const expected = /status of (401|404|410|422)/;
  await visit(browser, "invited", { expected }, async (page) => {
    await page.goto(user.invitation);
    await assertAccessible(page);
    await page.fill("[name=password]", user.password);
    await page.fill("[name=again]", "another password");
    await click(page, "main form button");
    assert.match(await message(page), /\S/);
    await accept(page, user);
    assert.equal(await page.locator(".me a").innerText(), user.name);
    const address = page.url();

    await click(page, 'form[action="/sign-out"] button');
    // Only the mark of a browser in which somebody signed in is kept.
    const kept = (await page.context().cookies()).map(({ name }) => name);
    assert.deepEqual(kept, ["__Host-verdict_known"]);
    // Nothing of a page that was open is shown again.
    await page.goBack();
    assert.equal(await page.locator(".me").count(), 0);
    await page.goto(address);
    assert.match(page.url(), /\/sign-in\?next=%2Fcases$/);
    await assertAccessible(page);

    await signIn(page, { ...user, password: "not the password" });
    assert.match(await message(page), /\S/);
    assert.equal(await page.locator("[name=password]").inputValue(), "");
    await page.goto(address);
    await page.fill("[name=name]", user.name);
    await page.fill("[name=password]", user.password);
    await click(page, "main form button");
    assert.equal(page.url(), address);

    await page.goto(user.invitation);
    assert.equal(await page.locator("[name=again]").count(), 0, "an invitation is good for once");
  });
});

test("a reviewer works a whole day by keyboard alone", async () => {
  const [first] = await demo.cases("keys", 5);
  const user = await reviewer("keyboard", "keys");
  await visit(browser, "keyboard", { shown: REVEALED }, async (page) => {
    const { keyboard } = page;
    await accept(page, user);
    await click(page, 'form[action="/sign-out"] button');
    // The first field has the focus.
    await page.goto(new URL("/sign-in", user.invitation).href);
    await keyboard.type(user.name);
    await keyboard.press("Tab");
    await keyboard.type(user.password);
    await press(page, "Enter");

    await press(page, "n");
    await assertFaces(page);
    await page.waitForFunction(() =>
      [...document.querySelectorAll(".face img")].every((image) => image.naturalWidth > 0),
    );

    // Each key moves both faces, in the same way.
    const views = () =>
      page.locator(".face img").evaluateAll((all) => all.map((image) => image.style.cssText));
    for (const key of ["+", "+", "-", "l", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown", "b", "d"]) {
      const [before] = await views();
      await keyboard.press(key);
      const [one, other] = await views();
      assert.notEqual(one, before, `${key} does something`);
      assert.equal(one, other, `${key} does the same to both`);
    }
    await keyboard.press("o");
    assert.equal(await page.locator("[data-view=actual]").getAttribute("aria-pressed"), "true");
    await keyboard.press("z");
    assert.equal(await page.locator("[data-view=actual]").getAttribute("aria-pressed"), "false");

    // The list of keys; while it is open, keys do nothing else.
    await keyboard.press("?");
    const keys = page.locator("#keys");
    assert.ok(await keys.isVisible());
    assert.ok((await keys.locator("dt").count()) >= 18, "the list names every key of the page");
    const address = page.url();
    await keyboard.press("1");
    await keyboard.press("s");
    assert.ok(await keys.isVisible());
    await keyboard.press("Escape");
    assert.ok(!(await keys.isVisible()));
    assert.equal(page.url(), address);

    // A key that is held down acts once.
    await submit(page, async () => {
      await keyboard.down("2");
      await keyboard.down("2");
    });
    await assertVerdict(page);
    assert.match(await facts(page), /keys-customer-0/);
    await keyboard.press("r");
    await keyboard.down("2");
    assert.equal(await page.locator(".for-reject input:checked").count(), 0);
    await keyboard.up("2");

    // In a field a key is text.
    await keyboard.press("m");
    await keyboard.type("a r1 v w s g ?");
    assert.equal(await page.locator("textarea").inputValue(), "a r1 v w s g ?");
    assert.ok(await page.locator("#outcome-reject").isChecked());
    assert.ok(!(await keys.isVisible()));
    await keyboard.press("Escape");

    // Decide, undo, decide again and take the next; undo from there, and decide for good.
    await choose(page, "approve");
    await press(page, "w");
    await press(page, "u");
    await assertVerdict(page);
    assert.equal(page.url(), address, "an undone verdict is open again");
    await choose(page, "reject");
    await press(page, "v");
    await assertFaces(page);
    assert.notEqual(page.url(), address);
    await press(page, "u");
    assert.equal(page.url(), address);
    await choose(page, "retry");
    await submit(page, async () => {
      // Twice as fast as the answer comes: it counts once.
      await Promise.all([keyboard.press("w"), keyboard.press("w")]);
    });
    assert.match(await page.locator("main").innerText(), /Your verdict is stored/);
    await assertAccessible(page);
    await press(page, "q");

    await press(page, "n");
    await press(page, "s");
    assert.match(await message(page), /Skipped/);
    await press(page, "n");
    await press(page, "g");
    assert.match(await message(page), /Given back/);
    await press(page, "n");
    await keyboard.press("e");
    assert.equal(await page.evaluate(() => document.activeElement.name), "reason");
    await keyboard.press("ArrowDown");
    await keyboard.press("Tab");
    await press(page, "Enter");
    assert.match(await message(page), /Escalated/);

    // Personal data, for a purpose.
    await press(page, "n");
    await press(page, "4");
    await assertVerdict(page);
    await keyboard.press("p");
    await keyboard.press("ArrowDown");
    await keyboard.press("Tab");
    await press(page, "x");
    assert.match(await page.locator("#person").innerText(), /测试/);
    await keyboard.press("x");
    assert.doesNotMatch(await page.content(), /测试/);
    await press(page, "g");
  });
  await undoTimeEnds("keys");
  assert.equal((await decisionByPerson(first)).outcome, "retry");
});

test("before the judgement the page holds nothing but two faces", async () => {
  const [id] = await demo.cases("blind", 1);
  const { decision } = await demo.verification(id);
  await atDesk("blind", "blind", {}, async (page, watch) => {
    // The queue says nothing of a case either.
    await press(page, "n");
    await assertFaces(page);
    await page.waitForFunction(() => [...document.images].every((image) => image.complete));
    const source = await page.content();
    const known = [id, decision.id, decision.policy, ...decision.reasons, "pass-58", "58.2", "score"];
    for (const word of known) assert.ok(!source.includes(word), `${word} before the judgement`);
    const images = watch.requests.filter((request) => request.resourceType() === "image");
    assert.equal(images.filter((image) => /images\/(live|reference)$/.test(image.url())).length, 2);
    for (const request of watch.requests.filter((it) => !it.url().includes("/assets/"))) {
      const answer = await request.response();
      assert.equal(await answer.headerValue("cache-control"), "no-store", request.url());
    }
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0]);
    await assertAccessible(page);
    await press(page, "g");
  });
});

test("everything but keys and zoom works without JavaScript", async () => {
  const [first] = await demo.cases("plain", 4);
  const options = { javaScriptEnabled: false };
  await atDesk("plain", "plain", options, async (page) => {
    await click(page, 'form[action="/cases/next"] button');
    await assertFaces(page);
    const address = page.url();
    await click(page, 'form[action$="/renew"] button');
    assert.equal(page.url(), address);
    await click(page, "button[name=judgement] >> nth=2");
    await assertVerdict(page);

    // What was typed stays while personal data is shown.
    await page.check("#outcome-retry");
    await page.fill("textarea", "tried without scripts");
    await page.selectOption("[name=purpose]", { index: 1 });
    await click(page, 'button[formaction$="/reveal"]');
    assert.match(await page.locator("#person").innerText(), /测试/);
    assert.equal(await page.locator("textarea").inputValue(), "tried without scripts");
    assert.ok(await page.locator("#outcome-retry").isChecked());
    // The page goes by itself when its time is over.
    const refresh = await page.locator("meta[http-equiv=refresh]").getAttribute("content");
    assert.equal(refresh, `60; url=${new URL(address).pathname}`);
    await click(page, "#person a");
    assert.equal(page.url(), address);
    assert.doesNotMatch(await page.content(), /测试/);

    await page.check("#outcome-retry");
    await page.check(".for-retry input[name=reason] >> nth=0");
    await click(page, "button[name=then][value=stay]");
    await click(page, ".undo button");
    await page.check("#outcome-reject");
    await page.check(".for-reject input[name=reason] >> nth=0");
    await click(page, "button[name=then][value=next]");
    await assertFaces(page);

    await click(page, 'form[action$="/skip"] button');
    assert.match(await message(page), /Skipped/);
    await click(page, 'form[action="/cases/next"] button');
    await click(page, 'form[action$="/release"] button');
    assert.match(await message(page), /Given back/);
    await click(page, 'form[action="/cases/next"] button');
    await page.click("details.pop summary");
    await page.selectOption('form[action$="/escalate"] select', { index: 1 });
    await click(page, 'form[action$="/escalate"] button');
    assert.match(await message(page), /Escalated/);
  });
  await undoTimeEnds("plain");
  assert.equal((await decisionByPerson(first)).outcome, "reject");
});

test("two reviewers at once get two cases, and everybody sees who has them", async () => {
  await demo.cases("pair", 2);
  await atDesk("pair-lin", "pair", {}, async (one) => {
    await atDesk("pair-mo", "pair", {}, async (two) => {
      await Promise.all([press(one, "n"), press(two, "n")]);
      await Promise.all([press(one, "1"), press(two, "5")]);
      const [left, right] = [await facts(one), await facts(two)];
      assert.notEqual(left, right);
      await atDesk("pair-third", "pair", {}, async (three) => {
        const queue = await three.locator("tbody").innerText();
        assert.match(queue, /pair-lin\s+since/);
        assert.match(queue, /pair-mo\s+since/);
        await press(three, "n");
        assert.match(await message(three), /no case for you now/);
        await press(one, "g");
        await press(three, "n");
        await assertFaces(three);
        await press(three, "1");
        assert.equal(await facts(three), left);
      });
    });
  });
});

test("second eyes see neither name, judgement nor note of the first", async () => {
  const [id] = await demo.cases("eyes", 1);
  await atDesk("fatima-was-first", "eyes", {}, async (page) => {
    await press(page, "n");
    await press(page, "1");
    await page.fill("textarea", "a scar on the left cheek");
    await page.keyboard.press("Escape");
    await choose(page, "approve");
    await press(page, "w");
  });
  await undoTimeEnds("eyes");
  await eventually("the first verdict is recorded", async () => {
    const [row] = await demo.query("select from reviews where verification_id = $1", id);
    return row;
  });
  await atDesk("second", "eyes", {}, async (page, watch) => {
    assert.match(await page.locator("tbody").innerText(), /needs a second person/);
    await page.goto(new URL(`/verifications/${id}`, page.url()).href);
    await page.goto(new URL("/cases", page.url()).href);
    await press(page, "n");
    await assertFaces(page);
    await press(page, "2");
    await assertVerdict(page);
    const unjudged = (text) => text.replace(/<button name="judgement"[^]*?<\/button>/g, "");
    for (const [where, text] of await Promise.all(watch.answers)) {
      for (const word of ["fatima", "scar", "left cheek", "ertainly the same"]) {
        assert.ok(!unjudged(text).includes(word), `${word}: ${where}`);
      }
    }
    await choose(page, "approve");
    await press(page, "w");
  });
  await undoTimeEnds("eyes");
  assert.equal((await decisionByPerson(id)).outcome, "approve");
});

test("a case that is decided meanwhile takes no verdict, and says what happened", async () => {
  const [open, pending] = await demo.cases("lost", 2);
  const key = await demo.apiKey("otto", "reviews:write,decisions:read");
  const decide = async (id) => {
    const review = { outcome: "reject", reason: "suspected-fraud" };
    const { status, json } = await demo.call(`/v1/verifications/${id}/reviews`, review, key);
    assert.equal(status, 201, JSON.stringify(json));
  };
  await atDesk("late", "lost", {}, async (page) => {
    await press(page, "n");
    await press(page, "2");
    await decide(open);
    await choose(page, "retry");
    await press(page, "w");
    const said = await page.locator("main").innerText();
    assert.match(said, /Your verdict was not taken/);
    assert.match(said, /Current decision: rejected.*otto/i);
    await assertAccessible(page);

    // Given, and still to be undone, when somebody else decides.
    await press(page, "n");
    await press(page, "2");
    await choose(page, "retry");
    await press(page, "w");
    await decide(pending);
    await undoTimeEnds("lost");
    await eventually("it is not taken", async () => {
      const sql = "select from assignments where verification_id = $1 and ended_as = 'decision-changed'";
      return (await demo.query(sql, pending)).length > 0;
    });
    await page.goto(new URL("/cases", page.url()).href);
    assert.match(await message(page), /A verdict of yours was not taken/);
    await page.goto(page.url());
    assert.doesNotMatch(await message(page), /not taken/, "it is said once");
  });
  for (const id of [open, pending]) assert.equal((await decisionByPerson(id)).outcome, "reject");
});

test("a case whose time is over goes to the next, and takes no verdict of the first", async () => {
  await demo.cases("lapsed", 1);
  await atDesk("away", "lapsed", { expected: /status of 412/ }, async (page) => {
    await page.clock.install();
    await press(page, "n");
    await press(page, "2");
    await assertVerdict(page);
    await demo.query(`update assignments a set lease_until = now() - interval '1 second'
      from users u where u.id = a.user_id and u.name = 'away'`);
    await atDesk("there", "lapsed", {}, async (other) => {
      await press(other, "n");
      await assertFaces(other);
      // The open page finds out when it asks for more time.
      assert.ok(!(await page.locator("#lost").isVisible()));
      await page.clock.fastForward("02:01");
      await page.locator("#lost").waitFor();
      await choose(page, "reject");
      await press(page, "w");
      assert.match(await page.locator("main").innerText(), /Your time ran out/);
      await press(other, "1");
      await assertVerdict(other);
      await press(other, "g");
    });
  });
});

test("a closed tab loses neither the case nor the verdict", async () => {
  const [id] = await demo.cases("closed", 1);
  await atDesk("closing", "closed", {}, async (page, _watch, user) => {
    await press(page, "n");
    await press(page, "5");
    await page.close();
    const another = await page.context().newPage();
    await signIn(another, user);
    assert.match(await another.locator("main").innerText(), /Go on with your case/);
    await press(another, "n");
    await assertVerdict(another);
    await choose(another, "reject");
    await press(another, "w");
  });
  // Its browser is gone.
  await undoTimeEnds("closed");
  assert.equal((await decisionByPerson(id)).outcome, "reject");
});

test("personal data is shown for a minute, for a purpose and on record", async () => {
  const [id] = await demo.cases("reveal", 1);
  await atDesk("looking", "reveal", { expected: /status of 422/ }, async (page) => {
    await press(page, "n");
    await press(page, "3");
    const person = () => page.locator("#person").innerText();
    assert.doesNotMatch(await person(), /测试/);
    await page.clock.install();
    // Not without a purpose.
    await press(page, "x");
    assert.match(await message(page), /purpose/i);
    const readings = () =>
      demo.query("select actor, purpose from audit where action = 'material.read' and subject = $1", id);
    assert.deepEqual(await readings(), []);

    await page.fill("textarea", "half a note");
    await page.selectOption("[name=purpose]", "decide-case");
    await click(page, 'button[formaction$="/reveal"]');
    assert.match(await person(), /测试/);
    await assertAccessible(page);
    const [reading] = await readings();
    assert.match(reading.actor, /^user:\S+ person:looking$/);
    assert.equal(reading.purpose, "decide-case");
    await page.clock.fastForward(30_000);
    assert.match(await person(), /测试/);
    await page.clock.fastForward(31_000);
    assert.doesNotMatch(await page.content(), /测试/);
    assert.equal(await page.locator("textarea").inputValue(), "half a note");

    // The way back shows nothing that is not on record.
    await page.selectOption("[name=purpose]", "decide-case");
    await click(page, 'button[formaction$="/reveal"]');
    assert.match(await person(), /测试/);
    await page.goto(new URL("/cases", page.url()).href);
    await page.goBack().catch(() => {});
    const isShown = /测试/.test(await page.content());
    assert.equal((await readings()).length, isShown ? 3 : 2);
  });
});

test("a practice pair looks like a case and says at once how it was judged", async () => {
  const more = (base) => base.replace("golden_share = 0", "golden_share = 0.5");
  const site = await demo.console(() => "", more);
  try {
    await visit(browser, "golden", {}, async (page) => {
      await page.goto(site.url + new URL(await demo.says(/^Console: (\S+)$/m)).pathname);
      await eventually("a practice pair", async () => {
        await press(page, "n");
        await assertFaces(page);
        await press(page, "2");
        if (await page.locator("form#verdict").count()) return press(page, "g").then(() => false);
        return true;
      });
      const said = await page.locator("main").innerText();
      assert.match(said, /practice pair/);
      assert.match(said, /Right: |Wrong: /);
      assert.equal(await page.locator(".face img").count(), 2);
      await assertAccessible(page);
    });
  } finally {
    await site.stop();
  }
});
