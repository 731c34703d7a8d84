package tokenizer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"leolm/internal/bounded/boundtest"
)

// withNormalizer is a tokenizer.json of a few pieces with a normalizer and a decoder.
func withNormalizer(normalizer, decoder string) []byte {
	return fmt.Appendf(nil, `{"version":"1.0","added_tokens":[{"id":0,"content":"<s>","special":true}],"normalizer":%s,"pre_tokenizer":null,"post_processor":null,"decoder":%s,
	"model":{"type":"BPE","unk_token":"<s>","vocab":{"<s>":0,"a":1,"b":2,"X":3,"▁":4},"merges":[]}}`, normalizer, decoder)
}

func replaceStep(from, to string) string {
	f, _ := json.Marshal(from)
	c, _ := json.Marshal(to)
	return fmt.Sprintf(`{"type":"Replace","pattern":{"String":%s},"content":%s}`, f, c)
}

func sequence(steps ...string) string {
	return `{"type":"Sequence","normalizers":[` + strings.Join(steps, ",") + `]}`
}

// A normalizer must not make gigabytes out of one letter.
func TestNormalizerGrowth(t *testing.T) {
	a500 := strings.Repeat("a", 500)
	regex := `{"type":"Replace","pattern":{"Regex":"a"},"content":"` + a500 + `"}`
	for name, c := range map[string]struct {
		normalizer string
		ok         bool
	}{
		"twice 500":           {sequence(replaceStep("a", a500), replaceStep("a", a500)), false},
		"by an expression":    {sequence(regex, regex), false},
		"nested":              {sequence(sequence(replaceStep("a", a500)), sequence(regex)), false},
		"doubled ten times":   {sequence(strings.Split(strings.TrimSuffix(strings.Repeat(replaceStep("a", "aa")+"|", 10), "|"), "|")...), false},
		"one of 2000":         {replaceStep("a", strings.Repeat("b", 2000)), false},
		"prepended megabytes": {sequence(`{"type":"Prepend","prepend":"` + strings.Repeat("b", 2<<20) + `"}`), false},
		"once 500":            {replaceStep("a", a500), true},
		"by one expression":   {`{"type":"Replace","pattern":{"Regex":"a{2,}"},"content":"▁"}`, true},
		"published":           {sequence(`{"type":"NFKC"}`, replaceStep("``", `"`), `{"type":"Lowercase"}`, `{"type":"Prepend","prepend":"▁"}`, replaceStep(" ", "▁")), true},
	} {
		_, err := FromJSON(withNormalizer(c.normalizer, "null"), Options{})
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "times as long") {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := strings.TrimSuffix(strings.Repeat(replaceStep("a", "aaaaaaaa")+",", 20), ",")
	if _, err := FromJSON(withNormalizer("null", `{"type":"Sequence","decoders":[`+many+`]}`), Options{}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a decoder without bound: %v", err)
	}
	charsmap := append(binary.LittleEndian.AppendUint32(nil, 4), 0, 0, 0, 0)
	if _, err := newSPNormalizer(append(charsmap, strings.Repeat("a", maxGrowth+1)+"\x00"...)); err == nil {
		t.Error("a replacement of a charsmap without bound is taken")
	}
}

// What tokenizer.json can say of normalizers and decoders stays in memory and time.
func FuzzNormalizers(f *testing.F) {
	f.Add(`{"type":"Replace","pattern":{"String":"a"},"content":"aaa"}`, "aab")
	f.Add(sequence(`{"type":"NFKC"}`, `{"type":"Replace","pattern":{"Regex":"(a+)+b|c"},"content":"X"}`), "caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!c")
	f.Add(sequence(`{"type":"Strip","strip_left":true}`, `{"type":"Prepend","prepend":"x"}`, `{"type":"StripAccents"}`), "  äb")
	f.Fuzz(func(t *testing.T, normalizer, text string) {
		if len(text) > 1000 || len(normalizer) > 4000 {
			return
		}
		boundtest.Run(t, 1<<30, 20*time.Second, func() {
			tok, err := FromJSON(withNormalizer(normalizer, "null"), Options{})
			if err != nil {
				return
			}
			tok.AppendTokens(nil, text)
		})
	})
}
