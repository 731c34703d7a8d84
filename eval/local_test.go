package eval

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"leolm/catalog"
	"leolm/chat"
	"leolm/infer"
	"leolm/open"
	"leolm/tensor"
)

// mini opens the embedded model.
func mini(t *testing.T, context int) *open.Model {
	t.Helper()
	m, err := open.Open(t.Context(), "", open.Options{Context: context, Together: 8, CacheType: tensor.F32})
	if errors.Is(err, catalog.ErrNoModel) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func questions() []Request {
	var reqs []Request
	for i, q := range []string{"Was ist ein Vulkan?", "Wo schläft die Katze?", "Was ist ein Vulkan?", "Erzähle mir etwas über den Mond."} {
		for choice := range 2 {
			reqs = append(reqs, Request{
				Messages: []chat.Message{{Role: chat.User, Content: q}}, Temperature: float64(i%2) * 2, Seed: uint64(choice), MaxNewTokens: 12 + i,
			})
		}
	}
	return append(reqs, Request{Prompt: "Der Mond", MaxNewTokens: 5, Stops: []string{"."}})
}

func generate(t *testing.T, g Generator, reqs []Request) []Answer {
	t.Helper()
	out := make([]Answer, len(reqs))
	n := 0
	err := g.Generate(t.Context(), reqs, func(i int, a Answer) error {
		if out[i].Finish != "" {
			t.Errorf("request %d was answered twice", i)
		}
		out[i] = a
		n++
		return nil
	})
	if err != nil || n != len(reqs) {
		t.Fatalf("%d of %d answers: %v", n, len(reqs), err)
	}
	return out
}

func TestAnswersDoNotDependOnTheirNeighbors(t *testing.T) {
	l := NewLocal(mini(t, 256), LocalOptions{})
	defer l.Close()
	reqs := questions()
	all := generate(t, l, reqs)
	for i := range slices.Backward(reqs) {
		alone := generate(t, l, reqs[i:i+1])[0]
		if alone.Text != all[i].Text || alone.Finish != all[i].Finish || alone.NewTokens != all[i].NewTokens {
			t.Errorf("request %d: %q alone, %q among others", i, alone.Text, all[i].Text)
		}
		if all[i].Text == "" || all[i].NewTokens == 0 || all[i].PromptTokens == 0 {
			t.Errorf("request %d: %+v", i, all[i])
		}
	}
	if all[0].Text != all[1].Text {
		t.Error("greedy answers of two seeds differ")
	}
	if all[2].Text == all[3].Text {
		t.Error("drawn answers of two seeds are equal")
	}
	if !all[0].CutOff() || all[0].NewTokens != 12 {
		t.Errorf("an answer of 12 tokens: %+v", all[0])
	}
}

func TestOneBadRequestDoesNotStopTheOthers(t *testing.T) {
	l := NewLocal(mini(t, 64), LocalOptions{})
	defer l.Close()
	long := ""
	for range 100 {
		long += "Der Mond scheint hell. "
	}
	got := generate(t, l, []Request{{Prompt: "Der Mond", MaxNewTokens: 3}, {Prompt: long, MaxNewTokens: 3}, {Prompt: "Die Katze", MaxNewTokens: 3}})
	var tooLong *infer.ContextError
	if !errors.As(got[1].Err, &tooLong) || got[0].Err != nil || got[2].Err != nil || got[2].NewTokens != 3 {
		t.Errorf("%+v", got)
	}
	stop := errors.New("stop")
	if err := l.Generate(t.Context(), questions(), func(int, Answer) error { return stop }); err != stop {
		t.Errorf("the error of the callback became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Generate(ctx, []Request{{Prompt: "Der", MaxNewTokens: 2}, {Prompt: "Die", MaxNewTokens: 60}}, func(int, Answer) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	generate(t, l, []Request{{Prompt: "Der Mond", MaxNewTokens: 3}}) // it goes on after both
}

func score(t *testing.T, s Scorer, reqs ...ScoreRequest) []Score {
	t.Helper()
	out := make([]Score, len(reqs))
	if err := s.Score(t.Context(), reqs, func(i int, v Score) error { out[i] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestScoresAreThoseOfTheEngine(t *testing.T) {
	m := mini(t, 128)
	reqs := []ScoreRequest{
		{"Frage: Was scheint am Himmel?\nAntwort:", " der Mond"},
		{"Frage: Was scheint am Himmel?\nAntwort: ", "der Mond"}, // the same, however the space is given
		{"Frage: Was scheint am Himmel?\nAntwort:", " die Katze"},
		{"", "Der Mond"},
	}
	context := m.Tokenizer.AppendTokens(nil, reqs[0].Context)
	ids := m.Tokenizer.AppendTokens(nil, reqs[0].Context+reqs[0].Continuation)
	s := m.Engine.NewSession()
	lps, err := m.Engine.Score(t.Context(), s, ids)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for _, lp := range lps[len(context):] {
		want += float64(lp)
	}
	s.Close()
	l := NewLocal(m, LocalOptions{BOS: chat.BOSNever})
	defer l.Close()
	got := score(t, l, reqs...)
	if got[0] != got[1] {
		t.Errorf("a space before or behind the join: %+v, %+v", got[0], got[1])
	}
	if math.Abs(got[0].LogProb-want) > 1e-4 || got[0].Tokens != len(ids)-len(context) {
		t.Errorf("%+v, the engine has %g over %d tokens", got[0], want, len(ids)-len(context))
	}
	if got[3].Tokens == 0 || got[3].LogProb >= 0 {
		t.Errorf("without context: %+v", got[3])
	}
	// In any company and order, the same bits.
	for i, r := range reqs {
		if alone := score(t, l, r)[0]; alone != got[i] {
			t.Errorf("request %d: %+v alone, %+v among others", i, alone, got[i])
		}
	}
	// What a greedy answer says is greedy, and nothing else.
	a := generate(t, l, []Request{{Prompt: "Es war", MaxNewTokens: 4}})[0]
	if g := score(t, l, ScoreRequest{"Es war", a.Text}, ScoreRequest{"Es war", " Xylophon"}); !g[0].Greedy || g[1].Greedy {
		t.Errorf("greedy %q: %+v", a.Text, g)
	}
}

func TestLongContextsAreCutAtTheirBeginning(t *testing.T) {
	m := mini(t, 32)
	l := NewLocal(m, LocalOptions{BOS: chat.BOSNever})
	defer l.Close()
	long := ""
	for range 30 {
		long += "Der Mond scheint hell. "
	}
	got := score(t, l, ScoreRequest{long, "Die Katze schläft."}, ScoreRequest{"Der", long}, ScoreRequest{"Der", ""})
	if got[0].Err != nil || got[0].Dropped == 0 || got[0].LogProb >= 0 {
		t.Errorf("%+v", got[0])
	}
	var tooLong *infer.ContextError
	if !errors.As(got[1].Err, &tooLong) {
		t.Errorf("a continuation longer than the window: %+v", got[1])
	}
	if got[2].Err == nil {
		t.Errorf("an empty continuation: %+v", got[2])
	}
}

func TestRollingWindows(t *testing.T) {
	// The harness' example: tokens 0…9 and a window of 4 are scored as 4 + 4 + 2. Positions count the prefix token.
	want := []window{{0, 1, 5}, {4, 5, 9}, {6, 9, 11}}
	if got := rollingWindows(10, 4); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for n := range 40 {
		for size := 1; size < 12; size++ {
			next := 1
			for _, w := range rollingWindows(n, size) {
				if w.from != next || w.end-1-w.begin > size || w.from <= w.begin {
					t.Fatalf("%d tokens, window %d: %v", n, size, w)
				}
				next = w.end
			}
			if next != n+1 {
				t.Fatalf("%d tokens, window %d: scored up to %d", n, size, next)
			}
		}
	}
	l := NewLocal(mini(t, 64), LocalOptions{})
	defer l.Close()
	const short = "Der Mond scheint hell über dem Wald."
	long := strings.Repeat("Die Katze schläft auf der Mauer, und der Wind geht. ", 20)
	rolling := func(texts ...string) []Score {
		t.Helper()
		got := make([]Score, len(texts))
		if err := l.ScoreRolling(t.Context(), texts, func(i int, s Score) error { got[i] = s; return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := rolling(long, short, "", long+short, short)
	one := score(t, l, ScoreRequest{"", short})[0]
	if math.Abs(got[1].LogProb-one.LogProb) > 1e-6 || got[1].Tokens != one.Tokens || got[4] != got[1] || got[2].Err == nil {
		t.Errorf("%+v, in one window %+v", got, one)
	}
	if n := len(l.m.Tokenizer.AppendTokens(nil, long)); got[0].Tokens != n || n < 200 || got[0].Err != nil {
		t.Errorf("%d tokens: %+v", n, got[0])
	}
	if alone := rolling(long + short)[0]; alone != got[3] {
		t.Errorf("%+v alone, %+v among others", alone, got[3])
	}
}

// What is scored from one place on behind one text is a group, unless that text is short.
func TestGroupsOf(t *testing.T) {
	long, short := slices.Repeat([]int32{5}, choiceTokens), []int32{5}
	item := func(before []int32, from int, rest ...int32) scoreItem {
		return scoreItem{ids: append(slices.Clone(before), rest...), from: from}
	}
	items := []scoreItem{
		{}, item(short, 1, 7), item(short, 1, 8),
		item(long, choiceTokens, 1), item(long, choiceTokens, 1, 2), item(long, choiceTokens, 2), item(long, choiceTokens+1, 2, 3),
	}
	for range mostChoices + 1 {
		items = append(items, item(long, choiceTokens+1, 4, 4))
	}
	var sizes []int
	for _, g := range groupsOf(items) {
		sizes = append(sizes, len(g))
	}
	if want := []int{1, 1, 1, 3, 1, mostChoices, 1}; !slices.Equal(sizes, want) {
		t.Errorf("groups of %v, want %v", sizes, want)
	}
}

// Who waits for whom: always for the first with the longest common beginning.
func TestLeaders(t *testing.T) {
	text := func(parts ...int32) []scoreItem { // every part stands for as many tokens as count as shared
		var ids []int32
		for _, p := range parts {
			ids = append(ids, slices.Repeat([]int32{p}, sharedTokens)...)
		}
		return []scoreItem{{ids: ids}}
	}
	groups := [][]scoreItem{
		text(1, 1, 1), text(1, 1, 2), text(1, 1, 3), // a question with three choices
		text(1, 2, 1), text(1, 2, 2), // another with the same shots
		text(1, 2, 2, 1), text(1, 3),
		text(2), text(2, 1), text(3), {{ids: []int32{3, 3, 4}}}, {{}},
	}
	want := []int{-1, 0, 0, 0, 3, 4, 0, -1, 7, -1, -1, -1}
	if got := leaders(groups); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestArtifactSurvivesItsFile(t *testing.T) {
	dir := t.TempDir()
	a := NewArtifact("test", Identity{Name: "m"}, Software{Version: "1"})
	nan := math.NaN()
	a.Add(Metric{Name: "acc", Value: &nan})
	half := 0.5
	a.Add(Metric{Name: "acc", Group: "g", Value: &half, N: 2})
	path := dir + "/result.json"
	if err := a.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if err := a.AddRaw(dir, "result.json"); err != nil || len(a.Raw[0].Hash) != 64 {
		t.Errorf("%v %v", a.Raw, err)
	}
	b, err := ReadArtifact(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := b.Metric("acc", ""); !ok || m.Value != nil {
		t.Error("NaN became a number")
	}
	if m, ok := b.Metric("acc", "g"); !ok || *m.Value != half {
		t.Error("a metric is lost")
	}
	a.Version = ArtifactVersion + 1
	if err := a.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	var not *NotArtifactError
	if _, err := ReadArtifact(t.Context(), path); !errors.As(err, &not) || not.Version != ArtifactVersion+1 {
		t.Errorf("a newer version: %v", err)
	}
}
