// Posts a signed callback and prints the decision: node verify.mjs BIZ_TYPE BIZ_ID [--start]
// With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
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
      const mayHelp = answer.status === 408 || answer.status === 429 || answer.status >= 500;
      if (!mayHelp && !answer.headers.has('retry-after')) break;
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

const [, , biz_type, biz_id, start] = process.argv;
if (!biz_id || (start && start !== '--start')) fail('usage: node verify.mjs BIZ_TYPE BIZ_ID [--start]');
const url = setting('VERDICT_URL');
const webhook = new Webhook(setting('VERDICT_SECRET'));
const apiKey = setting('VERDICT_API_KEY');
const source = setting('VERDICT_SOURCE', 'app');
const product = start ? 'face-verify' : undefined; // left out of the JSON
const body = JSON.stringify({ product, biz_type, biz_id });
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

if (start) {
  // Name and number come from your database, meta_info from the SDK in the app. They go into the
  // body, never into a URL or a log.
  const body = JSON.stringify({
    product, biz_type, biz_id,
    product_code: 'ID_PRO', cert_type: 'IDENTITY_CARD',
    cert_name: setting('CERT_NAME'), cert_no: setting('CERT_NO'), meta_info: setting('META_INFO'),
  });
  const { headers } = authorized();
  headers['content-type'] = 'application/json';
  // Nothing is started twice: a repetition gets the same answer.
  await persist(`${url}/v1/verifications`, () => ({ method: 'POST', headers, body }));
  // The app goes on with `certify_id` of the answer, and tells your backend when the user has
  // finished. Then:
}
let verification = await persist(`${url}/v1/callbacks/${source}`, signed);
const one = `${url}/v1/verifications/${verification.id}`;
while (['pending', 'unfinished'].includes(verification.state)) {
  // Held until there is something to tell, 30 seconds at most.
  verification = await persist(`${one}?wait=30`, authorized);
}
const { outcome, reasons } = verification.decision ?? { outcome: '-', reasons: ['-'] };
console.log(verification.state, outcome, reasons.join(','));
