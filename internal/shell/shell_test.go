package shell

import (
	"os/exec"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	words := []string{
		"leo", "/opt/leo-1.2/bin/leo", "--set=output=out/a,b", "10:00", "+x%j", "", "two words", "it's", "''", "$HOME", "`id`", "a;b", "a&b", "*", "~", "#a",
		"a\nb", `back\slash`, `"`, "ä", "!x", "{a,b}", "<a>", "(a)", "-",
	}
	script := "printf '%s\\0'"
	for _, w := range words {
		script += " " + Quote(w)
	}
	if q := Quote("/a/b-c_d.e=f,g:h%i+"); q != "/a/b-c_d.e=f,g:h%i+" {
		t.Errorf("a plain word was quoted: %s", q)
	}
	if q := Quote("it's"); q != `'it'\''s'` {
		t.Error(q)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(sh, "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(words, "\x00") + "\x00"; string(out) != want {
		t.Errorf("a shell reads %q, want %q", out, want)
	}
}
