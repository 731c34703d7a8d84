package apikey

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keyFile writes a file with one key and returns its path and the key.
func keyFile(t *testing.T, rest string) (path, secret string) {
	t.Helper()
	secret, line, err := New("alice")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("# comment\n\n"+line+rest+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, secret
}

func mustOpen(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, func(err error) { t.Logf("told: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFind(t *testing.T) {
	path, secret := keyFile(t, " admin")
	bob, line, err := New("bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(path, line); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, path)
	if k := f.Find(secret); k == nil || k.Name != "alice" || !k.Admin() {
		t.Errorf("alice: %+v", k)
	}
	if k := f.Find(bob); k == nil || k.Name != "bob" || k.Admin() {
		t.Errorf("bob: %+v", k)
	}
	for _, no := range []string{"", "x", secret[:len(secret)-1], secret + "x", strings.ToUpper(secret), strings.Repeat("x", 10000), strings.TrimPrefix(line, "bob: sha256:")} {
		if k := f.Find(no); k != nil {
			t.Errorf("%.80q is %s", no, k.Name)
		}
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), secret) || strings.Contains(string(text), bob) {
		t.Errorf("the file holds a key: %s, %v", text, err)
	}
}

func TestMistakesInFiles(t *testing.T) {
	secret, good, _ := New("alice")
	hex := strings.TrimPrefix(good, "alice: ")
	for _, c := range []struct{ text, want string }{
		{"alice", ":1: want NAME"},
		{"\n\nalice " + hex, ":3: want NAME"},
		{"a b: " + hex, ":1: want NAME"},
		{"-x: " + hex, ":1: want NAME"},
		{"alice: " + secret, ":1: want sha256:"},
		{"alice: sha256:00", ":1: want sha256:"},
		{good + "\n" + good, ":2: the name is that of line 1"},
		{good + "\nbob: " + hex, ":2: this is the key of line 1"},
		{good + " root", ":1: word 3: want admin"},
		{good + " admin requests=0", ":1: word 4: want"},
		{good + " tokens=-1", ":1: word 3"},
		{good + " concurrent=" + strings.Repeat("9", 30), ":1: word 3"},
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, nil)
		var fe *FileError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
	for _, name := range []string{"", "a b", "ä", strings.Repeat("x", 65), "a:b", "#x"} {
		if _, _, err := New(name); err == nil {
			t.Errorf("%q is taken as a name", name)
		}
	}
}

// A changed file counts without a restart, a broken or missing one does not, and what a key has used stays used.
func TestReload(t *testing.T) {
	path, secret := keyFile(t, " requests=2")
	var told []error
	f, err := Open(path, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	old := f.Find(secret)
	if _, err := old.Begin(); err != nil {
		t.Fatal(err)
	}
	again := func() { f.checked = time.Time{} }
	text, _ := os.ReadFile(path)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		again()
	}
	write("broken")
	if f.Find(secret) != old || len(told) != 1 {
		t.Errorf("a broken file: %d told", len(told))
	}
	again()
	if f.Find(secret) != old || len(told) != 1 {
		t.Errorf("a broken file is told %d times", len(told))
	}
	bob, line, _ := New("bob")
	write(strings.Replace(string(text), "requests=2", "requests=3 admin", 1) + line + "\n")
	if k := f.Find(bob); k == nil || f.Len() != 2 {
		t.Error("a new key does not count")
	}
	if f.Find(secret) != old || !old.Admin() || old.requests.level > 2.1 || old.limits.RequestsPerMinute != 3 {
		t.Errorf("alice after the change: %+v", old)
	}
	write(line + "\n")
	if f.Find(secret) != nil {
		t.Error("a removed key still counts")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	again()
	if f.Find(bob) == nil || len(told) != 2 {
		t.Errorf("a missing file: %d told", len(told))
	}
}

// A link that points to another file is a change.
func TestReloadAfterSwap(t *testing.T) {
	one, secret := keyFile(t, "")
	two, other := keyFile(t, "")
	link := filepath.Join(t.TempDir(), "keys")
	if err := os.Symlink(one, link); err != nil {
		t.Skip(err)
	}
	f := mustOpen(t, link)
	if f.Find(secret) == nil {
		t.Fatal("not found")
	}
	if err := errors.Join(os.Remove(link), os.Symlink(two, link)); err != nil {
		t.Fatal(err)
	}
	f.checked = time.Time{}
	if f.Find(other) == nil || f.Find(secret) != nil {
		t.Error("the swap was missed")
	}
}

func TestRequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, secret := keyFile(t, " requests=3")
		k := mustOpen(t, path).Find(secret)
		for i := range 3 {
			u, err := k.Begin()
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			u.End(0)
		}
		_, err := k.Begin()
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Wait != 20*time.Second || limit.Limit != 3 {
			t.Fatalf("the fourth: %v", err)
		}
		time.Sleep(limit.Wait)
		u, err := k.Begin()
		if err != nil {
			t.Fatalf("after waiting: %v", err)
		}
		if r, tokens := u.State(); r.Limit != 3 || r.Remaining != 0 || r.Reset != time.Minute || tokens.Limit != 0 {
			t.Errorf("state %+v, %+v", r, tokens)
		}
	})
}

func TestConcurrent(t *testing.T) {
	path, secret := keyFile(t, " concurrent=2")
	k := mustOpen(t, path).Find(secret)
	a, err1 := k.Begin()
	_, err2 := k.Begin()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	var limit *LimitError
	if _, err := k.Begin(); !errors.As(err, &limit) || limit.What != "requests at a time" {
		t.Errorf("the third: %v", err)
	}
	a.End(5)
	a.End(5)
	if _, err := k.Begin(); err != nil {
		t.Errorf("after one ended: %v", err)
	}
	if _, err := k.Begin(); err == nil {
		t.Error("an end counted twice")
	}
}

// Requests at the same time do not go over the limit together: what they may use is reserved, and what they did not use
// comes back.
func TestTokensAreReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, secret := keyFile(t, " tokens=1000")
		k := mustOpen(t, path).Find(secret)
		var wg sync.WaitGroup
		admitted := make(chan *Use, 5)
		for range 5 {
			wg.Go(func() {
				u, err := k.Begin()
				if err != nil {
					t.Error(err)
					return
				}
				if err := u.Reserve(100, 400); err != nil {
					u.End(0)
					return
				}
				admitted <- u
			})
		}
		wg.Wait()
		close(admitted)
		if len(admitted) != 2 {
			t.Fatalf("%d of 5 admitted, with 1000 tokens and 400 each", len(admitted))
		}
		(<-admitted).End(150)
		if _, s := (&Use{key: k}).State(); s.Remaining != 450 {
			t.Errorf("%d left, want 450", s.Remaining)
		}
		(<-admitted).End(1400) // more than reserved: the debt stays
		u, _ := k.Begin()
		var limit *LimitError
		if err := u.Reserve(1, 1); !errors.As(err, &limit) || limit.Wait < 33*time.Second || limit.Wait > 34*time.Second {
			t.Errorf("in debt: %v", err)
		}
		if err := u.Reserve(1001, 1001); !errors.As(err, &limit) || limit.Wait != 0 {
			t.Errorf("too large for any minute: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := u.Reserve(10, 100_000); err != nil {
			t.Errorf("what may need more than a minute's worth: %v", err)
		}
		if _, s := u.State(); s.Remaining != 0 {
			t.Errorf("%d left beside it", s.Remaining)
		}
	})
}

func FuzzParse(f *testing.F) {
	_, line, _ := New("alice")
	f.Add([]byte(line + " admin requests=60 tokens=20000 concurrent=4\n# x\n"))
	f.Add([]byte("a: sha256:"))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parse("keys", text)
		if err == nil {
			for _, e := range entries {
				if !validName.MatchString(e.key.Name) {
					t.Errorf("name %q", e.key.Name)
				}
			}
		} else if fmt.Sprint(err) == "" {
			t.Error("an error without words")
		}
	})
}
