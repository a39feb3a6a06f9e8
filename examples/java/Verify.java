// Posts a signed callback and prints the decision: java Verify.java BIZ_TYPE BIZ_ID [--start]
// With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
// The JDK (17 or newer) brings no JSON: in your project, use the library that you use anyway.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.UUID;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Verify {
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] arguments) throws Exception {
        boolean starts = arguments.length == 3 && arguments[2].equals("--start");
        if (arguments.length != 2 && !starts) {
            throw fail("usage: java Verify.java BIZ_TYPE BIZ_ID [--start]");
        }
        String url = setting("VERDICT_URL", null);
        String secret = setting("VERDICT_SECRET", null).replaceFirst("^whsec_", "");
        String apiKey = setting("VERDICT_API_KEY", null);
        String source = setting("VERDICT_SOURCE", "app");
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret), "HmacSHA256"));
        String product = starts ? "\"product\":\"face-verify\"," : "";
        String members = product
            + "\"biz_type\":%s,\"biz_id\":%s".formatted(quoted(arguments[0]), quoted(arguments[1]));
        String body = "{" + members + "}";
        // The same id for every try: what was accepted already is not accepted twice.
        String id = "msg_" + UUID.randomUUID();

        if (starts) {
            // Name and number come from your database, meta_info from the SDK in the app. They go into
            // the body, never into a URL or a log.
            String start = """
                {%s, "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD",
                "cert_name": %s, "cert_no": %s, "meta_info": %s}""".formatted(members,
                    quoted(setting("CERT_NAME", null)), quoted(setting("CERT_NO", null)),
                    quoted(setting("META_INFO", null)));
            // Nothing is started twice: a repetition gets the same answer.
            persist(() -> request(url + "/v1/verifications")
                .header("content-type", "application/json")
                .header("authorization", "Bearer " + apiKey)
                .POST(HttpRequest.BodyPublishers.ofString(start)));
            // The app goes on with `certify_id` of the answer, and tells your backend when the user has
            // finished. Then:
        }
        String verification = persist(() -> {
            // Signed anew for every try: an old timestamp is refused.
            String time = Long.toString(Instant.now().getEpochSecond());
            byte[] signature = mac.doFinal((id + "." + time + "." + body).getBytes(StandardCharsets.UTF_8));
            return request(url + "/v1/callbacks/" + source)
                .header("content-type", "application/json")
                .header("webhook-id", id)
                .header("webhook-timestamp", time)
                .header("webhook-signature", "v1," + Base64.getEncoder().encodeToString(signature))
                .POST(HttpRequest.BodyPublishers.ofString(body));
        });
        String one = url + "/v1/verifications/" + member(verification, "id");
        while (Pattern.matches("pending|unfinished", member(verification, "state"))) {
            // Held until there is something to tell, 30 seconds at most.
            verification = persist(() -> request(one + "?wait=30").header("authorization", "Bearer " + apiKey));
        }
        System.out.println(member(verification, "state") + " " + member(verification, "outcome") + " "
            + member(verification, "reasons"));
    }

    /** The answer; asks again where that may help, with a new request each time. */
    static String persist(Supplier<HttpRequest.Builder> request) throws InterruptedException {
        for (int pause = 1; ; pause *= 2) {
            HttpRequest next = request.get().build();
            HttpResponse<String> answer = null;
            try {
                answer = CLIENT.send(next, HttpResponse.BodyHandlers.ofString());
            } catch (IOException noAnswer) {
                // What became of the request is unknown.
            }
            int status = answer == null ? 0 : answer.statusCode();
            String after = answer == null ? "" : answer.headers().firstValue("retry-after").orElse("");
            boolean mayHelp = status == 0 || status == 408 || status == 429 || status >= 500 || !after.isEmpty();
            if (mayHelp && pause <= 8) {
                Thread.sleep(Duration.ofSeconds(after.matches("\\d+") ? Long.parseLong(after) : pause).toMillis());
            } else if (status == 0) {
                throw fail("no answer from " + next.uri());
            } else if (status >= 300) {
                throw fail("Verdict refused: " + status + " " + member(answer.body(), "code"));
            } else {
                return answer.body();
            }
        }
    }

    static HttpRequest.Builder request(String url) {
        // Longer than the service holds a request.
        return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(40));
    }

    /** The first member of this name: a text, or a list of texts; "-" if there is none. */
    static String member(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\\s*(?:\"([^\"]*)\"|\\[([^]]*)])").matcher(json);
        if (!found.find()) {
            return "-";
        }
        return found.group(1) != null ? found.group(1) : found.group(2).replace("\"", "");
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    static String setting(String name, String otherwise) {
        String value = System.getenv().getOrDefault(name, otherwise);
        if (value == null) {
            throw fail(name + " is not set");
        }
        return value;
    }

    /** Never returns; the type lets callers write `throw`. */
    static RuntimeException fail(String message) {
        System.err.println(message);
        System.exit(1);
        return new IllegalStateException(message);
    }
}
