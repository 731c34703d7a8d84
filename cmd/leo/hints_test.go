package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"leolm/catalog"
	"leolm/converse"
	"leolm/device"
	"leolm/infer"
	"leolm/llama"
	"leolm/sample"
)

func TestAdvise(t *testing.T) {
	for _, c := range []struct {
		cmd  []string
		err  error
		want string
	}{
		{[]string{"chat"}, catalog.ErrNoModel, "; name a folder, a .gguf file or a Hugging Face id with --model, or leo pull ORG/NAME fetches one"},
		{[]string{"chat"}, &catalog.NotFoundError{Arg: "org/name", HubID: true}, "; leo pull org/name fetches it"},
		{[]string{"chat"}, &catalog.NotFoundError{Arg: "x.gguf"}, ""},
		{[]string{"generate"}, &catalog.NoTokenizerError{Model: "m"}, "; give one with --tokenizer"},
		{[]string{"generate"}, &catalog.TokenizerError{Model: "m"}, "; give the one that it was trained with by --tokenizer"},
		{[]string{"generate"}, &catalog.TemplateError{Source: "m", Err: errors.New("line 1")}, "; choose another with --template"},
		{[]string{"chat"}, &llama.TargetError{}, "; leo convert --adapter folds it into the model"},
		{[]string{"chat"}, &converse.FullContextError{Turns: 2}, "; drop the oldest turns with --on-full drop, or raise --context if the model allows it"},
		{[]string{"chat"}, &converse.FullContextError{}, "; shorten it, or raise --context if the model allows it"},
		{[]string{"generate"}, &infer.ContextError{}, "; shorten the input, or raise --context if the model allows it"},
		{[]string{"generate"}, &device.MemoryError{}, "; choose a smaller --context, fewer --beams, or --cache-type q8_0"},
		{[]string{"eval", "perplexity"}, &device.MemoryError{}, "; choose a smaller --context, or --cache-type q8_0"},
		{[]string{"train"}, &device.MemoryError{}, ""},
		{[]string{"generate"}, &sample.LogitsError{}, "; fetch or convert the model again, or try --cache-type f32"},
		{[]string{"generate"}, sample.ErrNoToken, "; ban fewer tokens with --ban-token, or lower --min-new-tokens"},
		{[]string{"generate"}, errors.New("another"), ""},
	} {
		cmd, _, err := newRootCmd().Find(c.cmd)
		if err != nil {
			t.Fatal(err)
		}
		if got := advise(cmd, fmt.Errorf("outer: %w", c.err)); got != c.want {
			t.Errorf("%v: %T: %q, want %q", c.cmd, c.err, got, c.want)
		}
	}
}

// Every command and flag that advice names exists.
func TestAdviceExists(t *testing.T) {
	root := newRootCmd()
	src, err := os.ReadFile("hints.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`leo ([a-z]+)(?: --([a-z-]+))?`).FindAllStringSubmatch(string(src), -1) {
		cmd, rest, err := root.Find(m[1:2])
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no leo %s", m[1])
		} else if m[2] != "" && cmd.Flags().Lookup(m[2]) == nil {
			t.Errorf("leo %s has no --%s", m[1], m[2])
		}
	}
	for _, m := range regexp.MustCompile(`advice\{"([a-z-]+)"|\{"([a-z-]+)", "`).FindAllStringSubmatch(string(src), -1) {
		flag, found := m[1]+m[2], false
		for _, c := range root.Commands() {
			found = found || c.Flags().Lookup(flag) != nil
		}
		if !found {
			t.Errorf("no command has --%s", flag)
		}
	}
}

// speaksCommandLine matches a flag or a command of leo.
var speaksCommandLine = regexp.MustCompile(`(^|[ (\x60"'])--[a-z]|(^|[ (\x60"'])leo (bench|chat|convert|data|eval|generate|inspect|pull|quantize|tokenizer|train)\b`)

// commandLineFree are the rooms whose strings name no flags and no commands: a Go program or a server that calls them
// has none.
var commandLineFree = []string{"catalog", "chat", "converse", "eval", "infer", "llama", "open", "sample"}

func TestLibrariesNameNoFlags(t *testing.T) {
	for _, s := range []string{"raise --context", "--on-full drop", "run `leo data inspect`", "leo pull x"} {
		if !speaksCommandLine.MatchString(s) {
			t.Errorf("%q passes", s)
		}
	}
	files := 0
	for _, dir := range commandLineFree {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				if text, err := strconv.Unquote(lit.Value); err == nil && speaksCommandLine.MatchString(text) {
					t.Errorf("%s: %s names a flag or a command; return a type, and advise in cmd/leo/hints.go", set.Position(lit.Pos()), lit.Value)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if files < len(commandLineFree) {
		t.Errorf("only %d files read", files)
	}
}
