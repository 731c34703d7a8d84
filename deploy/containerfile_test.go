// Package deploy holds no code of its own: its test reads the container file.
package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one of a container file, in its stage.
type instruction struct {
	word, rest string
	stage      int // from 0
}

// instructions reads a container file: comments dropped, lines with a backslash at the end joined.
func instructions(text string) ([]instruction, error) {
	var found []instruction
	stage, whole := -1, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if part, more := strings.CutSuffix(line, `\`); more {
			whole += part
			continue
		}
		word, rest, _ := strings.Cut(whole+line, " ")
		whole = ""
		if word == "FROM" {
			stage++
		}
		if stage < 0 {
			return nil, fmt.Errorf("%s before FROM", word)
		}
		found = append(found, instruction{word, strings.TrimSpace(rest), stage})
	}
	if whole != "" {
		return nil, fmt.Errorf("the last line goes on: %s", whole)
	}
	return found, nil
}

// faults lists what a container file does otherwise than an image of Leo must. root is the folder that it copies from.
func faults(text, root, goVersion string) []string {
	list, err := instructions(text)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	known := strings.Fields("FROM ARG WORKDIR COPY RUN USER ENV VOLUME EXPOSE HEALTHCHECK ENTRYPOINT CMD LABEL")
	last := list[len(list)-1].stage
	stages := []string{}
	seen := map[string]string{} // of the last stage
	built := false
	for _, i := range list {
		words := strings.Fields(i.rest)
		switch {
		case !slices.Contains(known, i.word):
			fail("%s is not an instruction that this image needs", i.word)
		case i.word == "FROM":
			name := ""
			if len(words) == 3 && words[1] == "AS" {
				name = words[2]
			}
			stages = append(stages, name)
			if words[0] != "scratch" && !regexp.MustCompile(`^[\w.]+/[\w/.-]+:[\w.-]+$`).MatchString(words[0]) {
				fail("FROM %s: name registry and tag", words[0])
			}
			if tag, ok := strings.CutPrefix(words[0], "docker.io/library/golang:"); ok && tag != goVersion {
				fail("it builds with Go %s, go.mod asks for %s", tag, goVersion)
			}
		case i.word == "COPY":
			from, sources := "", []string{}
			for _, w := range words[:len(words)-1] {
				if f, ok := strings.CutPrefix(w, "--from="); ok {
					from = f
				} else if !strings.HasPrefix(w, "--") {
					sources = append(sources, w)
				}
			}
			if from != "" && !slices.Contains(stages[:i.stage], from) {
				fail("COPY --from=%s: no stage before has that name", from)
			}
			for _, s := range sources {
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(s))); from == "" && err != nil {
					fail("COPY %s: %v", s, err)
				}
			}
		case i.word == "RUN":
			if i.stage == last {
				fail("RUN %s: the last stage has no shell", i.rest)
			}
			built = built || strings.Contains(i.rest, "CGO_ENABLED=0 go build -trimpath -tags=nodl ")
		case (i.word == "ENTRYPOINT" || i.word == "CMD") && !strings.HasPrefix(i.rest, "["):
			fail("%s %s: without a shell it is a JSON list", i.word, i.rest)
		}
		if i.stage == last {
			seen[i.word] = i.rest
		}
	}
	if !built {
		fail("no static program is built")
	}
	if seen["FROM"] != "scratch" {
		fail("the last stage is made from %q, not from scratch", seen["FROM"])
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(seen["USER"]) {
		fail("USER %q: want the numbers of a user and a group that are not root's", seen["USER"])
	}
	if seen["ENTRYPOINT"] == "" {
		fail("no ENTRYPOINT")
	}
	if !strings.HasSuffix(seen["HEALTHCHECK"], `CMD ["/usr/bin/leo", "serve", "health"]`) {
		fail("HEALTHCHECK %q: leo itself asks", seen["HEALTHCHECK"])
	}
	if seen["CMD"] != `["serve"]` || !strings.Contains(seen["ENV"], "LEO_SERVE_LISTEN=0.0.0.0:"+seen["EXPOSE"]) {
		fail("CMD %s with ENV %s: want a server on the port of EXPOSE %s", seen["CMD"], seen["ENV"], seen["EXPOSE"])
	}
	return wrong
}

func TestContainerfile(t *testing.T) {
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if version == nil {
		t.Fatal("go.mod names no version of Go")
	}
	for _, w := range faults(string(text), "..", string(version[1])) {
		t.Error(w)
	}

	// The check sees what it is for.
	for _, c := range []struct{ old, new, want string }{
		{"USER 65532:65532", "USER 0:0", `USER "0:0"`},
		{"USER 65532:65532\n", "", `USER ""`},
		{"FROM scratch", "FROM docker.io/library/debian:13", "not from scratch"},
		{"golang:1.26", "golang:1.20", "builds with Go 1.20"},
		{"docker.io/library/golang:1.26", "golang", "name registry and tag"},
		{"--from=build /image/leo", "--from=built /image/leo", "no stage before"},
		{"COPY LICENSE", "COPY LICENCE", "COPY LICENCE"},
		{"\nCMD [\"serve\"]", "\nCMD serve", "JSON list"},
		{"\nCMD [\"serve\"]", "\nCMD [\"chat\"]", "want a server"},
		{"EXPOSE 8080", "EXPOSE 9090", "want a server"},
		{`CMD ["/usr/bin/leo", "serve", "health"]`, "CMD curl localhost", "leo itself asks"},
		{"ENV HOME", "RUN true\nENV HOME", "no shell"},
		{"CGO_ENABLED=0 ", "", "no static program"},
		{"-tags=nodl ", "", "no static program"},
		{"VOLUME", "VOLUMES", "VOLUMES is not"},
		{"\nCMD [\"serve\"]", "\nCMD [\"serve\"] \\", "goes on"},
	} {
		if !strings.Contains(string(text), c.old) {
			t.Errorf("the file has no %q", c.old)
		}
		got := faults(strings.Replace(string(text), c.old, c.new, 1), "..", string(version[1]))
		if !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, c.want) }) {
			t.Errorf("with %q: %q, want %q", c.new, got, c.want)
		}
	}
}
