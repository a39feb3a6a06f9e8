// Receives events, verifies them and prints a line for each new one: go run ./receive
package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type event struct {
	ID       string
	Type     string
	Sequence *int64 // null in a test
	Data     struct {
		Verification string  `json:"verification_id"`
		Number       *int64  `json:"verification_sequence"`
		BizID        *string `json:"biz_id"`
		Outcome      *string
	}
}

// counted is the newest number of a verification, and the epoch that counted it.
type counted struct {
	epoch string
	last  int64
}

var (
	key    []byte
	kept   *os.File
	lock   sync.Mutex
	seen   = map[string]bool{}
	newest = map[string]counted{}
)

// isGenuine tells whether this body came from Verdict within the last five minutes, as Standard
// Webhooks says.
func isGenuine(headers http.Header, body []byte) bool {
	id, stamp := headers.Get("Webhook-Id"), headers.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if age := time.Now().Unix() - seconds; err != nil || id == "" || age > 300 || age < -300 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	// Several while a secret is rotated; one that fits is enough.
	for _, signature := range strings.Split(headers.Get("Webhook-Signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true
		}
	}
	return false
}

// remember tells what is remarkable about a new event: others are missing before it, or it comes late.
func remember(epoch string, event event) string {
	seen[event.ID] = true
	if event.Data.Number == nil {
		return ""
	}
	number := *event.Data.Number
	before, known := newest[event.Data.Verification]
	last := before.last
	if known && before.epoch != epoch {
		last = number - 1 // A restored database counts on from an earlier number.
	}
	if number <= last {
		newest[event.Data.Verification] = counted{epoch, last}
		return " late" // What it reports is outdated: a newer event of this verification is known.
	}
	newest[event.Data.Verification] = counted{epoch, number}
	if number > last+1 {
		return fmt.Sprintf(" missing %d..%d", last+1, number-1)
	}
	return ""
}

// receive keeps and prints an event. In your service: a table whose primary key is the event's id,
// written in the transaction of what the event causes, so that both happen or neither does.
func receive(epoch string, body []byte) error {
	lock.Lock()
	defer lock.Unlock()
	var event event
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	if seen[event.ID] {
		fmt.Println("again", event.ID)
		return nil
	}
	if _, err := fmt.Fprintf(kept, "%s %s\n", epoch, body); err != nil {
		return err
	}
	if err := kept.Sync(); err != nil {
		return err
	}
	remarkable := remember(epoch, event)
	data := event.Data
	fmt.Println(shown(event.Sequence), event.Type, shown(data.BizID), shown(data.Number), shown(data.Outcome)+remarkable)
	return nil
}

func shown[T any](value *T) string {
	if value == nil {
		return "-"
	}
	return fmt.Sprint(*value)
}

func handle(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, 20_480))
	if err != nil {
		answer.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !isGenuine(request.Header, body) {
		answer.WriteHeader(http.StatusUnauthorized)
		return
	}
	epoch := request.Header.Get("Verdict-Epoch")
	if epoch == "" {
		epoch = "-"
	}
	if err := receive(epoch, body); err != nil {
		answer.WriteHeader(http.StatusInternalServerError)
		return
	}
	// Only now: Verdict sends again what has no 2xx.
	answer.WriteHeader(http.StatusNoContent)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	log.SetFlags(0)
	var err error
	secret := strings.TrimPrefix(os.Getenv("VERDICT_ENDPOINT_SECRET"), "whsec_")
	if key, err = base64.StdEncoding.DecodeString(secret); err != nil || len(key) == 0 {
		log.Fatal("VERDICT_ENDPOINT_SECRET is not set, or not base64")
	}
	path := setting("VERDICT_EVENTS", "events.log")
	if kept, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(kept); lines.Scan(); {
		epoch, body, _ := strings.Cut(lines.Text(), " ")
		var before event
		if err := json.Unmarshal([]byte(body), &before); err != nil {
			log.Fatal(err)
		}
		remember(epoch, before)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+setting("PORT", "3000"), http.HandlerFunc(handle)))
}
