// Verdict from TypeScript: signs and posts callbacks, waits for decisions, verifies webhooks.
//
// Everything else is in the client with the types that scripts/clients.sh generates: verdict.api.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type Verification = components["schemas"]["VerificationView"];
export type CallbackBody = { biz_type: string; biz_id?: string; certify_id?: string; product?: string; reference?: string };
export type Problem = { code?: string; title?: string };

const TOLERANCE_SECONDS = 300;
const REPEATABLE = new Set([408, 429, 500, 502, 503, 504]);

/** The request was not signed by Verdict, or too long ago. Answer it with 401. */
export class InvalidSignature extends Error {}

/** Verdict refused the request. `problem` has its `code` and what to do. */
export class Refused extends Error {
  constructor(readonly status: number, readonly problem: Problem) {
    super(`${status} ${problem.code}: ${problem.title}`);
  }
}

/** The signature of Standard Webhooks. */
export function sign(secret: string, id: string, timestamp: number, body: string | Buffer): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return "v1," + createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
}

/** The event of a delivery, if the secret has signed it. Give the bytes as they came. */
export function verify(
  secret: string,
  headers: Record<string, string | string[] | undefined>,
  body: string | Buffer,
  now: number = Date.now() / 1000,
): unknown {
  const given = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
  const [id, time, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => given.get(name));
  const timestamp = Number(time);
  if (!id || !signatures || !Number.isInteger(timestamp)) throw new InvalidSignature("a header is missing or malformed");
  if (Math.abs(now - timestamp) > TOLERANCE_SECONDS) throw new InvalidSignature("the timestamp is too old, or in the future");
  const expected = Buffer.from(sign(secret, id, timestamp, body));
  const equal = (text: string) => text.length === expected.length && timingSafeEqual(Buffer.from(text), expected);
  if (!signatures.split(" ").map(equal).includes(true)) throw new InvalidSignature("no signature matches");
  return JSON.parse(body.toString());
}

export class Verdict {
  readonly api: Client<paths>;
  private readonly source: string;
  private readonly secret: string;
  private readonly attempts: number;

  constructor(
    private readonly url: string,
    apiKey: string,
    options: { source?: string; secret?: string; attempts?: number } = {},
  ) {
    this.api = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${apiKey}` } });
    this.source = options.source ?? "app";
    this.secret = options.secret ?? "";
    this.attempts = options.attempts ?? 6;
  }

  /** Posts a callback until Verdict has it. Keep `id` to repeat it in another process. */
  async postCallback(members: CallbackBody, id = `msg_${randomBytes(16).toString("hex")}`): Promise<Verification> {
    const body = JSON.stringify(members);
    for (let attempt = 1; ; attempt += 1) {
      let wait = Math.min(2 ** (attempt - 1), 30);
      const timestamp = Math.floor(Date.now() / 1000);
      const headers = {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": String(timestamp),
        "webhook-signature": sign(this.secret, id, timestamp, body),
      };
      let answer: Response | undefined;
      try {
        const address = `${this.url}/v1/callbacks/${this.source}`;
        answer = await fetch(address, { method: "POST", headers, body, signal: AbortSignal.timeout(15_000) });
      } catch (error) {
        if (attempt === this.attempts) throw error;
      }
      if (answer?.status === 202) return (await answer.json()) as Verification;
      if (answer) {
        if (!REPEATABLE.has(answer.status) || attempt === this.attempts) {
          const problem = (await answer.json().catch(() => ({ title: answer.statusText }))) as Problem;
          throw new Refused(answer.status, problem);
        }
        wait = Number(answer.headers.get("retry-after") ?? wait);
      }
      await sleep(wait * 1000);
    }
  }

  /** The verification once it is settled, or as it is after so many seconds (at most 60). */
  async wait(id: string, seconds = 60): Promise<Verification> {
    const { data, error, response } = await this.api.GET("/v1/verifications/{id}", {
      params: { path: { id }, query: { wait: seconds } },
    });
    if (!data) throw new Refused(response.status, (error ?? {}) as Problem);
    return data;
  }
}
