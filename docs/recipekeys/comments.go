package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// comments are what the source of a package says of its structs: by type, and by type and field.
type comments struct {
	types  map[string]string
	fields map[string]map[string]string
}

// readComments parses the files of a folder.
func readComments(dir string) (comments, error) {
	c := comments{map[string]string{}, map[string]map[string]string{}}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return c, err
	}
	set := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return c, err
		}
		file, err := parser.ParseFile(set, name, src, parser.ParseComments)
		if err != nil {
			return c, err
		}
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			for _, spec := range decl.Specs {
				ts := spec.(*ast.TypeSpec)
				if st, ok := ts.Type.(*ast.StructType); ok {
					c.types[ts.Name.Name] = plain(decl.Doc)
					c.fields[ts.Name.Name] = fieldComments(set, st)
				}
			}
		}
	}
	return c, nil
}

// fieldComments takes the comment above a field or behind it. Neighbors share the comment above the first of them if it
// names them all.
func fieldComments(set *token.FileSet, st *ast.StructType) map[string]string {
	found := map[string]string{}
	shared, line := "", 0
	for _, f := range st.Fields.List {
		text := plain(f.Doc)
		if text == "" {
			text = plain(f.Comment)
		} else {
			shared = text
		}
		at := set.Position(f.Pos()).Line
		for _, n := range f.Names {
			if text == "" && at == line+1 && regexp.MustCompile(`\b`+n.Name+`\b`).MatchString(shared) {
				text = shared
			}
			found[n.Name] = text
		}
		if text == "" || f.Doc == nil && text != shared {
			shared = ""
		}
		line = at
	}
	return found
}

func plain(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	return strings.Join(strings.Fields(g.Text()), " ")
}

// section is the comment of a struct without its name, and with the names of its fields as keys.
func (c comments) section(t reflect.Type) string {
	return strings.TrimSuffix(keys(t, withoutName(c.types[t.Name()], t.Name())), ".")
}

// field is the comment of a field without its own name, and with the names of others as keys.
func (c comments) field(t reflect.Type, name string) string {
	return strings.TrimSuffix(lower(keys(t, withoutName(c.fields[t.Name()][name], name))), ".")
}

// keys replaces the names of fields by those of their keys.
func keys(t reflect.Type, text string) string {
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key != "" && strings.Contains(text, f.Name) {
			text = regexp.MustCompile(`\b`+f.Name+`\b`).ReplaceAllString(text, "`"+key+"`")
		}
	}
	return text
}

var articles = []string{"A ", "An ", ""}

// withoutName turns "Name is the share …" into "the share …", but leaves "Name and Other are …".
func withoutName(text, name string) string {
	for _, article := range articles {
		rest, ok := strings.CutPrefix(text, article+name+" ")
		if !ok || strings.HasPrefix(rest, "and ") || strings.HasPrefix(rest, "or ") {
			continue
		}
		for _, verb := range []string{"is ", "are "} {
			if r, ok := strings.CutPrefix(rest, verb); ok {
				return r
			}
		}
		return rest
	}
	return text
}

func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + strings.TrimSuffix(s[n:], ".") + "."
}

// lower makes the first letter small unless the word is a name or an abbreviation.
func lower(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if len(word) > 0 && strings.ToLower(word[1:]) == word[1:] {
		return strings.ToLower(word) + s[len(word):]
	}
	return s
}
