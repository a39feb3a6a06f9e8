<?php
// Receives events, verifies them and prints a line for each new one: php -S 127.0.0.1:3000 receive.php
declare(strict_types=1);

/** Whether this body came from Verdict within the last five minutes, as Standard Webhooks says. */
function is_genuine(string $secret, array $headers, string $body): bool
{
    $id = $headers['webhook-id'] ?? '';
    $time = $headers['webhook-timestamp'] ?? '';
    if ($id === '' || !ctype_digit($time) || abs(time() - (int) $time) > 300) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
    // Several while a secret is rotated; one that fits is enough.
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $signature) {
        if (hash_equals($expected, $signature)) {
            return true;
        }
    }
    return false;
}

/** What is remarkable about a new event: others are missing before it, or it comes late. */
function remember(array &$seen, array &$newest, string $epoch, array $event): string
{
    $seen[$event['id']] = true;
    $number = $event['data']['verification_sequence'] ?? null;
    if ($number === null) {
        return '';
    }
    $verification = $event['data']['verification_id'];
    [$countedIn, $last] = $newest[$verification] ?? [$epoch, 0];
    if ($countedIn !== $epoch) {
        $last = $number - 1; // A restored database counts on from an earlier number.
    }
    $newest[$verification] = [$epoch, max($number, $last)];
    if ($number > $last + 1) {
        return sprintf(' missing %d..%d', $last + 1, $number - 1);
    }
    // What it reports is outdated: a newer event of this verification is known.
    return $number <= $last ? ' late' : '';
}

/** In your service: a table whose primary key is the event's id, written in the transaction of what
 *  the event causes, so that both happen or neither does. */
function receive(string $epoch, string $body): string
{
    $event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
    $file = fopen(getenv('VERDICT_EVENTS') ?: 'events.log', 'a+');
    flock($file, LOCK_EX);
    rewind($file);
    $seen = $newest = [];
    while (($line = fgets($file)) !== false) {
        [$of, $kept] = explode(' ', $line, 2);
        remember($seen, $newest, $of, json_decode($kept, true));
    }
    if (isset($seen[$event['id']])) {
        return "again {$event['id']}";
    }
    fwrite($file, "$epoch $body\n");
    fsync($file);
    $remarkable = remember($seen, $newest, $epoch, $event);
    $data = $event['data'];
    $shown = [$event['sequence'], $event['type'], $data['biz_id'] ?? null];
    $shown = [...$shown, $data['verification_sequence'] ?? null, $data['outcome'] ?? null];
    return implode(' ', array_map(fn ($value) => $value ?? '-', $shown)) . $remarkable;
}

$headers = array_change_key_case(getallheaders());
$body = file_get_contents('php://input', length: 20_481);
$secret = getenv('VERDICT_ENDPOINT_SECRET') ?: throw new Exception('VERDICT_ENDPOINT_SECRET is not set');
if ($_SERVER['REQUEST_METHOD'] !== 'POST' || strlen($body) > 20_480) {
    http_response_code(400);
} elseif (!is_genuine($secret, $headers, $body)) {
    http_response_code(401);
} else {
    file_put_contents('php://stdout', receive($headers['verdict-epoch'] ?? '-', $body) . "\n");
    // Only now: Verdict sends again what has no 2xx.
    http_response_code(204);
}
