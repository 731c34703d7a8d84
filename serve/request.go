package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"leolm/infer"
	"leolm/sample"
)

// read decodes the body of a request. Unknown fields are ignored, as OpenAI's clients expect.
func read(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Message: "the body did not come in time"}
	case err != nil:
		return bad("", "the body cannot be read: %v", err)
	case len(bytes.TrimSpace(body)) == 0:
		return bad("", "the body is empty; send a JSON object")
	}
	if bytes.TrimSpace(body)[0] != '{' {
		return bad("", "the body must be a JSON object")
	}
	err = json.Unmarshal(body, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		if e.Param == "" {
			e.Param = faulty(body, into)
		}
		return e
	case errors.As(err, &syntax):
		return bad("", "the body is not JSON: %v (byte %d)", syntax, syntax.Offset)
	case errors.As(err, &kind):
		field := embedded.ReplaceAllString(kind.Field, "")
		return bad(field, "%s: a JSON %s does not fit here", field, kind.Value)
	}
	return bad("", "the body cannot be read: %v", err)
}

// faulty finds the field that makes body unreadable as a value like into: types with a reader of their own do not know where
// they are.
func faulty(body []byte, into any) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		one, err := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		if err == nil && json.Unmarshal(one, reflect.New(reflect.TypeOf(into).Elem()).Interface()) != nil {
			return name
		}
	}
	return ""
}

// embedded are structs that only organize the code: encoding/json names them in its errors.
var embedded = regexp.MustCompile(`^((chatRequest|sampling|constrained|thinking|ollamaRequest|embedModel)\.)+`)

// list decodes a list without nulls, which encoding/json would take for zeros.
func list[T any](data []byte) ([]T, bool) {
	var all []*T
	if json.Unmarshal(data, &all) != nil || all == nil {
		return nil, false
	}
	out := make([]T, len(all))
	for i, v := range all {
		if v == nil {
			return nil, false
		}
		out[i] = *v
	}
	return out, true
}

// whole is a whole number. JSON has one kind of number, and some clients write 128.0.
type whole int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *whole) UnmarshalJSON(data []byte) error {
	if v, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		*n = whole(v)
		return nil
	}
	v, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return bad("", "expected a whole number, not %.40s", data)
	}
	if v != math.Trunc(v) || !(math.Abs(v) < 1<<63) {
		return bad("", "%.40s is no whole number of 64 bits", data)
	}
	*n = whole(v)
	return nil
}

// tokenIDs is a JSON list of ids of tokens.
type tokenIDs []int32

// UnmarshalJSON implements json.Unmarshaler.
func (t *tokenIDs) UnmarshalJSON(data []byte) error {
	*t = nil
	if string(data) == "null" {
		return nil
	}
	ids, ok := idList(data)
	if !ok {
		return bad("", "expected a list of token ids")
	}
	*t = ids
	return nil
}

// idList decodes a list of token ids.
func idList(data []byte) ([]int32, bool) {
	numbers, ok := list[whole](data)
	ids := make([]int32, len(numbers))
	for i, n := range numbers {
		if ids[i] = int32(n); int64(ids[i]) != int64(n) {
			return nil, false
		}
	}
	return ids, ok
}

// check refuses ids outside of a vocabulary.
func (t tokenIDs) check(field string, vocab int) error {
	for i, id := range t {
		if id < 0 || int(id) >= vocab {
			return bad(field, "%s: %d at position %d is no token id of this model; ids are 0 to %d", field, id, i, vocab-1)
		}
	}
	return nil
}

// biases is a JSON object of numbers by the ids of tokens.
type biases map[string]float64

// UnmarshalJSON implements json.Unmarshaler.
func (b *biases) UnmarshalJSON(data []byte) error {
	*b = nil
	var all map[string]*float64
	if err := json.Unmarshal(data, &all); err != nil {
		return bad("logit_bias", "logit_bias must be an object of numbers by token ids")
	}
	for key, v := range all {
		if v == nil {
			return bad("logit_bias", "logit_bias: null for token %s; it must be a number", key)
		}
		if *b == nil {
			*b = biases{}
		}
		(*b)[key] = *v
	}
	return nil
}

// texts is a JSON value that is one string or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*t = nil
		return nil
	}
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = texts{one}
		return nil
	}
	many, ok := list[string](data)
	if !ok {
		return bad("", "expected a string or a list of strings")
	}
	*t = many
	return nil
}

// prompt is a text or its ids.
type prompt struct {
	text string
	ids  []int32
}

// prompts is a JSON value of OpenAI's older calls: a string, a list of strings, of ids, or of lists of ids.
type prompts []prompt

// UnmarshalJSON implements json.Unmarshaler.
func (p *prompts) UnmarshalJSON(data []byte) error {
	var words texts
	if words.UnmarshalJSON(data) == nil {
		*p = nil
		for _, t := range words {
			*p = append(*p, prompt{text: t})
		}
		return nil
	}
	if ids, ok := idList(data); ok {
		*p = prompts{{ids: ids}}
		return nil
	}
	lists, ok := list[tokenIDs](data)
	if !ok {
		return bad("", "expected a string, a list of strings, a list of token ids, or a list of such lists")
	}
	*p = nil
	for _, ids := range lists {
		*p = append(*p, prompt{ids: append([]int32{}, ids...)})
	}
	return nil
}

// sampling are the fields that chat and completions share. What is absent is the model's own default.
type sampling struct {
	Model             string   `json:"model"`
	N                 *whole   `json:"n"`
	MaxTokens         *whole   `json:"max_tokens"`
	MinTokens         *whole   `json:"min_tokens"`
	Temperature       *float64 `json:"temperature"`
	TopP              *float64 `json:"top_p"`
	TopK              *whole   `json:"top_k"`
	MinP              *float64 `json:"min_p"`
	TypicalP          *float64 `json:"typical_p"`
	RepeatPenalty     *float64 `json:"repeat_penalty"`     // llama.cpp's and Ollama's name
	RepetitionPenalty *float64 `json:"repetition_penalty"` // vLLM's and Hugging Face's
	RepeatLastN       *whole   `json:"repeat_last_n"`      // tokens that the penalties look at; 0: none, -1: all
	PresencePenalty   *float64 `json:"presence_penalty"`
	FrequencyPenalty  *float64 `json:"frequency_penalty"`
	Seed              *whole   `json:"seed"`
	Stop              texts    `json:"stop"`
	StopTokenIDs      tokenIDs `json:"stop_token_ids"`
	LogitBias         biases   `json:"logit_bias"`
	IgnoreEOS         bool     `json:"ignore_eos"`
	CacheSalt         string   `json:"cache_salt"`
	Stream            bool     `json:"stream"`
	StreamOptions     *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`

	moreStops bool // an API without OpenAI's bound on stop strings
}

// Bounds of OpenAI's API.
const (
	maxChoices = 128
	maxStops   = 4
	moreStops  = 64   // of Ollama's API
	maxStop    = 1024 // characters
	maxTop     = 20
)

// check refuses values out of range.
func (f *sampling) check() error {
	within := func(name string, v *float64, lo, hi float64) *Error {
		if v != nil && !(*v >= lo && *v <= hi) {
			return bad(name, "%s is %g; it must be between %g and %g", name, *v, lo, hi)
		}
		return nil
	}
	for _, err := range []*Error{
		within("temperature", f.Temperature, 0, 2),
		within("top_p", f.TopP, 0, 1),
		within("min_p", f.MinP, 0, 1),
		within("typical_p", f.TypicalP, 0, 1),
		within("presence_penalty", f.PresencePenalty, -2, 2),
		within("frequency_penalty", f.FrequencyPenalty, -2, 2),
		within("repeat_penalty", f.RepeatPenalty, 0.01, 10),
		within("repetition_penalty", f.RepetitionPenalty, 0.01, 10),
	} {
		if err != nil {
			return err
		}
	}
	stops := maxStops
	if f.moreStops {
		stops = moreStops
	}
	switch {
	case f.RepeatLastN != nil && *f.RepeatLastN < -1:
		return bad("repeat_last_n", "repeat_last_n is %d; it must be at least -1", *f.RepeatLastN)
	case f.N != nil && (*f.N < 1 || *f.N > maxChoices):
		return bad("n", "n is %d; it must be between 1 and %d", *f.N, maxChoices)
	case f.TopK != nil && *f.TopK < -1:
		return bad("top_k", "top_k is %d; it must not be negative", *f.TopK)
	case f.MinTokens != nil && *f.MinTokens < 0:
		return bad("min_tokens", "min_tokens is %d; it must not be negative", *f.MinTokens)
	case len(f.Stop) > stops:
		return bad("stop", "%d stop strings; there may be %d", len(f.Stop), stops)
	case f.StreamOptions != nil && !f.Stream:
		return bad("stream_options", "stream_options are for streams; set stream to true")
	}
	for _, s := range f.Stop {
		if n := utf8.RuneCountInString(s); n == 0 || n > maxStop {
			return bad("stop", "a stop string of %d characters; it must have between 1 and %d", n, maxStop)
		}
	}
	return nil
}

// choices is how many answers are asked for.
func (f *sampling) choices() int {
	if f.N == nil {
		return 1
	}
	return int(*f.N)
}

// params are the sampling parameters for m.
func (f *sampling) params(m *model) (sample.Params, error) {
	p := m.Sampling.Params
	set := func(to *float64, from *float64) {
		if from != nil {
			*to = *from
		}
	}
	set(&p.Temperature, f.Temperature)
	set(&p.TopP, f.TopP)
	set(&p.MinP, f.MinP)
	set(&p.TypicalP, f.TypicalP)
	set(&p.RepetitionPenalty, f.RepetitionPenalty)
	set(&p.RepetitionPenalty, f.RepeatPenalty)
	set(&p.PresencePenalty, f.PresencePenalty)
	set(&p.FrequencyPenalty, f.FrequencyPenalty)
	if f.TopP != nil && *f.TopP == 0 {
		p.TopP = math.SmallestNonzeroFloat64 // only the most probable token; to the sampler, 0 is off
	}
	if f.TopK != nil {
		p.TopK = int(max(*f.TopK, 0))
	}
	switch n := f.RepeatLastN; {
	case n == nil:
	case *n == 0:
		p.RepetitionPenalty, p.PresencePenalty, p.FrequencyPenalty = 0, 0, 0
	default:
		p.PenaltyWindow = int(max(*n, 0))
	}
	if f.MinTokens != nil {
		p.MinNewTokens = int(*f.MinTokens)
	}
	p.Seed = rand.Uint64()
	if f.Seed != nil {
		p.Seed = uint64(*f.Seed)
	}
	for key, v := range f.LogitBias {
		id, err := strconv.ParseInt(strings.TrimSpace(key), 10, 32)
		if err != nil || id < 0 || int(id) >= m.Engine.Model().Vocab {
			return p, bad("logit_bias", "logit_bias: %q is no token id of this model; ids are 0 to %d", key, m.Engine.Model().Vocab-1)
		}
		if !(v >= -100 && v <= 100) {
			return p, bad("logit_bias", "logit_bias: %g for token %d; it must be between -100 and 100", v, id)
		}
		if p.LogitBias == nil {
			p.LogitBias = map[int32]float32{}
		}
		p.LogitBias[int32(id)] = float32(v)
	}
	return p, p.Check()
}

// request makes what the scheduler needs, without prompt and constraint. limit is the largest number of new tokens, 0 for
// the rest of the context.
func (f *sampling) request(m *model, tenant string, limit int) (*infer.Request, error) {
	p, err := f.params(m)
	if err != nil {
		return nil, asBad(err)
	}
	r := &infer.Request{
		Params: p, MaxNewTokens: limit, TopLogProbs: -1, Stops: append([]string(nil), f.Stop...),
		Tenant: tenant, Salt: f.CacheSalt,
	}
	if !f.IgnoreEOS {
		r.StopIDs = append(r.StopIDs, m.StopIDs...)
		r.Stops = append(r.Stops, m.StopStrings...)
	}
	if err := f.StopTokenIDs.check("stop_token_ids", m.Engine.Model().Vocab); err != nil {
		return nil, err
	}
	r.StopIDs = append(r.StopIDs, f.StopTokenIDs...)
	if f.Stream {
		r.Unread = maxUnread
	}
	return r, nil
}

// maxUnread is how many tokens of a stream may wait for its client before the answer pauses.
const maxUnread = 256

// asBad is a mistake in the request, whatever room below has found it.
func asBad(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return bad("", "%v", err)
}

// copies returns n requests like r that differ in their seeds.
func copies(r *infer.Request, n int) []*infer.Request {
	out := []*infer.Request{r}
	for i := 1; i < n; i++ {
		c := *r
		c.Params.Seed += uint64(i)
		out = append(out, &c)
	}
	return out
}
