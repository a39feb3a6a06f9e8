// Receives events, verifies them and prints a line for each new one: dotnet run --project Receive
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

var secret = Environment.GetEnvironmentVariable("VERDICT_ENDPOINT_SECRET");
if (string.IsNullOrEmpty(secret))
{
    Console.Error.WriteLine("VERDICT_ENDPOINT_SECRET is not set");
    return 1;
}
var key = Convert.FromBase64String(secret.StartsWith("whsec_") ? secret.Substring(6) : secret);
var path = Environment.GetEnvironmentVariable("VERDICT_EVENTS") ?? "events.log";
var port = Environment.GetEnvironmentVariable("PORT") ?? "3000";
var seen = new HashSet<string>();
// Of each verification the newest number, and the epoch that counted it.
var newest = new Dictionary<string, (string Epoch, long Last)>();
if (File.Exists(path))
{
    foreach (var line in File.ReadLines(path))
    {
        var parts = line.Split(' ', 2);
        Remember(parts[0], JsonDocument.Parse(parts[1]).RootElement);
    }
}
using var kept = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read);
using var listener = new HttpListener();
listener.Prefixes.Add($"http://127.0.0.1:{port}/");
listener.Start();
while (true)
{
    var context = await listener.GetContextAsync();
    try
    {
        context.Response.StatusCode = await Answer(context.Request);
        context.Response.Close();
    }
    catch (Exception error) when (error is HttpListenerException or IOException)
    {
        context.Response.Abort(); // The sender went away; it sends again.
    }
}

async Task<int> Answer(HttpListenerRequest request)
{
    if (request.ContentLength64 is < 0 or > 20_480)
    {
        return 413;
    }
    using var buffer = new MemoryStream();
    await request.InputStream.CopyToAsync(buffer);
    var body = buffer.ToArray();
    if (!IsGenuine(request.Headers["webhook-id"], request.Headers["webhook-timestamp"], request.Headers["webhook-signature"], body))
    {
        return 401;
    }
    Receive(request.Headers["verdict-epoch"] ?? "-", Encoding.UTF8.GetString(body));
    // Only now: Verdict sends again what has no 2xx.
    return 204;
}

// Whether this body came from Verdict within the last five minutes, as Standard Webhooks says.
bool IsGenuine(string? id, string? time, string? signatures, byte[] body)
{
    if (string.IsNullOrEmpty(id) || signatures is null || !long.TryParse(time, out var seconds)
        || Math.Abs(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - seconds) > 300)
    {
        return false;
    }
    byte[] signed = [.. Encoding.UTF8.GetBytes($"{id}.{time}."), .. body];
    var expected = Encoding.UTF8.GetBytes("v1," + Convert.ToBase64String(HMACSHA256.HashData(key, signed)));
    // Several while a secret is rotated; one that fits is enough.
    return signatures.Split(' ').Any(signature =>
        CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(signature), expected));
}

// In your service: a table whose primary key is the event's id, written in the transaction of what
// the event causes, so that both happen or neither does.
void Receive(string epoch, string body)
{
    var stored = JsonDocument.Parse(body).RootElement;
    var id = stored.GetProperty("id").GetString()!;
    if (seen.Contains(id))
    {
        Console.WriteLine($"again {id}");
        return;
    }
    kept.Write(Encoding.UTF8.GetBytes($"{epoch} {body}\n"));
    kept.Flush(flushToDisk: true);
    var remarkable = Remember(epoch, stored);
    var data = stored.GetProperty("data");
    Console.WriteLine(
        $"{Shown(stored, "sequence")} {Shown(stored, "type")} {Shown(data, "biz_id")} "
        + $"{Shown(data, "verification_sequence")} {Shown(data, "outcome")}{remarkable}");
}

// What is remarkable about a new event: others are missing before it, or it comes late.
string Remember(string epoch, JsonElement stored)
{
    seen.Add(stored.GetProperty("id").GetString()!);
    var data = stored.GetProperty("data");
    if (!data.TryGetProperty("verification_sequence", out var sequence) || sequence.ValueKind != JsonValueKind.Number)
    {
        return "";
    }
    var number = sequence.GetInt64();
    var verification = data.GetProperty("verification_id").GetString()!;
    var (countedIn, last) = newest.GetValueOrDefault(verification, (epoch, 0));
    if (countedIn != epoch)
    {
        last = number - 1; // A restored database counts on from an earlier number.
    }
    newest[verification] = (epoch, Math.Max(number, last));
    if (number > last + 1)
    {
        return $" missing {last + 1}..{number - 1}";
    }
    // What it reports is outdated: a newer event of this verification is known.
    return number <= last ? " late" : "";
}

static string Shown(JsonElement parent, string name) =>
    parent.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value.ToString() : "-";
