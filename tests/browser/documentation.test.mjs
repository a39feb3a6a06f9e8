// What people read in a browser without signing in: the book that the service serves, the API's page with
// the form of a demo, and what the demo prints in a terminal.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Demo, PHONE, assertAccessible, eventually, keepScreenshot, launch, visit } from "./harness.mjs";

/** Examples of requests may name the demo's invented people. */
const EXAMPLES = /\/docs\/book\/|\/openapi\.json/;
const DESKTOP = { viewport: { width: 1280, height: 800 } };
const WITHOUT_BOOK = process.env.VERDICT_BOOK ? false : "this build has no book";

let demo, browser;

before(async () => {
  [demo, browser] = await Promise.all([Demo.start(), launch()]);
});

after(async () => {
  await Promise.all([demo?.stop(), browser?.close()]);
});

const look = async (page, name) => process.env.VERDICT_LOOK && (await keepScreenshot(page, `look-${name}`));

const widths = (page) =>
  page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);

/** Every page of the book, from its own list. */
async function pagesOfBook(page) {
  await page.goto(`${demo.url}/docs/book/`);
  const links = page.locator("#mdbook-sidebar a[href]");
  await links.first().waitFor({ state: "attached" });
  const addresses = await links.evaluateAll((all) => all.map((link) => link.href.split("#")[0]));
  return [...new Set(addresses)];
}

const SCREENS = [
  ["desktop", { ...DESKTOP, colorScheme: "light" }],
  ["phone", { ...PHONE, viewport: { width: 400, height: 800 }, colorScheme: "dark" }],
];
for (const [name, options] of SCREENS) {
  test(`every page of the book fits its screen: ${name}`, { skip: WITHOUT_BOOK }, async () => {
    await visit(browser, `book-${name}`, { ...options, shown: EXAMPLES }, async (page) => {
      const addresses = await pagesOfBook(page);
      assert.ok(addresses.length > 60, `only ${addresses.length} pages`);
      for (const address of addresses) {
        const answer = await page.goto(address);
        assert.equal(answer.status(), 200, address);
        assert.equal(await page.locator("main h1").first().isVisible(), true, address);
        const broken = await page.evaluate(async () => {
          await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
          return [...document.images].filter((image) => image.naturalWidth === 0).map((image) => image.src);
        });
        assert.deepEqual(broken, [], `pictures of ${address}`);
        const [wide, screen] = await widths(page);
        assert.ok(wide <= screen, `${address} is ${wide} pixels wide on a screen of ${screen}`);
        const language = await page.locator("html").getAttribute("lang");
        assert.equal(language, address.includes("/zh/") ? "zh-Hans" : "en", address);
        await look(page, `book-${name}-${new URL(address).pathname.replace(/\/docs\/book\//, "")}`);
      }
    });
  });
}

test("the book keeps the theme that a reader chooses", { skip: WITHOUT_BOOK }, async () => {
  await visit(browser, "book-theme", { ...DESKTOP, colorScheme: "light", shown: EXAMPLES }, async (page) => {
    await page.goto(`${demo.url}/docs/book/`);
    const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await background();
    await page.click("#mdbook-theme-toggle");
    await page.click("#mdbook-theme-navy");
    const dark = await background();
    assert.notEqual(dark, light);
    await page.goto(`${demo.url}/docs/book/tutorial.html`);
    assert.equal(await background(), dark);
  });
});

for (const theme of ["light", "dark"]) {
  test(`the form of a demo signs a callback, sends it and shows the decision: ${theme}`, async () => {
    const options = { ...DESKTOP, colorScheme: theme, shown: EXAMPLES, expected: /status of 422/ };
    await visit(browser, `form-${theme}`, options, async (page) => {
      const answer = await page.goto(`${demo.url}/docs/`);
      const policy = await answer.headerValue("content-security-policy");
      assert.doesNotMatch(policy, /unsafe/);
      await page.locator(".opblock").first().waitFor();
      const part = (name) => page.locator(`#callback-form-${name}`);
      await part("script").selectOption("status-7");
      const bizId = JSON.parse(await part("body").inputValue()).biz_id;
      assert.match(bizId, /^status-7-./);
      await page.click("#callback-form button");
      await eventually("the decision is shown", async () => (await part("verification").innerText()).includes("decision"));
      await eventually("the verification is settled", async () => {
        const { state, decision } = JSON.parse(await part("verification").innerText());
        return state === "decided" && decision.outcome === "reject";
      });
      assert.match(await part("request").innerText(), /webhook-signature: v1,\S{44}$/);
      assert.match(await part("answer").innerText(), /^202\n/);
      await assertAccessible(page, "#callback-form");
      await look(page, `form-${theme}`);

      // Whatever the body says is what is signed.
      await part("body").fill("{}");
      await page.click("#callback-form button");
      await eventually("the refusal is shown", async () => (await part("answer").innerText()).startsWith("422\n"));
    });
  });
}

test("the API page shows whole examples, and fits a phone", async () => {
  const options = { ...PHONE, viewport: { width: 400, height: 800 }, shown: EXAMPLES };
  await visit(browser, "api", options, async (page) => {
    await page.goto(`${demo.url}/docs/`);
    await page.locator(".opblock").first().waitFor();
    // Without a viewport of its own a phone would lay it out 980 wide.
    const [, screen] = await widths(page);
    assert.equal(screen, 400);
    const operation = page.locator("#operations-reviews-review-verification");
    await operation.locator("button").first().click();
    await operation.getByText("both photos show the same person").first().waitFor();
    await look(page, "api-phone");
  });
});

const MAX_PICTURE_BYTES = 150 * 1024;

// UPDATE=1 keeps the picture. Ports and times are of this run; nothing else is changed or left out but
// what follows the decisions.
test("what the demo prints has a picture in the documentation", async () => {
  const end = demo.output.indexOf("\nPaste this into another terminal");
  assert.ok(end > 0, demo.output);
  const printed = demo.output.slice(0, end).replace(/^\n+/, "").trimEnd();
  const options = { ...DESKTOP, deviceScaleFactor: 1.5 };
  await visit(browser, "terminal", options, async (page) => {
    await page.setContent(`<!doctype html><title>Terminal</title><style>
      body { margin: 0; width: 900px; background: #1d1f21 }
      pre { margin: 0; padding: 16px; color: #d8dad6; font: 13px/1.4 "DejaVu Sans Mono", monospace;
            white-space: pre-wrap; overflow-wrap: anywhere }
      b { color: #8fc18b; font-weight: normal }
    </style><pre><b>$</b> ./demo\n</pre>`);
    const shown = await page.evaluate((text) => {
      const terminal = document.querySelector("pre");
      terminal.append(text);
      return terminal.textContent;
    }, printed);
    assert.equal(shown, `$ ./demo\n${printed}`);
    const devtools = await page.context().newCDPSession(page);
    const { width, height } = await page.locator("pre").boundingBox();
    const clip = { x: 0, y: 0, width, height, scale: 1 };
    const { data } = await devtools.send("Page.captureScreenshot", { format: "webp", quality: 70, clip });
    const picture = Buffer.from(data, "base64");
    assert.ok(picture.length <= MAX_PICTURE_BYTES, `${picture.length} bytes`);
    if (process.env.UPDATE === "1") {
      await writeFile(join(process.env.VERDICT_PICTURES, "demo.webp"), picture);
    }
  });
});
