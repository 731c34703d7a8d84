package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// callers are files below cmd with command lines that are no advice: they write scripts or run a program.
var callers = []string{"card/provenance.go", "card/use.go", "dataset/corpus/emit.go", "internal/llamacpp/llamacpp.go"}

// commandWords finds names of flags and, given the commands, calls of leo in a text.
func commandWords(commands []string) *regexp.Regexp {
	return regexp.MustCompile("(^|[\\s'\"`]|(^|[^r])\\()--[a-z]|\\bleo (" + strings.Join(commands, "|") + ")\\b")
}

// literals calls yield with every string in a Go file but import paths and struct tags.
func literals(name string, src any, yield func(text string, at token.Position)) error {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if text, err := strconv.Unquote(n.Value); err == nil {
					yield(text, files.Position(n.Pos()))
				}
			}
		}
		return true
	})
	return nil
}

// Who calls Leo from Go or over HTTP can't pass flags: only cmd/leo speaks of them.
func TestOnlyCommandsSpeakOfFlags(t *testing.T) {
	rooms := floorTable(t)
	var commands []string
	for _, c := range newRootCmd().Commands() {
		commands = append(commands, regexp.QuoteMeta(c.Name()))
	}
	words := commandWords(commands)
	root := filepath.Join("..", "..")
	used := map[string]bool{}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); rel != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || rel == "cmd") {
				return fs.SkipDir
			}
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		if r := find(rooms, pkg); r == nil || r.height >= beside*1000 {
			return nil
		}
		files++
		return literals(path, nil, func(text string, at token.Position) {
			found := words.FindString(text)
			switch {
			case found == "":
			case slices.Contains(callers, rel):
				used[rel] = true
			default:
				t.Errorf("%s:%d: %q in a library; return a typed error and advise in cmd/leo", rel, at.Line, strings.TrimSpace(found))
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files read", files)
	}
	for _, c := range callers {
		if !used[c] {
			t.Errorf("%s has no command line any more: take it off the list", c)
		}
	}
}

func TestCommandWordsAreSeen(t *testing.T) {
	words := commandWords([]string{"pull", "data"})
	for text, want := range map[string]bool{
		"raise --context": true, "--set": true, "reset it (--on-full drop)": true, "fetch it: leo pull X": true, "`leo data`": true,
		"svg{color:var(--c0);--c1:#fff}": false, "a -- b": false, "leo pulls": false, "2--3": false,
	} {
		src, _ := json.Marshal(text)
		var texts []string
		if err := literals("x.go", "package x\nimport \"--path\"\ntype t struct { a int `x:\"--tag\"` }\nvar v = "+string(src), func(text string, _ token.Position) {
			texts = append(texts, text)
		}); err != nil || len(texts) != 1 {
			t.Fatalf("%q: %v", texts, err)
		}
		if words.MatchString(texts[0]) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
