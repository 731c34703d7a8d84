package serve

import (
	"encoding/json"
	"testing"
)

// The choices of a stream begin in order, whichever has the first token first.
func TestChoicesBeginInOrder(t *testing.T) {
	_, url := newTest(t, Config{})
	for range 30 {
		seen := 0
		for _, e := range sse(t, url+"/v1/chat/completions", `{"messages":[{"role":"user","content":"Hallo"}],"n":6,"stream":true,"temperature":1,"max_tokens":2}`) {
			var c chunk
			if err := json.Unmarshal([]byte(e), &c); err != nil {
				continue // [DONE]
			}
			for _, ch := range c.Choices {
				if ch.Index > seen {
					t.Fatalf("choice %d comes before choice %d", ch.Index, seen)
				}
				if ch.Index == seen {
					seen++
				}
			}
		}
		if seen != 6 {
			t.Fatalf("%d choices", seen)
		}
	}
}
