// What both Node peers share: one signed callback (Standard Webhooks), one durable row.
import { createHash, createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import pg from 'pg';

const SECRET = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ''), 'base64');
const TOLERANCE = 300;

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 });

// Named: prepared once for each connection.
const INSERT = {
  name: 'insert',
  text: `insert into callbacks
           (source, message_id, digest, verification_id, biz_type, biz_id, reference)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (source, message_id) do nothing`,
};
const KNOWN = {
  name: 'known',
  text: 'select digest, verification_id from callbacks where source = $1 and message_id = $2',
};

function isSigned(id, timestamp, signature, body) {
  if (!id || !signature || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) return false;
  const mac = createHmac('sha256', SECRET).update(`${id}.${timestamp}.`).update(body).digest();
  return signature.split(' ').some((one) => {
    const [version, text] = one.split(',');
    const given = Buffer.from(text ?? '', 'base64');
    return version === 'v1' && given.length === mac.length && timingSafeEqual(given, mac);
  });
}

function parse(body) {
  try {
    const callback = JSON.parse(body);
    const isText = (text) => typeof text === 'string' && text.length >= 1 && text.length <= 64;
    return isText(callback.biz_type) && isText(callback.biz_id) ? callback : undefined;
  } catch {
    return undefined;
  }
}

// Status and body of the answer; it is given after the commit.
export async function accept(source, headers, body) {
  const id = headers['webhook-id'];
  if (!isSigned(id, headers['webhook-timestamp'], headers['webhook-signature'], body)) {
    return [401, { code: 'signature-invalid' }];
  }
  const callback = parse(body);
  if (!callback) return [422, { code: 'invalid-field' }];
  const digest = createHash('sha256').update(body).digest();
  let verification = randomUUID();
  const { biz_type, biz_id, reference } = callback;
  const values = [source, id, digest, verification, biz_type, biz_id, reference];
  const { rowCount } = await pool.query({ ...INSERT, values });
  if (rowCount === 0) {
    const { rows } = await pool.query({ ...KNOWN, values: [source, id] });
    if (!rows[0].digest.equals(digest)) return [409, { code: 'idempotency-mismatch' }];
    verification = rows[0].verification_id;
  }
  return [202, { id: verification, biz_type, biz_id, state: 'pending' }];
}
