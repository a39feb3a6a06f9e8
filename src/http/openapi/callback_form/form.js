// The form of a demo's API page: signs a callback as a backend does (Standard Webhooks), posts it, and
// waits for what comes of it.

(() => {
  const section = document.getElementById("callback-form");
  const { source, secret, key } = section.dataset;
  const part = (name) => document.getElementById(`callback-form-${name}`);
  const script = part("script");
  const body = part("body");
  const result = part("result");
  const button = section.querySelector("button");
  /** Longer than any verification of a demo takes to be settled. */
  const MAX_WAITS = 10;

  /** A body that no earlier request had. */
  function fill() {
    const unique = crypto.randomUUID().slice(0, 8);
    const example = {
      product: "verify-result",
      biz_type: "demo",
      biz_id: `${script.value}-${unique}`,
      reference: "user-8812",
      client: { audit: "AUDIT_PASS", code: 1, platform: "android" },
    };
    body.value = JSON.stringify(example, null, 2);
  }

  /** `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. */
  async function sign(text) {
    const bytes = Uint8Array.from(atob(secret.replace(/^whsec_/, "")), (byte) => byte.charCodeAt(0));
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const imported = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign"]);
    const mac = await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text));
    return `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`;
  }

  const shown = (text) => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  };

  async function send() {
    const text = body.value;
    const path = `/v1/callbacks/${source}`;
    const id = `msg_${crypto.randomUUID()}`;
    const timestamp = Math.floor(Date.now() / 1000);
    const headers = {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": `${timestamp}`,
      "webhook-signature": await sign(`${id}.${timestamp}.${text}`),
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    part("request").textContent = [`POST ${path}`, ...lines].join("\n");
    part("answer").textContent = "";
    part("verification").textContent = "";
    result.hidden = false;
    const answer = await fetch(path, { method: "POST", headers, body: text });
    const said = await answer.text();
    part("answer").textContent = `${answer.status}\n${shown(said)}`;
    if (answer.status === 202) await follow(JSON.parse(said).id);
  }

  /** Shows the verification until it is settled. */
  async function follow(id) {
    for (let waits = 0; waits < MAX_WAITS; waits += 1) {
      const headers = { authorization: `Bearer ${key}` };
      const answer = await fetch(`/v1/verifications/${id}?wait=15`, { headers });
      const said = await answer.text();
      part("verification").textContent = shown(said);
      if (answer.status !== 200 || !["pending", "unfinished"].includes(JSON.parse(said).state)) return;
    }
  }

  section.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await send();
    } catch (error) {
      result.hidden = false;
      part("answer").textContent = `The request failed: ${error.message}`;
    } finally {
      button.disabled = false;
    }
  });
  script.addEventListener("change", fill);
  fill();
})();
