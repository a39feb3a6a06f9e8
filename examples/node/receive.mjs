// Receives events, verifies them and prints a line for each new one: node receive.mjs
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const { VERDICT_ENDPOINT_SECRET: secret, VERDICT_EVENTS: kept = 'events.log', PORT = '3000' } = process.env;
if (!secret) {
  console.error('VERDICT_ENDPOINT_SECRET is not set');
  process.exit(1);
}
const webhook = new Webhook(secret);
const seen = new Set();
const newest = new Map();

// What is remarkable about a new event: others are missing before it, or it comes late.
function remember(epoch, { id, data }) {
  seen.add(id);
  const { verification_id: verification, verification_sequence: number } = data;
  if (number == null) return '';
  let [countedIn, last] = newest.get(verification) ?? [epoch, 0];
  if (countedIn !== epoch) last = number - 1; // A restored database counts on from an earlier number.
  newest.set(verification, [epoch, Math.max(number, last)]);
  if (number > last + 1) return ` missing ${last + 1}..${number - 1}`;
  // What it reports is outdated: a newer event of this verification is known.
  return number <= last ? ' late' : '';
}

function receive(epoch, body) {
  const event = JSON.parse(body);
  if (seen.has(event.id)) return console.log('again', event.id);
  // In your service: a table whose primary key is the event's id. Write the row in the transaction
  // of what the event causes, so that both happen or neither does.
  const file = openSync(kept, 'a');
  writeSync(file, `${epoch} ${body}\n`);
  fsyncSync(file);
  closeSync(file);
  const remarkable = remember(epoch, event);
  const { biz_id, verification_sequence, outcome } = event.data;
  const shown = [event.sequence, event.type, biz_id, verification_sequence, outcome];
  console.log(shown.map((value) => value ?? '-').join(' ') + remarkable);
}

async function answer(request) {
  if (request.method !== 'POST') return 405;
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > 20_480) return 413;
    parts.push(part);
  }
  const body = Buffer.concat(parts).toString();
  try {
    // Over the bytes that came: JSON that was parsed and written again may differ.
    webhook.verify(body, request.headers, { jsonParse: false });
  } catch {
    return 401;
  }
  receive(request.headers['verdict-epoch'] ?? '-', body);
  // Only now: Verdict sends again what has no 2xx.
  return 204;
}

if (existsSync(kept)) {
  for (const line of readFileSync(kept, 'utf8').split('\n').filter(Boolean)) {
    const space = line.indexOf(' ');
    remember(line.slice(0, space), JSON.parse(line.slice(space + 1)));
  }
}
createServer(async (request, response) => {
  const status = await answer(request).catch(() => 500);
  response.writeHead(status, { 'content-length': 0 }).end();
}).listen(Number(PORT), '127.0.0.1');
