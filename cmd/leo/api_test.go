package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// apiPackage is what `go list` says of a package.
type apiPackage struct {
	ImportPath, Name, Dir, Export string
	GoFiles, Imports              []string
	TestGoFiles, XTestGoFiles     []string
}

// listPackages asks the go command for packages and, with deps, for everything that they need, with compiled export data.
func listPackages(t *testing.T, dir string, args ...string) []apiPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Dir,Export,GoFiles,Imports,TestGoFiles,XTestGoFiles"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.Bytes())
	}
	var pkgs []apiPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p apiPackage
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// isInternal reports whether programs outside this module can't import path.
func isInternal(path string) bool {
	return strings.HasPrefix(path, "leolm/") && slices.Contains(strings.Split(path, "/"), "internal")
}

// isLibrary reports whether p is a room of the library: programs and what stands beside the house are none.
func isLibrary(p apiPackage) bool {
	return p.Name != "main" && !isInternal(p.ImportPath) && len(p.GoFiles) > 0 &&
		!strings.HasPrefix(p.ImportPath, "leolm/bench/") && !strings.HasPrefix(p.ImportPath, "leolm/recipes/")
}

// leaks names every exported declaration of pkg that a caller can't write down, because a type in it is internal.
func leaks(pkg *types.Package) []string {
	var found []string
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		w := leakWalker{pkg: pkg, seen: map[types.Type]bool{}, found: &found}
		if tn, ok := obj.(*types.TypeName); ok {
			w.declared(name, tn)
		} else {
			w.walk(name, obj.Type())
		}
	}
	return found
}

type leakWalker struct {
	pkg   *types.Package
	seen  map[types.Type]bool
	found *[]string
}

// declared looks into the declaration of a type: what it is made of, and its methods, promoted ones included.
func (w leakWalker) declared(where string, tn *types.TypeName) {
	if alias, ok := tn.Type().(*types.Alias); ok {
		w.walk(where, alias.Rhs())
		return
	}
	w.walk(where, tn.Type().Underlying())
	if named := tn.Type().(*types.Named); named.TypeParams() != nil {
		for p := range named.TypeParams().TypeParams() {
			w.walk(where, p.Constraint())
		}
	}
	if types.IsInterface(tn.Type()) {
		return // its methods are a part of the underlying type
	}
	for sel := range types.NewMethodSet(types.NewPointer(tn.Type())).Methods() {
		if m := sel.Obj(); m.Exported() {
			w.walk(where+"."+m.Name(), m.Type())
		}
	}
}

// walk looks at a type where it is used. where says what a caller wrote to get there.
func (w leakWalker) walk(where string, t types.Type) {
	if t == nil || w.seen[t] {
		return
	}
	w.seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		w.named(where, t.Obj())
		w.walk(where, t.Rhs())
	case *types.Named:
		w.named(where, t.Obj())
		for a := range t.TypeArgs().Types() {
			w.walk(where, a)
		}
		// An exported field or method of a type without an exported name is reached all the same.
		if obj := t.Obj(); obj.Pkg() == w.pkg && !obj.Exported() {
			w.declared(where, obj)
		}
	case *types.TypeParam:
		w.walk(where, t.Constraint())
	case *types.Pointer:
		w.walk(where, t.Elem())
	case *types.Slice:
		w.walk(where, t.Elem())
	case *types.Array:
		w.walk(where, t.Elem())
	case *types.Chan:
		w.walk(where, t.Elem())
	case *types.Map:
		w.walk(where, t.Key())
		w.walk(where, t.Elem())
	case *types.Signature:
		for p := range t.TypeParams().TypeParams() {
			w.walk(where, p.Constraint())
		}
		for v := range t.Params().Variables() {
			w.walk(where, v.Type())
		}
		for v := range t.Results().Variables() {
			w.walk(where, v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				w.walk(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			w.walk(where+"."+m.Name(), m.Type())
		}
		for e := range t.EmbeddedTypes() {
			w.walk(where, e)
		}
	case *types.Union:
		for term := range t.Terms() {
			w.walk(where, term.Type())
		}
	}
}

func (w leakWalker) named(where string, obj *types.TypeName) {
	if obj.Pkg() != nil && isInternal(obj.Pkg().Path()) {
		*w.found = append(*w.found, fmt.Sprintf("%s.%s uses %s.%s", w.pkg.Name(), where, obj.Pkg().Path(), obj.Name()))
	}
}

// What Leo exports can be used from outside: no type of an internal package is in it, and no doc comment sends the reader to one.
func TestExportedSignatures(t *testing.T) {
	pkgs := listPackages(t, "../..", "-export", "-deps", "./...")
	export := map[string]string{}
	var internal []string // names of the internal packages
	for _, p := range pkgs {
		export[p.ImportPath] = p.Export
		if isInternal(p.ImportPath) {
			internal = append(internal, regexp.QuoteMeta(p.Name))
		}
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := export[path]
		if !ok || file == "" {
			return nil, errors.New("no export data")
		}
		return os.Open(file)
	})
	seen := 0
	for _, p := range pkgs {
		if !strings.HasPrefix(p.ImportPath, "leolm/") || !isLibrary(p) {
			continue
		}
		seen++
		pkg, err := imp.Import(p.ImportPath)
		if err != nil {
			t.Fatal(err)
		}
		for _, leak := range leaks(pkg) {
			t.Error(leak)
		}
		for _, at := range docsOfInternals(t, p, internal) {
			t.Error(at)
		}
	}
	if seen < 15 {
		t.Errorf("looked at %d packages only", seen)
	}
}

// checkedImporter hands out packages that were type-checked before.
type checkedImporter map[string]*types.Package

func (i checkedImporter) Import(path string) (*types.Package, error) { return i[path], nil }

func TestLeaksAreSeen(t *testing.T) {
	fset := token.NewFileSet()
	check := func(path, source string, known checkedImporter) *types.Package {
		f, err := parser.ParseFile(fset, path+".go", source, 0)
		if err != nil {
			t.Fatal(err)
		}
		pkg, err := (&types.Config{Importer: known}).Check(path, fset, []*ast.File{f}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return pkg
	}
	secret := check("leolm/internal/secret", "package secret; type T struct{}; type Alias = T; func (T) M() {}; type I interface{ M() }", nil)
	for source, want := range map[string]string{
		"func F(secret.T) {}":                                                       "p.F uses leolm/internal/secret.T",
		"func F() (int, []*secret.T) { return 0, nil }":                             "p.F uses leolm/internal/secret.T",
		"func F(...map[string]chan [2]secret.T) {}":                                 "p.F uses leolm/internal/secret.T",
		"func F(func(secret.T)) {}":                                                 "p.F uses leolm/internal/secret.T",
		"func F[X secret.I](X) {}":                                                  "p.F uses leolm/internal/secret.I",
		"type S struct{ A struct{ B secret.T } }":                                   "p.S.A.B uses leolm/internal/secret.T",
		"type S struct{ secret.T }":                                                 "p.S.T uses leolm/internal/secret.T",
		"type s struct{ A secret.T }; type S struct{ s }":                           "p.S.s.A uses leolm/internal/secret.T",
		"type s struct{ A secret.T }; func F() s { return s{} }":                    "p.F.A uses leolm/internal/secret.T",
		"type S struct{}; func (*S) M(secret.T) {}":                                 "p.S.M uses leolm/internal/secret.T",
		"type I interface{ M() secret.T }":                                          "p.I.M uses leolm/internal/secret.T",
		"type I interface{ secret.I }":                                              "p.I uses leolm/internal/secret.I",
		"type A = secret.T":                                                         "p.A uses leolm/internal/secret.T",
		"type A = secret.Alias":                                                     "p.A uses leolm/internal/secret.Alias",
		"type G[X any] struct{ V X }; type S G[secret.T]":                           "p.S.V uses leolm/internal/secret.T",
		"type G[X any] struct{ V X }; var V G[secret.T]":                            "p.V uses leolm/internal/secret.T",
		"var V secret.T":                                                            "p.V uses leolm/internal/secret.T",
		"type S struct{ a secret.T }; func (S) m(secret.T) {}; func f(secret.T) {}": "",
	} {
		pkg := check("leolm/p", `package p; import "leolm/internal/secret"; `+source, checkedImporter{"leolm/internal/secret": secret})
		got := leaks(pkg)
		if (want == "") != (len(got) == 0) || want != "" && !slices.Contains(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

// docsOfInternals names the exported declarations of p whose comments name a declaration of an internal package.
func docsOfInternals(t *testing.T, p apiPackage, internal []string) []string {
	pointer := regexp.MustCompile(`\b(` + strings.Join(internal, "|") + `)\.[A-Z]\w*`)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.FileExports(f) // comments of what stays private may say anything
		files = append(files, f)
	}
	d, err := doc.NewFromFiles(fset, files, p.ImportPath)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"package " + p.Name: d.Doc}
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			texts[p.Name+"."+v.Names[0]] = v.Doc + commentsIn(v.Decl)
		}
	}
	funcs := func(prefix string, fs []*doc.Func) {
		for _, f := range fs {
			texts[prefix+f.Name] = f.Doc
		}
	}
	values(d.Consts)
	values(d.Vars)
	funcs(p.Name+".", d.Funcs)
	for _, ty := range d.Types {
		texts[p.Name+"."+ty.Name] = ty.Doc + commentsIn(ty.Decl)
		values(ty.Consts)
		values(ty.Vars)
		funcs(p.Name+".", ty.Funcs)
		funcs(p.Name+"."+ty.Name+".", ty.Methods)
	}
	var found []string
	for where, text := range texts {
		if m := pointer.FindString(text); m != "" {
			found = append(found, fmt.Sprintf("the comment of %s points at %s, which its readers can't see", where, m))
		}
	}
	slices.Sort(found)
	return found
}

// commentsIn returns the comments of fields, methods and values inside a declaration.
func commentsIn(decl ast.Node) string {
	var b strings.Builder
	ast.Inspect(decl, func(n ast.Node) bool {
		if g, ok := n.(*ast.CommentGroup); ok {
			b.WriteString(g.Text())
		}
		return true
	})
	return b.String()
}

// Every room of the library shows how it is used, in an example that runs; what only tests can call can't.
func TestEveryPackageHasAnExample(t *testing.T) {
	for _, p := range listPackages(t, "../..", "./...") {
		if !isLibrary(p) || slices.Contains(p.Imports, "testing") {
			continue
		}
		runs := false
		for _, name := range append(slices.Clone(p.TestGoFiles), p.XTestGoFiles...) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range doc.Examples(f) {
				runs = runs || e.Output != ""
			}
		}
		if !runs {
			t.Errorf("%s has no Example with an Output", p.ImportPath)
		}
	}
}
