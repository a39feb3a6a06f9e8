<?php
// Posts a signed callback and prints the decision: php verify.php BIZ_TYPE BIZ_ID [--start]
// With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
declare(strict_types=1);

function fail(string $message): never
{
    fwrite(STDERR, "$message\n");
    exit(1);
}

function setting(string $name, string $default = ''): string
{
    return getenv($name) ?: $default ?: fail("$name is not set");
}

/** One request; null if there is no whole answer. */
function call(string $method, string $url, array $headers, string $body): ?array
{
    $context = stream_context_create(['http' => [
        'method' => $method, 'header' => $headers, 'content' => $body,
        'ignore_errors' => true, 'follow_location' => 0,
        'timeout' => 40, // Longer than the service holds a request below.
    ]]);
    $stream = @fopen($url, 'r', false, $context);
    $text = $stream ? stream_get_contents($stream) : false;
    if ($text === false || stream_get_meta_data($stream)['timed_out']) {
        return null;
    }
    $head = implode("\n", stream_get_meta_data($stream)['wrapper_data']);
    preg_match('~^HTTP/\S+ (\d+)~', $head, $status);
    preg_match('~^retry-after: *(\d+)$~im', $head, $after);
    $json = json_decode($text, true);
    if ($status[1] < 300 && $json === null) {
        return null; // Cut off in the middle, which PHP does not tell.
    }
    return ['status' => (int) $status[1], 'after' => $after[1] ?? null, 'json' => $json];
}

/** The answer; asks again where that may help, with new headers each time. */
function persist(string $method, string $url, callable $headers, string $body = ''): array
{
    foreach ([1, 2, 4, 8, 0] as $pause) {
        $answer = call($method, $url, $headers(), $body);
        $status = $answer['status'] ?? 0;
        $mayHelp = !$status || $status === 408 || $status === 429 || $status >= 500;
        if (!$mayHelp && !isset($answer['after'])) {
            break;
        }
        sleep($pause ? (int) ($answer['after'] ?? $pause) : 0);
    }
    if (!$answer) {
        fail("no answer from $url");
    }
    if ($status >= 300) {
        fail("Verdict refused: $status " . ($answer['json']['code'] ?? 'without a code'));
    }
    return $answer['json'];
}

if ($argc < 3 || !in_array(array_slice($argv, 3), [[], ['--start']], true)) {
    fail('usage: php verify.php BIZ_TYPE BIZ_ID [--start]');
}
$url = setting('VERDICT_URL');
$key = base64_decode(preg_replace('/^whsec_/', '', setting('VERDICT_SECRET')));
$apiKey = setting('VERDICT_API_KEY');
$source = setting('VERDICT_SOURCE', 'app');
$callback = ['biz_type' => $argv[1], 'biz_id' => $argv[2]];
if ($argc === 4) {
    $callback['product'] = 'face-verify';
}
$body = json_encode($callback, JSON_THROW_ON_ERROR);
// The same id for every try: what was accepted already is not accepted twice.
$id = 'msg_' . bin2hex(random_bytes(16));

// Made anew for every try: an old timestamp is refused.
$signed = function () use ($id, $key, $body): array {
    $time = time();
    $signature = base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
    return [
        'content-type: application/json',
        "webhook-id: $id", "webhook-timestamp: $time", "webhook-signature: v1,$signature",
    ];
};
$authorized = fn (): array => ["authorization: Bearer $apiKey"];

if ($argc === 4) {
    // Name and number come from your database, meta_info from the SDK in the app. They go into the
    // body, never into a URL or a log.
    $start = $callback + [
        'product_code' => 'ID_PRO', 'cert_type' => 'IDENTITY_CARD',
        'cert_name' => setting('CERT_NAME'), 'cert_no' => setting('CERT_NO'),
        'meta_info' => setting('META_INFO'),
    ];
    $headers = fn (): array => [...$authorized(), 'content-type: application/json'];
    // Nothing is started twice: a repetition gets the same answer.
    persist('POST', "$url/v1/verifications", $headers, json_encode($start, JSON_THROW_ON_ERROR));
    // The app goes on with `certify_id` of the answer, and tells your backend when the user has
    // finished. Then:
}
$verification = persist('POST', "$url/v1/callbacks/$source", $signed, $body);
$one = "$url/v1/verifications/{$verification['id']}";
while (in_array($verification['state'], ['pending', 'unfinished'], true)) {
    // Held until there is something to tell, 30 seconds at most.
    $verification = persist('GET', "$one?wait=30", $authorized);
}
$decision = $verification['decision'] ?? ['outcome' => '-', 'reasons' => ['-']];
echo $verification['state'], ' ', $decision['outcome'], ' ', implode(',', $decision['reasons']), "\n";
