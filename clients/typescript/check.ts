// Tries the client against a demo: signs, posts, waits, verifies. Run by `scripts/clients.sh check`.
import assert from "node:assert/strict";
import { InvalidSignature, Refused, sign, verify, Verdict } from "./verdict.js";

const { VERDICT_URL: url = "", VERDICT_API_KEY: key = "", VERDICT_SECRET: secret = "" } = process.env;
const verdict = new Verdict(url, key, { secret });

const members = { biz_type: "demo", biz_id: "pass-97-typescript", reference: "user-1" };
const accepted = await verdict.postCallback(members, "msg_typescript");
assert.deepEqual(await verdict.postCallback(members, "msg_typescript"), accepted);
const settled = await verdict.wait(accepted.id);
assert.equal(settled.state, "decided");
assert.equal(settled.decision?.outcome, "approve");
const weak = await verdict.wait((await verdict.postCallback({ biz_type: "demo", biz_id: "pass-88.5-typescript" })).id);
assert.deepEqual(weak.decision?.reasons, ["score-too-low"]);

const stranger = new Verdict(url, key, { secret: "whsec_" + "A".repeat(44) });
const isRefused = (error: unknown) => error instanceof Refused && error.problem.code === "signature-invalid";
await assert.rejects(stranger.postCallback({ biz_type: "demo", biz_id: "pass" }), isRefused);

const { data } = await verdict.api.GET("/v1/events", { params: { query: { after: 0, limit: 1 } } });
// The same operation can answer with a stream, which is text.
const event = typeof data === "object" ? data.items[0] : assert.fail();
const body = JSON.stringify(event);
const now = Math.floor(Date.now() / 1000);
const headers = { "Webhook-Id": "evt_1", "Webhook-Timestamp": String(now), "Webhook-Signature": `v1,AAAA ${sign(secret, "evt_1", now, body)}` };
assert.deepEqual(verify(secret, headers, body), event);
for (const changed of [{ ...headers, "Webhook-Id": "evt_2" }, { ...headers, "Webhook-Timestamp": "x" }, { "Webhook-Id": "evt_1" }]) {
  assert.throws(() => verify(secret, changed, body), InvalidSignature);
}
assert.throws(() => verify(secret, headers, body, now + 301), InvalidSignature);
// The example of Standard Webhooks' own specification.
assert.equal(
  sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}'),
  "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
);
console.log("typescript: ok");
