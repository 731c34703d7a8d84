package eval

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"leolm/chat"
	"leolm/infer"
	"leolm/internal/llmclient"
)

// Model is a model under evaluation: it answers, and says how likely texts are. A *Local is one, of files or of a training
// that goes on, an *Endpoint another.
type Model interface {
	Generator
	Scorer
}

// Generator answers many requests at once.
type Generator interface {
	// Identity says what answers; it is the same for the lifetime of the generator.
	Identity() Identity
	// Generate answers every request. done is called once for each of them, one call at a time, as they finish, with the
	// index of the request: what it stored is kept when the run ends early. A request that alone fails ends with
	// Answer.Err; Generate returns an error where nothing more can be had: ctx's end, done's error, a model or an
	// endpoint that is gone. An answer depends on its request only, not on those beside it.
	Generate(ctx context.Context, reqs []Request, done func(i int, a Answer) error) error
}

// Scorer measures how likely texts are.
type Scorer interface {
	Identity() Identity
	// Score measures each continuation after its context, as lm-evaluation-harness' loglikelihood. done is called as in
	// Generator.Generate. Requests may come in any order; results do not depend on it.
	Score(ctx context.Context, reqs []ScoreRequest, done func(i int, s Score) error) error
	// ScoreRolling measures whole texts, each token once and with as much context as the window holds, as
	// lm-evaluation-harness' loglikelihood_rolling.
	ScoreRolling(ctx context.Context, texts []string, done func(i int, s Score) error) error
}

// Request is one text to be generated.
type Request struct {
	// ID names the request in messages, and where replies are replayed from a file.
	ID string
	// Messages are a conversation whose next turn is asked for. Without any, Prompt is continued as it stands.
	Messages []chat.Message
	Prompt   string
	// Standing asks for the answer as its tokens are decoded by themselves, which with vocabularies of SentencePiece's kind
	// leaves out the space before its first word: lm-evaluation-harness compares answers in this form. An endpoint does as
	// it does.
	Standing bool

	Temperature  float64 // 0 is greedy
	MaxNewTokens int     // 0: as many as the context holds
	Seed         uint64
	Stops        []string // the answer ends before the first of them
}

// Answer is what came of a Request.
type Answer struct {
	Text         string
	Finish       string  // "stop", "length" (MaxNewTokens), "context" (the window is full), or what an endpoint says
	PromptTokens int     // 0 if an endpoint does not say
	NewTokens    int     // 0 if an endpoint does not say
	Seconds      float64 // until it was finished, waiting included
	Attempts     int     // requests that it took; 1 for a local model
	// Err says why there is no answer; Text then holds what came before.
	Err error
}

// CutOff reports whether the answer ended because there was no room for more of it.
func (a *Answer) CutOff() bool { return a.Finish == "length" || a.Finish == "context" }

// ScoreRequest asks for the likelihood of a continuation. White space at the end of the context counts as the beginning of
// the continuation; with an empty context the model's prefix token stands before it.
type ScoreRequest struct{ Context, Continuation string }

// Refused reports whether err is a model's last word about one request, which it would not take the next time either: it does
// not fit into the context, say, or an endpoint calls it invalid.
func Refused(err error) bool {
	var long *infer.ContextError
	var token *infer.TokenError
	var template *templateError
	var api *llmclient.APIError
	if errors.As(err, &api) {
		return api.Status == http.StatusBadRequest || api.Status == http.StatusRequestEntityTooLarge || api.Status == http.StatusUnprocessableEntity
	}
	return errors.As(err, &long) || errors.As(err, &token) || errors.As(err, &template)
}

// Score is a log-likelihood.
type Score struct {
	LogProb float64 // sum over the tokens, in nats
	Tokens  int     // that were scored
	// Greedy reports that every token was the most probable one at its place.
	Greedy bool
	// Uneven reports that the tokens of context and continuation together do not begin with those of the context: the two
	// were parted by the number of tokens, as the harness does.
	Uneven bool
	// Alone reports that nothing was left behind the tokens of the context, so that the continuation was encoded alone.
	Alone bool
	// Dropped is the number of tokens of the context that the window had no room for.
	Dropped int
	// Err says why there is no score; the other fields then mean nothing.
	Err error
}

// Identity says which model gave a result: enough to tell two of them apart, and to find one again.
type Identity struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "local", "endpoint", "replay"
	// Weights and Tokenizer are fingerprints; Template is the chat template's name and the hash of its text.
	Weights   string `json:"weights,omitempty"`
	Tokenizer string `json:"tokenizer,omitempty"`
	Template  string `json:"template,omitempty"`
	// Adapters are applied to the weights, each with its strength.
	Adapters []string `json:"adapters,omitempty"`
	Shape    string   `json:"shape,omitempty"`   // of the weights, for people
	Context  int      `json:"context,omitempty"` // largest number of tokens
	BOS      string   `json:"bos,omitempty"`     // of plain prompts and scores: "auto", "never", "always"
	// URL is an endpoint's address; Hash is that of replayed replies.
	URL  string `json:"url,omitempty"`
	Hash string `json:"hash,omitempty"`
}

// String is a short form for messages.
func (id Identity) String() string {
	if id.URL != "" {
		return strings.TrimSpace(id.Name + " at " + id.URL)
	}
	return id.Name
}

// renamed is a generator under another name.
type renamed struct {
	Generator
	name string
}

// Rename returns g with another name in its identity.
func Rename(g Generator, name string) Generator { return renamed{g, name} }

// Identity implements Generator.
func (r renamed) Identity() Identity {
	id := r.Generator.Identity()
	id.Name = r.name
	return id
}

// splitContext moves the white space at the end of the context to the continuation: a token that begins with a space is
// another than a space and a token.
func splitContext(r ScoreRequest) (before, after string) {
	before = strings.TrimRight(r.Context, " \t\n\v\f\r\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\x1c\x1d\x1e\x1f")
	return before, r.Context[len(before):] + r.Continuation
}
