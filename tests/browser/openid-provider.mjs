// A real OpenID provider on this machine, of one client. Its page signs in whoever presses the button.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

/**
 * Serves the provider. `client` has `id`, `secret` and `returnUrl`; `subject` is the person who presses the
 * button, and may be changed between visits.
 */
export async function serveOpenId({ client, subject, port = 0 }) {
  const server = createServer();
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const person = { subject };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: client.id,
        client_secret: client.secret,
        redirect_uris: [client.returnUrl],
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
    ],
    cookies: { keys: ["only for tests"] },
    features: { devInteractions: { enabled: false } },
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: "RS256", use: "sig" }] },
    pkce: { methods: ["S256"], required: () => true },
    ttl: { AccessToken: 60, Grant: 600, IdToken: 60, Interaction: 600, Session: 600 },
  });
  const visits = [];
  provider.on("server_error", (_context, error) => visits.push(`error: ${error}`));
  server.on("request", async (request, response) => {
    visits.push(`${request.method} ${request.url}`);
    if (!request.url.startsWith("/interaction/")) return provider.callback()(request, response);
    if (request.method === "POST") {
      const { prompt, grantId, params } = await provider.interactionDetails(request, response);
      const result = {};
      if (prompt.name === "login") {
        result.login = { accountId: person.subject };
      } else {
        const grant = grantId
          ? await provider.Grant.find(grantId)
          : new provider.Grant({ accountId: person.subject, clientId: params.client_id });
        grant.addOIDCScope(params.scope);
        result.consent = { grantId: await grant.save() };
      }
      return provider.interactionFinished(request, response, result);
    }
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    return response.end(
      '<!doctype html><html lang="en"><title>Provider</title><h1>Provider</h1>' +
        '<form method="post"><button id="continue">Continue</button></form>',
    );
  });
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { issuer, person, visits, close };
}
