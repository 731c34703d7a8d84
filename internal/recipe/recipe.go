// Package recipe reads YAML recipes into Go structs, strictly.
//
// It owns the way from files and assignments ("a.b.c=value") to a filled struct: unknown and doubled keys, wrong
// types, missing and out-of-range values are all reported at once, each with file, line, column and the
// line itself. It doesn't own any recipe: the struct, its tags and its Validate method belong to the
// package that runs the recipe.
//
// A field is described by tags:
//
//	LR    float64 `yaml:"lr" check:"required,gt=0,max=1"`
//	Dtype string  `yaml:"dtype" default:"f32" check:"oneof=f32|bf16"`
//
// "default" is written as in a recipe. "check" takes required, min=, max=, gt=, lt= (numbers; for strings,
// lists and maps their length) and oneof= (strings). A field without a yaml tag, or with "-", is no key.
// The keys of an embedded struct without a tag are keys of the outer one.
//
// A recipe may begin with "extends: NAME", where NAME is a file beside it or, without a slash and suffix,
// a preset. Values of the base stay unless the recipe names them again; maps and structs merge, lists are
// replaced as a whole.
package recipe

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"leolm/internal/bounded"
)

// Limits on a recipe file: far above any real one, and low enough that a hostile one can't take the
// parser's stack or the memory.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 64
	maxExtends   = 8
)

// Assignment stands for the name of a file in errors about assignments to keys.
const Assignment = "set"

// Error is one thing wrong in a recipe.
type Error struct {
	File    string // file name, or Assignment
	Line    int    // from 1; 0 when no place can be named
	Column  int    // from 1, in characters
	Path    string // dotted key, empty for the whole file
	Message string // what is wrong and what is wanted
	Snippet string // the line with a mark under the column, may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if e.Snippet != "" {
		b.WriteString("\n" + e.Snippet)
	}
	return b.String()
}

// Errors is everything wrong in a recipe, in the order of the files.
type Errors []*Error

func (e Errors) Error() string {
	var b strings.Builder
	for i, x := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(x.Error())
	}
	return b.String()
}

// Unwrap lets errors.As find a single Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, x := range e {
		out[i] = x
	}
	return out
}

// Validator is implemented by recipe structs, at any depth, whose values depend on each other. fail takes
// the dotted key relative to the struct ("" for the struct itself, "list.0.x" or "list[0].x" for entries); the error then carries the place where
// that key was written.
type Validator interface {
	Validate(fail func(key, format string, args ...any))
}

// Loader reads recipes.
type Loader struct {
	// Presets holds NAME.yaml for "extends: NAME"; nil when there are none.
	Presets fs.FS
	// Renamed is called for a key that is written with its name of the past, which the field's tag formerly:"…" keeps
	// readable: where and what it is, and the name it has today. Nil: nobody is told.
	Renamed func(old, now string)
}

// Load reads the recipe at path into the struct that into points to, applies sets ("a.b.c=value", in order)
// and checks everything. Values already in into are kept as defaults where the recipe is silent. An empty
// path means no file: defaults and sets only. The error is of type Errors unless the file can't be read.
func Load(path string, sets []string, into any) error {
	return Loader{}.Load(path, sets, into)
}

// Load is like the function Load, with the loader's presets.
func (l Loader) Load(path string, sets []string, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("recipe: into must point to a struct, got %T", into)
	}
	d := &decoder{loader: l, origin: map[string]place{}}
	if err := d.defaults(v.Elem()); err != nil {
		return err
	}
	if path != "" {
		data, err := readFile(path)
		if err != nil {
			return err
		}
		if err := d.file(source{name: path, dir: filepath.Dir(path), text: data}, v.Elem(), nil); err != nil {
			return err
		}
	}
	for _, s := range sets {
		d.set(s, v.Elem())
	}
	// Checks on values that failed to decode would only repeat the complaint.
	d.check(v.Elem(), "", true)
	if len(d.errs) > 0 {
		return Errors(d.sorted())
	}
	return nil
}

// NotFoundError says that there is no recipe at a path.
type NotFoundError struct{ Path string }

func (e *NotFoundError) Error() string { return "there is no recipe " + e.Path }

// Unwrap makes it an fs.ErrNotExist.
func (e *NotFoundError) Unwrap() error { return fs.ErrNotExist }

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{path}
	}
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	if st.IsDir() {
		return nil, fmt.Errorf("recipe: %s is a folder, want a YAML file", path)
	}
	data, err := bounded.Regular(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return data, nil
}

// source is one text that values come from: a file, a preset or an assignment.
type source struct {
	name   string
	dir    string // folder for relative "extends"; empty inside presets
	text   []byte
	shift  int // characters before the value in an assignment
	preset bool
}

// place is where a value was written.
type place struct {
	src       *source
	line, col int
}

type decoder struct {
	loader Loader
	errs   []*Error
	order  []int // order of the source of errs[i]
	seen   []*source
	origin map[string]place // dotted key → where its last value came from
	bad    map[string]bool  // keys whose value didn't decode
}

func (d *decoder) sorted() []*Error {
	idx := make([]int, len(d.errs))
	for i := range idx {
		idx[i] = i
	}
	slices.SortStableFunc(idx, func(a, b int) int {
		x, y := d.errs[a], d.errs[b]
		return cmp.Or(cmp.Compare(d.order[a], d.order[b]), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column))
	})
	out := make([]*Error, len(idx))
	for i, j := range idx {
		out[i] = d.errs[j]
	}
	return out
}

func (d *decoder) fail(p place, key, format string, args ...any) {
	e := &Error{Path: key, Message: fmt.Sprintf(format, args...)}
	rank := 0
	if p.src != nil {
		e.File, e.Line, e.Column = p.src.name, p.line, p.col+p.src.shift
		e.Snippet = snippet(p.src.text, p.line, e.Column)
		rank = slices.Index(d.seen, p.src)
	} else if len(d.seen) > 0 {
		e.File = d.seen[len(d.seen)-1].name
		rank = len(d.seen)
	} else {
		e.File = "recipe"
	}
	if d.bad == nil {
		d.bad = map[string]bool{}
	}
	d.bad[key] = true
	d.errs = append(d.errs, e)
	d.order = append(d.order, rank)
}

// snippet shows line (from 1) of text with a mark under column (from 1, in characters).
func snippet(text []byte, line, column int) string {
	lines := bytes.Split(text, []byte("\n"))
	if line < 1 || line > len(lines) {
		return ""
	}
	row := []rune(strings.TrimRight(string(lines[line-1]), "\r"))
	const width = 100
	from := 0
	if column > width {
		from = column - width/2
	}
	to := min(len(row), from+width)
	if from > to {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%5d | %s\n", line, string(row[from:to]))
	b.WriteString("      | ")
	for i := from; i < column-1 && i < len(row); i++ {
		if row[i] == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteByte('^')
	return b.String()
}

// tooDeep reports nesting that could exhaust the parser's stack. It counts brackets without understanding
// quotes: a recipe with 64 unclosed brackets in one string is refused too, which harms nobody.
func tooDeep(text []byte) (line int, deep bool) {
	depth, line := 0, 1
	lead, leading := 0, true
	for _, c := range text {
		switch c {
		case '\n':
			line++
			lead, leading = 0, true
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		switch c {
		case ' ', '\t':
		case '-', '?', ':', '!', '&', '*', '[', '{':
			lead++
		default:
			leading = false
		}
		if depth > maxDepth || leading && lead > maxDepth {
			return line, true
		}
	}
	return 0, false
}

func (d *decoder) file(src source, into reflect.Value, chain []string) error {
	s := &src
	text := s.text
	if line, deep := tooDeep(text); deep {
		d.seen = append(d.seen, s)
		d.fail(place{s, line, 1}, "", "nested deeper than %d levels", maxDepth)
		return nil
	}
	root, ok := d.parse(s, text)
	if !ok || root == nil {
		if !slices.Contains(d.seen, s) {
			d.seen = append(d.seen, s)
		}
		return nil
	}
	// The base first, so that this file's values come on top.
	if pairs, ok := pairsOf(root); ok {
		for _, p := range pairs {
			if keyText(p) != "extends" {
				continue
			}
			at := d.at(s, p.Value)
			name, isText := plainString(p.Value)
			if !isText || name == "" {
				d.seen = append(d.seen, s)
				d.fail(at, "extends", "want the name of a preset or a file")
				return nil
			}
			if len(chain) >= maxExtends {
				d.seen = append(d.seen, s)
				d.fail(at, "extends", "more than %d recipes extend each other: %s", maxExtends, strings.Join(append(chain, s.name, name), " → "))
				return nil
			}
			base, err := d.base(s, name)
			if err != nil {
				d.seen = append(d.seen, s)
				d.fail(at, "extends", "%v", err)
				return nil
			}
			if slices.Contains(append(chain, s.name), base.name) {
				d.seen = append(d.seen, s)
				d.fail(at, "extends", "recipes extend each other in a circle: %s", strings.Join(append(chain, s.name, base.name), " → "))
				return nil
			}
			if err := d.file(base, into, append(chain, s.name)); err != nil {
				return err
			}
			break
		}
	}
	if !slices.Contains(d.seen, s) {
		d.seen = append(d.seen, s)
	}
	d.node(s, root, into, "", true)
	return nil
}

// base finds the recipe that name means inside s.
func (d *decoder) base(s *source, name string) (source, error) {
	isPreset := !strings.ContainsAny(name, `/\`) && filepath.Ext(name) == ""
	if isPreset || s.preset {
		if d.loader.Presets == nil {
			return source{}, fmt.Errorf("there is no preset %q here; a file is named with its suffix, as %q", name, name+".yaml")
		}
		data, err := fs.ReadFile(d.loader.Presets, name+".yaml")
		if err != nil {
			known, _ := fs.Glob(d.loader.Presets, "*.yaml")
			for i := range known {
				known[i] = strings.TrimSuffix(known[i], ".yaml")
			}
			return source{}, fmt.Errorf("there is no preset %q; known: %s", name, strings.Join(known, ", "))
		}
		return source{name: "preset " + name, text: data, preset: true}, nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.dir, name)
	}
	data, err := readFile(path)
	if err != nil {
		return source{}, errors.New(strings.TrimPrefix(err.Error(), "recipe: "))
	}
	return source{name: path, dir: filepath.Dir(path), text: data}, nil
}

// parse returns the root node of the only document in text; nil with ok for an empty one.
func (d *decoder) parse(s *source, text []byte) (root ast.Node, ok bool) {
	defer func() {
		// The parser is foreign code fed with foreign text.
		if r := recover(); r != nil {
			d.seen = append(d.seen, s)
			d.fail(place{s, 1, 1}, "", "this YAML can't be read (the parser gave up: %v)", r)
			root, ok = nil, false
		}
	}()
	f, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.seen = append(d.seen, s)
		line, col, msg := syntaxError(err)
		d.fail(place{s, line, col}, "", "not YAML: %s", msg)
		return nil, false
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if _, isComment := doc.Body.(*ast.CommentGroupNode); isComment {
			continue
		}
		if root != nil {
			d.seen = append(d.seen, s)
			d.fail(d.at(s, doc.Body), "", "a second document begins here; a recipe is one document")
			return nil, false
		}
		root = doc.Body
	}
	return root, true
}

// syntaxError takes the place and the message out of a parser's error, whose text begins "[line:column] ".
func syntaxError(err error) (line, col int, msg string) {
	msg = err.Error()
	if i := strings.IndexByte(msg, '\n'); i >= 0 {
		msg = msg[:i]
	}
	if strings.HasPrefix(msg, "[") {
		if i := strings.IndexByte(msg, ']'); i > 0 {
			l, c, found := strings.Cut(msg[1:i], ":")
			ln, err1 := strconv.Atoi(l)
			cn, err2 := strconv.Atoi(c)
			if found && err1 == nil && err2 == nil {
				return ln, cn, strings.TrimSpace(msg[i+1:])
			}
		}
	}
	return 1, 1, msg
}

func (d *decoder) at(s *source, n ast.Node) place {
	p := place{src: s, line: 1, col: 1}
	if n == nil {
		return p
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.line, p.col = t.Position.Line, t.Position.Column
		// A mapping's token is its colon; its first key is where a reader looks.
		if pairs, ok := pairsOf(n); ok && len(pairs) > 0 {
			if _, flow := n.(*ast.MappingNode); !flow || !n.(*ast.MappingNode).IsFlowStyle {
				if kt := pairs[0].Key.GetToken(); kt != nil && kt.Position != nil {
					p.line, p.col = kt.Position.Line, kt.Position.Column
				}
			}
		}
	}
	return p
}
