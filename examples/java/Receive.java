// Receives events, verifies them and prints a line for each new one: java Receive.java
// The JDK (17 or newer) brings no JSON: in your project, use the library that you use anyway.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Receive {
    /** The newest number of a verification, and the epoch that counted it. */
    record Counted(String epoch, long last) {}

    static final Set<String> SEEN = new HashSet<>();
    static final Map<String, Counted> NEWEST = new HashMap<>();

    static byte[] key;
    static FileChannel kept;

    public static void main(String[] arguments) throws Exception {
        String secret = System.getenv("VERDICT_ENDPOINT_SECRET");
        if (secret == null) {
            System.err.println("VERDICT_ENDPOINT_SECRET is not set");
            System.exit(1);
        }
        key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
        Path path = Path.of(System.getenv().getOrDefault("VERDICT_EVENTS", "events.log"));
        kept = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        for (String line : Files.readAllLines(path)) {
            int space = line.indexOf(' ');
            remember(line.substring(0, space), line.substring(space + 1));
        }
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "3000"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", Receive::handle);
        server.start();
    }

    static void handle(HttpExchange exchange) throws IOException {
        int status = 500;
        try (exchange) {
            status = answer(exchange);
            exchange.sendResponseHeaders(status, -1);
        } catch (GeneralSecurityException error) {
            throw new IOException(error);
        }
    }

    static int answer(HttpExchange exchange) throws IOException, GeneralSecurityException {
        byte[] body = exchange.getRequestBody().readNBytes(20_481);
        if (body.length > 20_480) {
            return 413;
        }
        var headers = exchange.getRequestHeaders();
        if (!isGenuine(headers.getFirst("webhook-id"), headers.getFirst("webhook-timestamp"),
                headers.getFirst("webhook-signature"), body)) {
            return 401;
        }
        String epoch = headers.getFirst("verdict-epoch");
        receive(epoch == null ? "-" : epoch, new String(body, StandardCharsets.UTF_8));
        // Only now: Verdict sends again what has no 2xx.
        return 204;
    }

    /** Whether this body came from Verdict within the last five minutes, as Standard Webhooks says. */
    static boolean isGenuine(String id, String time, String signatures, byte[] body)
            throws GeneralSecurityException {
        if (id == null || time == null || signatures == null || !time.matches("\\d{1,12}")
                || Math.abs(Instant.now().getEpochSecond() - Long.parseLong(time)) > 300) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update((id + "." + time + ".").getBytes(StandardCharsets.UTF_8));
        String expected = "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body));
        // Several while a secret is rotated; one that fits is enough.
        for (String signature : signatures.split(" ")) {
            if (MessageDigest.isEqual(signature.getBytes(), expected.getBytes())) {
                return true;
            }
        }
        return false;
    }

    /** In your service: a table whose primary key is the event's id, written in the transaction of
     *  what the event causes, so that both happen or neither does. */
    static synchronized void receive(String epoch, String event) throws IOException {
        String id = member(event, "id");
        if (SEEN.contains(id)) {
            System.out.println("again " + id);
            return;
        }
        kept.write(ByteBuffer.wrap((epoch + " " + event + "\n").getBytes(StandardCharsets.UTF_8)));
        kept.force(false);
        String remarkable = remember(epoch, event);
        System.out.println(String.join(" ", member(event, "sequence"), member(event, "type"),
            member(event, "biz_id"), member(event, "verification_sequence"), member(event, "outcome"))
            + remarkable);
    }

    /** What is remarkable about a new event: others are missing before it, or it comes late. */
    static String remember(String epoch, String event) {
        SEEN.add(member(event, "id"));
        String sequence = member(event, "verification_sequence");
        if (sequence.equals("-")) {
            return "";
        }
        long number = Long.parseLong(sequence);
        String verification = member(event, "verification_id");
        Counted before = NEWEST.getOrDefault(verification, new Counted(epoch, 0));
        // A restored database counts on from an earlier number.
        long last = before.epoch().equals(epoch) ? before.last() : number - 1;
        NEWEST.put(verification, new Counted(epoch, Math.max(number, last)));
        if (number > last + 1) {
            return " missing " + (last + 1) + ".." + (number - 1);
        }
        // What it reports is outdated: a newer event of this verification is known.
        return number <= last ? " late" : "";
    }

    /** The first member of this name, a text or a number; "-" if there is none, or null. */
    static String member(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|(\\d+))").matcher(json);
        if (!found.find()) {
            return "-";
        }
        return found.group(1) != null ? unescaped(found.group(1)) : found.group(2);
    }

    static String unescaped(String text) {
        return Pattern.compile("\\\\(?:u([0-9a-fA-F]{4})|(.))").matcher(text).replaceAll(escape -> {
            String plain = escape.group(2) != null
                ? escape.group(2)
                : String.valueOf((char) Integer.parseInt(escape.group(1), 16));
            return java.util.regex.Matcher.quoteReplacement(plain);
        });
    }
}
