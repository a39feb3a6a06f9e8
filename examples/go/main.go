// Posts a signed callback and prints the decision: go run . BIZ_TYPE BIZ_ID [--start]
// With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
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
	"time"
)

type verification struct {
	ID       string
	State    string
	Decision struct { // null until there is one
		Outcome string
		Reasons []string
	}
}

// Longer than the service holds a request below.
var client = http.Client{Timeout: 40 * time.Second}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	if otherwise == "" {
		log.Fatalf("%s is not set", name)
	}
	return otherwise
}

func request(method, url string, body []byte) *http.Request {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	return request
}

// send makes one request; the status is 0 if there is no whole answer.
func send(request *http.Request) (status, after int, body []byte) {
	answer, err := client.Do(request)
	if err != nil {
		return 0, 0, nil
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		return 0, 0, nil
	}
	after, _ = strconv.Atoi(answer.Header.Get("Retry-After"))
	return answer.StatusCode, after, body
}

// persist tells the answer; it asks again where that may help, with a new request each time.
func persist(next func() *http.Request) (found verification) {
	for pause := 1; ; pause *= 2 {
		request := next()
		status, after, body := send(request)
		mayHelp := status == 0 || status == 408 || status == 429 || status >= 500 || after > 0
		switch {
		case mayHelp && pause <= 8:
			if after == 0 {
				after = pause
			}
			time.Sleep(time.Duration(after) * time.Second)
		case status == 0:
			log.Fatalf("no answer from %s", request.URL)
		case status >= 300:
			problem := struct{ Code string }{"without a code"}
			_ = json.Unmarshal(body, &problem) // A proxy's page has none.
			log.Fatalf("Verdict refused: %d %s", status, problem.Code)
		default:
			if err := json.Unmarshal(body, &found); err != nil {
				log.Fatalf("no JSON from %s", request.URL)
			}
			return found
		}
	}
}

func main() {
	log.SetFlags(0)
	starts := len(os.Args) == 4 && os.Args[3] == "--start"
	if len(os.Args) != 3 && !starts {
		log.Fatal("usage: go run . BIZ_TYPE BIZ_ID [--start]")
	}
	url, apiKey := setting("VERDICT_URL", ""), setting("VERDICT_API_KEY", "")
	secret := strings.TrimPrefix(setting("VERDICT_SECRET", ""), "whsec_")
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		log.Fatal("VERDICT_SECRET is not base64")
	}
	callback := map[string]string{"biz_type": os.Args[1], "biz_id": os.Args[2]}
	if starts {
		callback["product"] = "face-verify"
	}
	body, _ := json.Marshal(callback)
	// The same id for every try: what was accepted already is not accepted twice.
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		log.Fatal(err)
	}
	id := fmt.Sprintf("msg_%x", random)

	if starts {
		// Name and number come from your database, meta_info from the SDK in the app. They go into
		// the body, never into a URL or a log.
		start, _ := json.Marshal(map[string]string{
			"product": "face-verify", "biz_type": os.Args[1], "biz_id": os.Args[2],
			"product_code": "ID_PRO", "cert_type": "IDENTITY_CARD",
			"cert_name": setting("CERT_NAME", ""), "cert_no": setting("CERT_NO", ""),
			"meta_info": setting("META_INFO", ""),
		})
		persist(func() *http.Request {
			// Nothing is started twice: a repetition gets the same answer.
			post := request("POST", url+"/v1/verifications", start)
			post.Header.Set("Content-Type", "application/json")
			post.Header.Set("Authorization", "Bearer "+apiKey)
			return post
		})
		// The app goes on with certify_id of the answer, and tells your backend when the user has
		// finished. Then:
	}
	found := persist(func() *http.Request {
		// Signed anew for every try: an old timestamp is refused.
		now := strconv.FormatInt(time.Now().Unix(), 10)
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, now, body)
		post := request("POST", url+"/v1/callbacks/"+setting("VERDICT_SOURCE", "app"), body)
		post.Header.Set("Content-Type", "application/json")
		post.Header.Set("Webhook-Id", id)
		post.Header.Set("Webhook-Timestamp", now)
		post.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return post
	})
	for found.State == "pending" || found.State == "unfinished" {
		found = persist(func() *http.Request {
			// Held until there is something to tell, 30 seconds at most.
			get := request("GET", url+"/v1/verifications/"+found.ID+"?wait=30", nil)
			get.Header.Set("Authorization", "Bearer "+apiKey)
			return get
		})
	}
	outcome, reasons := "-", "-"
	if found.Decision.Outcome != "" {
		outcome, reasons = found.Decision.Outcome, strings.Join(found.Decision.Reasons, ",")
	}
	fmt.Println(found.State, outcome, reasons)
}
