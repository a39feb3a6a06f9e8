// Signing in to the console through a real OpenID provider.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Demo, assertAccessible, launch, visit } from "./harness.mjs";
import { serveOpenId } from "./openid-provider.mjs";

const CLIENT = { id: "verdict", secret: "a secret of the client for tests" };

let demo, browser, site, provider;

before(async () => {
  [demo, browser] = await Promise.all([Demo.start(), launch()]);
  site = await demo.console(async (url) => {
    const client = { ...CLIENT, returnUrl: `${url}/sign-in/oidc/return` };
    provider = await serveOpenId({ client, subject: "anna" });
    return `[console.oidc]
issuer = "${provider.issuer}"
client_id = "${CLIENT.id}"
client_secret = "${CLIENT.secret}"
`;
  });
});

after(async () => {
  await site?.stop();
  await Promise.all([demo?.stop(), browser?.close(), provider?.close()]);
});

/** Goes through the provider's pages: who signs in, and that Verdict may know. */
async function pass(page) {
  await page.waitForURL(`${provider.issuer}/**`);
  while (page.url().startsWith(provider.issuer)) {
    await Promise.all([page.waitForEvent("load"), page.click("#continue")]);
  }
}

test("an invited person binds an identity, and signs in with it", async () => {
  const invitation = await site.invite("anna");
  await visit(browser, "openid", {}, async (page) => {
    await page.goto(invitation);
    await assertAccessible(page);
    await page.click('a[href^="/sign-in/oidc"]');
    await pass(page);
    assert.equal(await page.locator(".me a").innerText(), "anna");
    await page.click('form[action="/sign-out"] button');
    await page.goto(`${site.url}/sign-in`);
    await page.click('a[href^="/sign-in/oidc"]');
    // The provider may remember who it is.
    if (page.url().startsWith(provider.issuer)) await pass(page);
    assert.equal(await page.locator(".me a").innerText(), "anna");
  });
});

test("an identity that nobody invited signs nobody in", async () => {
  provider.person.subject = "mallory";
  await visit(browser, "openid-stranger", { expected: /status of 40\d/ }, async (page) => {
    await page.goto(`${site.url}/sign-in`);
    await page.click('a[href^="/sign-in/oidc"]');
    await pass(page);
    assert.equal(await page.locator(".me").count(), 0);
    assert.match(await page.locator("h1").innerText(), /No user is bound to this identity/);
    await page.goto(`${site.url}/sessions`);
    assert.match(page.url(), /\/sign-in/);
  });
});

test("a used invitation binds nobody else", async () => {
  const invitation = await site.invite("berta");
  provider.person.subject = "berta";
  await visit(browser, "openid-berta", {}, async (page) => {
    await page.goto(invitation);
    await page.click('a[href^="/sign-in/oidc"]');
    await pass(page);
    assert.equal(await page.locator(".me a").innerText(), "berta");
  });
  provider.person.subject = "mallory";
  await visit(browser, "openid-used", { expected: /status of 4\d\d/ }, async (page) => {
    const answer = await page.goto(invitation);
    assert.ok(answer.status() >= 400, `${answer.status()}`);
    assert.equal(await page.locator('a[href^="/sign-in/oidc"]').count(), 0);
  });
});
