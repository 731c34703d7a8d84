package catalog

import (
	"testing"

	"leolm/checkpoint"
	"leolm/sample"
)

// What the files recommend changes Leo's default, unless they say that nothing shall be drawn.
func TestRecommendedSampling(t *testing.T) {
	leo, err := sample.FindPreset("leo")
	if err != nil {
		t.Fatal(err)
	}
	for text, change := range map[string]func(*sample.Params){
		`{"eos_token_id": 2}`:               func(*sample.Params) {},
		`{"temperature": 0.3, "top_k": 20}`: func(p *sample.Params) { p.Temperature, p.TopK = 0.3, 20 },
		`{"do_sample": true, "temperature": 0, "top_p": 0.6, "min_p": 0, "typical_p": 0.9, "repetition_penalty": 1.2}`: func(p *sample.Params) {
			p.Temperature, p.TopP, p.MinP, p.TypicalP, p.RepetitionPenalty = 0, 0.6, 0, 0.9, 1.2
		},
		`{"do_sample": false, "temperature": 0.9, "top_p": 0.6}`: func(*sample.Params) {},
	} {
		g, err := checkpoint.ParseGeneration([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, want := leo.Params, leo.Params
		recommended(&got, &g)
		change(&want)
		if got.Temperature != want.Temperature || got.TopK != want.TopK || got.TopP != want.TopP || got.MinP != want.MinP ||
			got.TypicalP != want.TypicalP || got.RepetitionPenalty != want.RepetitionPenalty {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}
