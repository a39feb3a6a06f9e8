// Posts a signed callback and prints the decision: dotnet run -- BIZ_TYPE BIZ_ID [--start]
// With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

var web = new JsonSerializerOptions(JsonSerializerDefaults.Web); // camelCase
// Longer than the service holds a request below.
using var client = new HttpClient { Timeout = TimeSpan.FromSeconds(40) };
try
{
    var starts = args.Length == 3 && args[2] == "--start";
    if (args.Length != 2 && !starts)
    {
        throw new Failure("usage: dotnet run -- BIZ_TYPE BIZ_ID [--start]");
    }
    var url = Setting("VERDICT_URL");
    var secret = Setting("VERDICT_SECRET");
    var key = Convert.FromBase64String(secret.StartsWith("whsec_") ? secret.Substring(6) : secret);
    var apiKey = Setting("VERDICT_API_KEY");
    var source = Setting("VERDICT_SOURCE", "app");
    var callback = new Dictionary<string, string> { ["biz_type"] = args[0], ["biz_id"] = args[1] };
    if (starts)
    {
        callback["product"] = "face-verify";
    }
    var body = JsonSerializer.Serialize(callback);
    // The same id for every try: what was accepted already is not accepted twice.
    var id = "msg_" + Guid.NewGuid().ToString("N");

    if (starts)
    {
        // Name and number come from your database, meta_info from the SDK in the app. They go into the
        // body, never into a URL or a log.
        var start = JsonSerializer.Serialize(new Dictionary<string, string>(callback)
        {
            ["product_code"] = "ID_PRO",
            ["cert_type"] = "IDENTITY_CARD",
            ["cert_name"] = Setting("CERT_NAME"),
            ["cert_no"] = Setting("CERT_NO"),
            ["meta_info"] = Setting("META_INFO"),
        });
        // Nothing is started twice: a repetition gets the same answer.
        await Persist(() =>
        {
            var post = new HttpRequestMessage(HttpMethod.Post, $"{url}/v1/verifications");
            post.Content = new StringContent(start, Encoding.UTF8, "application/json");
            post.Headers.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
            return post;
        });
        // The app goes on with `certify_id` of the answer, and tells your backend when the user has
        // finished. Then:
    }
    var verification = await Persist(() =>
    {
        // Signed anew for every try: an old timestamp is refused.
        var time = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var mac = HMACSHA256.HashData(key, Encoding.UTF8.GetBytes($"{id}.{time}.{body}"));
        var post = new HttpRequestMessage(HttpMethod.Post, $"{url}/v1/callbacks/{source}");
        post.Content = new StringContent(body, Encoding.UTF8, "application/json");
        post.Headers.Add("webhook-id", id);
        post.Headers.Add("webhook-timestamp", time.ToString());
        post.Headers.Add("webhook-signature", $"v1,{Convert.ToBase64String(mac)}");
        return post;
    });
    while (verification.State is "pending" or "unfinished")
    {
        verification = await Persist(() =>
        {
            // Held until there is something to tell, 30 seconds at most.
            var get = new HttpRequestMessage(HttpMethod.Get, $"{url}/v1/verifications/{verification.Id}?wait=30");
            get.Headers.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
            return get;
        });
    }
    var decision = verification.Decision ?? new Decision("-", ["-"]);
    Console.WriteLine($"{verification.State} {decision.Outcome} {string.Join(",", decision.Reasons)}");
    return 0;
}
catch (Failure failure)
{
    Console.Error.WriteLine(failure.Message);
    return 1;
}

static string Setting(string name, string? otherwise = null) =>
    Environment.GetEnvironmentVariable(name) ?? otherwise ?? throw new Failure($"{name} is not set");

// The answer; asks again where that may help, with a new request each time.
async Task<Verification> Persist(Func<HttpRequestMessage> request)
{
    for (var pause = 1; ; pause *= 2)
    {
        using var next = request();
        var (status, after, text) = await Once(next);
        var mayHelp = status is 0 or 408 or 429 or >= 500 || after is not null;
        if (mayHelp && pause <= 8)
        {
            await Task.Delay(after ?? TimeSpan.FromSeconds(pause));
            continue;
        }
        return status switch
        {
            0 => throw new Failure($"no answer from {next.RequestUri}"),
            >= 300 => throw new Failure($"Verdict refused: {status} {Code(text)}"),
            _ => JsonSerializer.Deserialize<Verification>(text, web)!,
        };
    }
}

// One request; the status is 0 if there is no whole answer.
async Task<(int Status, TimeSpan? After, string Text)> Once(HttpRequestMessage request)
{
    try
    {
        using var answer = await client.SendAsync(request);
        var text = await answer.Content.ReadAsStringAsync();
        return ((int)answer.StatusCode, answer.Headers.RetryAfter?.Delta, text);
    }
    catch (Exception error) when (error is HttpRequestException or TaskCanceledException)
    {
        return (0, null, "");
    }
}

static string Code(string problem)
{
    try
    {
        return JsonDocument.Parse(problem).RootElement.GetProperty("code").GetString() ?? "-";
    }
    catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException)
    {
        return "without a code"; // A proxy's page has none.
    }
}

record Decision(string Outcome, string[] Reasons);
record Verification(string Id, string State, Decision? Decision);

class Failure(string message) : Exception(message);
