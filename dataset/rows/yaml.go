package rows

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxAliased bounds the values that aliases may add to one row: a few lines of
// YAML can name billions of them.
const maxAliased = 100_000

// startYAML parses the whole file, which must not be larger than MaxRow. Several
// documents in it count as values one after the other.
func (r *Reader) startYAML(src io.Reader, opt Options) error {
	data, err := io.ReadAll(io.LimitReader(src, int64(opt.MaxRow)+1))
	if err != nil {
		return r.unreadable(0, err)
	}
	if len(data) > opt.MaxRow {
		return r.fatal(&Row{File: r.path}, "the file is longer than the limit of %d bytes (max_row)", opt.MaxRow)
	}
	docs, err := parseYAML(data)
	if err != nil {
		return r.unreadable(0, fmt.Errorf("not valid YAML: %w", err))
	}
	var items []*yaml.Node
	for _, doc := range docs {
		path := opt.Path
		if path == "" && doc.Kind == yaml.MappingNode {
			path = opt.UsualPath
		}
		at, err := r.follow(doc, path)
		if err != nil {
			return err
		}
		if at.Kind == yaml.SequenceNode {
			items = append(items, at.Content...)
		} else {
			items = append(items, at)
		}
	}
	r.next = func(row *Row) error {
		if row.Number > int64(len(items)) {
			return io.EOF
		}
		node := items[row.Number-1]
		row.Line = int64(node.Line)
		row.decode = func(row *Row) (Value, error) {
			d := yamlDecoder{left: maxAliased}
			v, err := d.value(node, 0)
			if err != nil {
				e := row.Errorf("", "cannot be used")
				e.Err = err
				return Value{}, e
			}
			return v, nil
		}
		return nil
	}
	return nil
}

// parseYAML returns the documents of a stream.
func parseYAML(data []byte) (docs []*yaml.Node, err error) {
	defer func() {
		// The library panics where it did not expect what it found.
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		if err := dec.Decode(&doc); err == io.EOF {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, doc.Content...)
	}
}

// follow goes down a path of field names, which must end at a list.
func (r *Reader) follow(at *yaml.Node, path string) (*yaml.Node, error) {
	if path == "" {
		return at, nil
	}
	for _, name := range strings.Split(path, ".") {
		var next *yaml.Node
		if at.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(at.Content); i += 2 {
				if at.Content[i].Value == name {
					next = at.Content[i+1]
				}
			}
		}
		if next == nil {
			return nil, &Error{File: r.path, Line: int64(at.Line), Column: path, What: fmt.Sprintf("there is no field %q on the path to the rows", name), Fatal: true}
		}
		if at = next; at.Kind == yaml.AliasNode {
			at = at.Alias
		}
	}
	if at.Kind != yaml.SequenceNode {
		return nil, &Error{File: r.path, Line: int64(at.Line), Column: path, What: "want a list of rows", Fatal: true}
	}
	return at, nil
}

// yamlDecoder turns nodes into values.
type yamlDecoder struct {
	aliased int // how many aliases deep
	left    int // values that aliases may still add
}

func (d *yamlDecoder) value(n *yaml.Node, depth int) (v Value, err error) {
	if depth > maxDepth {
		return v, fmt.Errorf("line %d: nested deeper than %d levels", n.Line, maxDepth)
	}
	if d.aliased > 0 {
		if d.left--; d.left < 0 {
			return v, fmt.Errorf("line %d: aliases make more than %d values of this row", n.Line, maxAliased)
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		d.aliased++
		v, err = d.value(n.Alias, depth+1)
		d.aliased--
		return v, err
	case yaml.SequenceNode:
		v = Value{Kind: List, Items: make([]Value, len(n.Content))}
		for i, item := range n.Content {
			if v.Items[i], err = d.value(item, depth+1); err != nil {
				return v, err
			}
		}
		return v, nil
	case yaml.MappingNode:
		return d.object(n, depth)
	}
	return scalar(n), nil
}

func (d *yamlDecoder) object(n *yaml.Node, depth int) (Value, error) {
	v := Value{Kind: Object}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, item := n.Content[i], n.Content[i+1]
		value, err := d.value(item, depth+1)
		if err != nil {
			return v, err
		}
		if key.ShortTag() == "!!merge" {
			v.merge(&value)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return v, fmt.Errorf("line %d: the name of a field is a list or an object", key.Line)
		}
		v.Names = append(v.Names, key.Value)
		v.Items = append(v.Items, value)
	}
	return v, nil
}

// merge adds the fields of an object, or of a list of them, that v lacks
// (YAML's "<<").
func (v *Value) merge(from *Value) {
	if from.Kind == List {
		for i := range from.Items {
			v.merge(&from.Items[i])
		}
		return
	}
	// Fields in front lose against those of the same name behind them (Get).
	v.Names = append(from.Names[:len(from.Names):len(from.Names)], v.Names...)
	v.Items = append(from.Items[:len(from.Items):len(from.Items)], v.Items...)
}

// scalar keeps what was written: YAML takes 3.10, 0431, 1_000 and Null for
// something else than text, but only the reader knows what is wanted.
func scalar(n *yaml.Node) Value {
	v := Value{Kind: String, Text: n.Value}
	switch n.ShortTag() {
	case "!!int", "!!float":
		v.Kind = Number
	case "!!bool":
		v.Kind = Bool
	case "!!null":
		v.Kind = Null
	}
	v.Plain = v.Kind != String && v.Text != "" && n.Style&(yaml.TaggedStyle|yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
	return v
}
