// Posts a signed callback and prints the decision: node verify.mjs BIZ_TYPE BIZ_ID
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';

function fail(message) {
  console.error(message);
  process.exit(1);
}

const setting = (name, fallback) => process.env[name] || fallback || fail(`${name} is not set`);

// The answer; asks again where that may help, with new `options()` each time.
async function persist(url, options) {
  let answer, text;
  for (const pause of [1, 2, 4, 8, 0]) {
    answer = undefined;
    try {
      // Longer than the service holds a request below.
      const response = await fetch(url, { ...options(), signal: AbortSignal.timeout(40_000) });
      text = await response.text();
      answer = response;
      if (answer.status !== 408 && answer.status !== 429 && answer.status < 500) break;
    } catch {
      // What became of the request is unknown.
    }
    const after = answer?.headers.get('retry-after') ?? '';
    if (pause) await sleep((/^\d+$/.test(after) ? Number(after) : pause) * 1000);
  }
  if (!answer) fail(`no answer from ${url}`);
  if (!answer.ok) {
    const isProblem = answer.headers.get('content-type')?.includes('problem+json');
    fail(`Verdict refused: ${answer.status} ${isProblem ? JSON.parse(text).code : answer.statusText}`);
  }
  return JSON.parse(text);
}

const [, , biz_type, biz_id] = process.argv;
if (!biz_id) fail('usage: node verify.mjs BIZ_TYPE BIZ_ID');
const url = setting('VERDICT_URL');
const webhook = new Webhook(setting('VERDICT_SECRET'));
const apiKey = setting('VERDICT_API_KEY');
const source = setting('VERDICT_SOURCE', 'app');
const body = JSON.stringify({ biz_type, biz_id });
// The same id for every try: what was accepted already is not accepted twice.
const id = `msg_${randomUUID()}`;

// Made anew for every try: an old timestamp is refused.
function signed() {
  const now = new Date();
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': webhook.sign(id, now, body),
  };
  return { method: 'POST', headers, body };
}

const authorized = () => ({ headers: { authorization: `Bearer ${apiKey}` } });

let verification = await persist(`${url}/v1/callbacks/${source}`, signed);
const one = `${url}/v1/verifications/${verification.id}`;
while (['pending', 'unfinished'].includes(verification.state)) {
  // Held until there is something to tell, 30 seconds at most.
  verification = await persist(`${one}?wait=30`, authorized);
}
const { outcome, reasons } = verification.decision ?? { outcome: '-', reasons: ['-'] };
console.log(verification.state, outcome, reasons.join(','));
