package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"leolm/serve"
)

// A server for the embedded model inside another program.
func ExampleNew() {
	s, err := serve.New(context.Background(), serve.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	web := httptest.NewServer(s)
	defer web.Close()

	body := `{"messages": [{"role": "user", "content": "Wie heißt du?"}], "temperature": 0}`
	r, err := http.Post(web.URL+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Body.Close()
	var answer struct {
		Model   string
		Choices []struct {
			Message struct{ Role, Content string }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Model, answer.Choices[0].Message.Role)
	// Output: leo-mini assistant
}
