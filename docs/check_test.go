// Package docs holds no code of its own: its test reads all pages of the repository.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is the repository's folder, from this one.
const root = ".."

// maxLine is the longest line of a page outside tables, code and quoted output, in characters.
const maxLine = 120

// history are pages that tell of files as they were, or of other repositories' files.
var history = []string{"CHANGELOG.md", "docs/lab/log.md", "docs/leolm.md"}

// read returns the files of the repository whose names have one of the endings, by their paths.
func read(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			// Folders that git ignores, and those of other programs.
			if rel != "." && strings.HasPrefix(d.Name(), ".") || rel == "out" || rel == "data" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(rel, e) }) {
			data, err := os.ReadFile(p)
			found[rel] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// pages are the Markdown files; those of tests are not for readers.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := read(t, ".md")
	for name := range all {
		if strings.Contains(name, "testdata/") {
			delete(all, name)
		}
	}
	if len(all) < 20 || all["README.md"] == "" {
		t.Fatalf("found only %d pages", len(all))
	}
	return all
}

// prose returns the lines of a page with code blocks, indented code and tables left empty.
func prose(page string) []string {
	lines := strings.Split(page, "\n")
	fenced, list := false, false
	for i, l := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(l), "```")
		indented := strings.HasPrefix(l, "    ")
		trimmed := strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(trimmed, "- ") || strings.HasPrefix(trimmed, "* "):
			list = true
		case l != "" && !strings.HasPrefix(l, " "):
			list = false
		}
		if fence {
			fenced = !fenced
		}
		if fence || fenced || indented && !list || strings.HasPrefix(trimmed, "|") {
			lines[i] = ""
		}
	}
	return lines
}

var (
	link       = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	inlineCode = regexp.MustCompile("`[^`]*`")
	citation   = regexp.MustCompile(`\b((?:docs|recipes|bench|models)/[\w/.-]+\.md)(?:#([\w-]+))?`)
	ourFile    = regexp.MustCompile(`(?:^|[\s("` + "`" + `])((?:bench|catalog|chat|checkpoint|cmd|converse|dataset|device|docs|eval|grad|infer|internal|llama|models|recipes|sample|tensor|tokenizer|train)/[\w./-]+\.(?:go|py|sh|yaml|mjs|json))\b`)
)

// anchors are those that GitHub gives the headings of a page.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	fenced := false
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, "```") {
			fenced = !fenced
		}
		text := strings.TrimLeft(l, "#")
		if fenced || text == l || !strings.HasPrefix(text, " ") {
			continue
		}
		a := anchor(strings.TrimSpace(text))
		for n := 1; found[a]; n++ {
			if next := fmt.Sprintf("%s-%d", anchor(strings.TrimSpace(text)), n); !found[next] {
				a = next
			}
		}
		found[a] = true
	}
	return found
}

func anchor(heading string) string {
	heading = link.ReplaceAllStringFunc(heading, func(l string) string { return l[1:strings.Index(l, "]")] })
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127 && !strings.ContainsRune("…–—→↔≥≤×„“”’·", r):
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// broken lists the links of a page that lead nowhere.
func broken(name, page string, all map[string]string) []string {
	var wrong []string
	for i, l := range strings.Split(page, "\n") {
		if i > 0 && strings.HasPrefix(strings.TrimSpace(l), "```") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(l, "``"), -1) {
			target, frag, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
			}
			if why := resolve(to, frag, all); why != "" {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %s: %s", name, i+1, m[1], why))
			}
		}
	}
	return wrong
}

// resolve says what is wrong with a file of the repository and an anchor in it.
func resolve(file, frag string, all map[string]string) string {
	if _, isPage := all[file]; !isPage {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(file))); err != nil {
			return "no such file"
		}
	}
	if frag != "" && !anchors(all[file])[frag] {
		return "no such heading"
	}
	return ""
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for name, page := range all {
		for _, w := range broken(name, page, all) {
			t.Error(w)
		}
	}
}

// What code and recipes cite exists, and so does every file that a page names.
func TestCitationsLeadSomewhere(t *testing.T) {
	all := pages(t)
	n := 0
	for name, text := range read(t, ".go", ".py", ".sh", ".yaml", ".mjs") {
		if name == "docs/check_test.go" {
			continue
		}
		for i, l := range strings.Split(text, "\n") {
			for _, m := range citation.FindAllStringSubmatch(l, -1) {
				n++
				if why := resolve(m[1], m[2], all); why != "" {
					t.Errorf("%s:%d: %s: %s", name, i+1, m[0], why)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d citations found", n)
	}
	for name, text := range all {
		if slices.Contains(history, name) {
			continue
		}
		for i, l := range strings.Split(text, "\n") {
			for _, m := range ourFile.FindAllStringSubmatch(l, -1) {
				if why := resolve(m[1], "", all); why != "" && !strings.Contains(m[1], "NAME") {
					t.Errorf("%s:%d: %s: %s", name, i+1, m[1], why)
				}
			}
		}
	}
}

// Every page is reached from the index.
func TestIndexNamesEveryPage(t *testing.T) {
	all := pages(t)
	for name := range all {
		dir, file := path.Split(name)
		if dir == "docs/" && file != "README.md" && !strings.Contains(all["docs/README.md"], "("+file) {
			t.Errorf("docs/README.md does not name %s", file)
		}
	}
}

func TestLinesAreShort(t *testing.T) {
	for name, page := range pages(t) {
		if name == "models/leo-mini/answers.md" {
			continue // written by a program
		}
		for i, l := range prose(page) {
			if n := utf8.RuneCountInString(l); n > maxLine && strings.Contains(strings.TrimSpace(l), " ") {
				t.Errorf("%s:%d has %d characters; at most %d", name, i+1, n, maxLine)
			}
		}
	}
}

// British spellings that lists of common mistakes do not have; .ci/run checks the others.
var british = regexp.MustCompile(`(?i)\b(?:de|re|un)?(?:quanti|optimi|tokeni|normali|initiali|memori|summari|generali|recogni|orthogonali|vectori|` +
	`paralleli|randomi|minimi|maximi|stabili|penali)s(?:e|ed|es|er|ers|ing|ations?)\b|\b(?:behaviou|colou|neighbou|favou)r|\blicence|\blearnt\b`)

func TestSpellingIsOne(t *testing.T) {
	for name, page := range pages(t) {
		if name == "models/leo-mini/answers.md" {
			continue // German
		}
		fenced := false
		for i, l := range strings.Split(page, "\n") {
			if strings.HasPrefix(strings.TrimSpace(l), "```") {
				fenced = !fenced
			}
			if fenced || strings.HasPrefix(l, "    ") {
				continue
			}
			if m := british.FindString(link.ReplaceAllString(inlineCode.ReplaceAllString(l, ""), "")); m != "" {
				t.Errorf("%s:%d: %q is not US spelling", name, i+1, m)
			}
		}
	}
}

// Every environment variable that code reads has a line in CONTRIBUTING.md.
func TestVariablesAreListed(t *testing.T) {
	contributing := pages(t)["CONTRIBUTING.md"]
	variable := regexp.MustCompile(`Getenv\("(LEO_\w+)"\)`)
	n := 0
	for name, text := range read(t, ".go") {
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			n++
			if !strings.Contains(contributing, "`"+m[1]+"`") {
				t.Errorf("%s reads %s, which CONTRIBUTING.md does not list", name, m[1])
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d variables found", n)
	}
}

// The repository stands alone: nothing in it needs a document or a folder that only its makers have.
func TestNothingPointsOutside(t *testing.T) {
	outside := regexp.MustCompile(`\.\./shared|leolm-facts|(?i:\bissues? #?[0-9])|/opt/ref`)
	for name, text := range read(t, ".md", ".go", ".py", ".sh", ".yaml", ".mjs", ".txt") {
		if name == "docs/check_test.go" || strings.Contains(name, "testdata/") && strings.HasSuffix(name, ".txt") {
			continue
		}
		for i, l := range strings.Split(text, "\n") {
			if m := outside.FindString(l); m != "" {
				t.Errorf("%s:%d: %s (tests find data that is not in the repository through internal/shareddata)", name, i+1, m)
			}
		}
	}
}

// A test of the tests: what they must notice.
func TestWhatTheChecksNotice(t *testing.T) {
	page := "# A page\n\n## Was „er“ sagt: 1 & 2\n## Twice\n## Twice\n[a](#twice-1) [b](#was-er-sagt-1--2) [c](#thrice) [d](nowhere.md) [e](check_test.go)\n`[f](nowhere)`\n"
	all := map[string]string{"docs/x.md": page}
	got := broken("docs/x.md", page, all)
	if want := []string{"docs/x.md:6: #thrice: no such heading", "docs/x.md:6: nowhere.md: no such file"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for text, want := range map[string]bool{"quantised": true, "the optimiser's": true, "precise": false, "neighbouring": true, "noise": false} {
		if british.MatchString(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	text := "a\n```\ncode\n```\n| table |\n    code\n- item\n    of a list\nb"
	if got, want := strings.Join(prose(text), "|"), "a||||||- item|    of a list|b"; got != want {
		t.Errorf("prose %q, want %q", got, want)
	}
}
