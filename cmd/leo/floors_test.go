package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the prefix of this module's import paths.
const module = "leolm/"

// beside is the height of programs beside the house.
const beside = 1 << 20

// room is a row's name: a package, or everything below a folder.
type room struct {
	name   string
	height int // not below that of any room it may import
	used   bool
}

// readFloors reads the table of rooms: a floor, the names in backticks, what they own.
func readFloors(page string) ([]room, error) {
	var rooms []room
	floor, row := -1, 0
	names, braces := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile(`^(.*)\{(.*)\}(.*)$`)
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 {
			continue
		}
		switch text := strings.TrimSpace(cells[1]); {
		case text == "–":
			floor = beside
		case text != "":
			n, err := strconv.Atoi(text)
			if err != nil {
				continue // the head of the table, or another table
			}
			if floor >= 0 && n >= floor {
				return nil, fmt.Errorf("floor %d stands below floor %d", n, floor)
			}
			floor = n
		}
		if floor < 0 {
			continue
		}
		for _, m := range names.FindAllStringSubmatch(cells[2], -1) {
			all := []string{m[1]}
			if b := braces.FindStringSubmatch(m[1]); b != nil {
				all = nil
				for part := range strings.SplitSeq(b[2], ",") {
					all = append(all, b[1]+part+b[3])
				}
			}
			for _, name := range all {
				row++
				height := floor*1000 - row // the later, the lower
				if floor == beside {
					height = beside * 1000
				}
				rooms = append(rooms, room{name: name, height: height})
			}
		}
	}
	return rooms, nil
}

// find returns the room of a package.
func find(rooms []room, pkg string) *room {
	for i := range rooms {
		folder, all := strings.CutSuffix(rooms[i].name, "/...")
		if rooms[i].name == pkg || all && (pkg == folder || strings.HasPrefix(pkg, folder+"/")) {
			return &rooms[i]
		}
	}
	return nil
}

// climbs lists what is wrong between the table and the imports of all packages.
func climbs(rooms []room, imports map[string][]string) []string {
	var wrong []string
	for pkg, list := range imports {
		from := find(rooms, pkg)
		if from == nil {
			wrong = append(wrong, fmt.Sprintf("package %s stands on no floor", pkg))
			continue
		}
		from.used = true
		for _, name := range list {
			// A room without a place is reported as a package; programs beside the house use each other.
			if to := find(rooms, name); to != nil && to.height > from.height {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is no lower", pkg, name))
			}
		}
	}
	for _, r := range rooms {
		if !r.used {
			wrong = append(wrong, fmt.Sprintf("the table names %s, which has no package", r.name))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// ownImports lists the packages of the module, and what their files import of it, on every platform.
func ownImports(t *testing.T) map[string][]string {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command to list packages")
	}
	cmd := exec.Command(tool, "list", "-e", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p struct {
			ImportPath, Dir         string
			GoFiles, IgnoredGoFiles []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkg := strings.TrimPrefix(p.ImportPath, module)
		imports[pkg] = nil
		for _, file := range append(p.GoFiles, p.IgnoredGoFiles...) {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.Imports {
				if path, err := strconv.Unquote(i.Path.Value); err == nil && strings.HasPrefix(path, module) {
					imports[pkg] = append(imports[pkg], strings.TrimPrefix(path, module))
				}
			}
		}
		slices.Sort(imports[pkg])
		imports[pkg] = slices.Compact(imports[pkg])
	}
	return imports
}

// floorTable reads the table of docs/architecture.md.
func floorTable(t *testing.T) []room {
	t.Helper()
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := readFloors(string(page))
	if err != nil {
		t.Fatal(err)
	}
	return rooms
}

// Rooms import only rooms below them, and every package has its place in the table.
func TestFloors(t *testing.T) {
	rooms := floorTable(t)
	for _, w := range climbs(rooms, ownImports(t)) {
		t.Error(w)
	}
}

func TestFloorsSeeClimbers(t *testing.T) {
	const page = "| floor | package | owns |\n|---|---|---|\n| 1 | `a`, `b` | x |\n| 0 | `c/{d,e}` | x |\n| | `gone` | x |\n| – | `tools/...` | x |\n"
	for _, c := range []struct {
		imports map[string][]string
		want    string
	}{
		{map[string][]string{"a": {"b", "c/d"}, "b": {"c/e"}, "c/d": {"c/e"}, "c/e": nil, "tools/x": {"a", "tools/y"}, "tools/y": nil}, ""},
		{map[string][]string{"a": nil, "b": {"a"}, "c/d": nil, "c/e": nil, "tools/x": nil}, "b imports a, which is no lower"},
		{map[string][]string{"a": nil, "b": nil, "c/d": {"b"}, "c/e": nil, "tools/x": nil}, "c/d imports b, which is no lower"},
		{map[string][]string{"a": {"tools/x"}, "b": nil, "c/d": nil, "c/e": {"c/d"}, "tools/x": nil}, "a imports tools/x, which is no lower; c/e imports c/d, which is no lower"},
		{map[string][]string{"a": nil, "b": nil, "c/d": nil, "c/e": nil, "new": nil, "tools/x": nil}, "package new stands on no floor"},
	} {
		rooms, err := readFloors(page)
		if err != nil {
			t.Fatal(err)
		}
		c.imports["gone"] = nil
		if got := strings.Join(climbs(rooms, c.imports), "; "); got != c.want {
			t.Errorf("%v: %q, want %q", c.imports, got, c.want)
		}
		delete(c.imports, "gone")
		rooms, _ = readFloors(page)
		if got := climbs(rooms, c.imports); !slices.Contains(got, "the table names gone, which has no package") {
			t.Errorf("a room without a package: %v", got)
		}
	}
	if _, err := readFloors("| 0 | `a` | x |\n| 1 | `b` | x |\n"); err == nil {
		t.Error("floors upside down were taken")
	}
}
